"""Untrained recurrent cells: do their readouts tell how well they will do after training?"""
