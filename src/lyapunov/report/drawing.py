"""What every static figure needs: axes of its own, ticks on whole numbers, the marker of what is not converged."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lyapunov._optional import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

DASHES = ("-", "--", ":", "-.")


def axes_or_new(ax: "Axes | None") -> "Axes":
    """The axes that were given, else those of a new figure of pyplot's, which a notebook shows."""
    return import_optional("matplotlib.pyplot", "plot").subplots(layout="constrained")[1] if ax is None else ax


def whole_ticks(axis: "Axis") -> None:
    """Indices and steps are whole numbers, and so are their ticks."""
    axis.set_major_locator(import_optional("matplotlib.ticker", "plot").MaxNLocator(integer=True))


def hollow(
    ax: "Axes", x: Sequence[float], y: Sequence[float], converged: Sequence[bool | None], *, color: str, size: float = 3.0
) -> None:
    """What is not converged gets a hollow marker over its own."""
    points = [(one, two) for one, two, sure in zip(x, y, converged, strict=True) if sure is False]
    if points:
        (line,) = ax.plot(*zip(*points, strict=True), linestyle="", marker="o", zorder=3, markersize=size + 1)
        line.set(markerfacecolor="white", markeredgecolor=color)


def unsure(converged: bool | None) -> str:
    """What a label says of a result that is not converged."""
    return ", not converged" if converged is False else ""
