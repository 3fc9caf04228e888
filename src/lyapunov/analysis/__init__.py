"""What to do with a spectrum: so far, how many more sequences and steps an error asks for."""

from lyapunov.analysis.plan import Plan, plan

__all__ = ["Plan", "plan"]
