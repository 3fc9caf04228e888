"""The recurrent cores inside a user's model, with what they really receive."""

from lyapunov.intake.capturing.capture import capture, cores_of, is_captured
from lyapunov.intake.capturing.captured import Captured, captured_problem
from lyapunov.intake.capturing.preserving import preserving_state
from lyapunov.intake.capturing.subclasses import as_derived_from
