"""The paper's figures and its table, each made by a command."""
