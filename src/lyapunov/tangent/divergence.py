"""A run whose state or frame is no longer finite: what is said, and at which step it happened."""

from torch import Tensor

from lyapunov._checks import is_finite
from lyapunov._shapes import State
from lyapunov._trees import tree_flatten
from lyapunov.errors import Diverged

_REMEDY = {
    "state": "The map does not stay bounded from this state on these inputs: check the weights, the scale of the inputs, the "
    "step size.",
    "frame": "The state is finite, so orthonormalise more often (a smaller `qr_every`) or use float64.",
}


def diverged_error(broken: str, t: int, more: str = "", *, partial: object = None, at: str = "at") -> Diverged:
    """`broken`: "state" or "frame", at (or by) step t; `more` to be said of it; `partial`: what was counted before."""
    message = f"Expected a finite {broken}, got NaN or infinity {at} step {t} (from 0){more}. {_REMEDY[broken]}"
    return Diverged(message, step=t, partial=partial)


def is_finite_state(state: State) -> bool:
    """Whether no tensor in it holds NaN or infinity: a state, frames, or a container of both."""
    return all(is_finite(leaf) for leaf in tree_flatten(state)[0] if isinstance(leaf, Tensor))
