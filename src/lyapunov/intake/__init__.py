"""From what users have to a System, the sequences that drive it, and the state it starts from."""

from lyapunov.intake.inputs import Sequences, digest
from lyapunov.intake.recognize import Problem, Request, compute_device, recognize

__all__ = ["Problem", "Request", "Sequences", "compute_device", "digest", "recognize"]
