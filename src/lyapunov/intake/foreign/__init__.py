"""What other frameworks and wrappers made of a recurrent layer: as PyTorch's own, or why that cannot be."""

from lyapunov.intake.foreign.native import is_recurrent, native, native_state, require_usable, require_whole, unwrapped
from lyapunov.intake.foreign.scripted import scripted_kind, unscripted
