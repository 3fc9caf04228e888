"""A spectrum while training, knowing no framework."""

from lyapunov.training.history import History, read_history

__all__ = ["History", "read_history"]
