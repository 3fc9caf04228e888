"""What a reservoir's conditional exponent does to its free spectrum: `python -m experiments.closed_loops.spectral_radius`.

Reservoirs of 100 units learn Lorenz 1963 as those of `experiments.closed_loops.lorenz` do, with spectral radii from 0.1 to 1.6.
A row of results/radius.csv each, written after each: the command goes on where it was stopped.
Draws docs/figures/closed_loops.png.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import lyapunov
from experiments.closed_loops.lorenz import DT, lorenz, reservoir
from experiments.commands import RECORDED, arguments, run, scratch_of
from experiments.rows import read, write
from experiments.sweeps.table import RESULTS
from lyapunov import known

FILE, FIGURE = RESULTS / "radius.csv", Path(__file__).parents[2] / "docs" / "figures" / "closed_loops.png"
RADII = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6)


def measure(radius: float) -> dict[str, Any]:
    """Conditional and free exponents, with errors."""
    loop = reservoir(100, seed=0, data=lorenz(20, 1000, seed=1), radius=radius)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        both = lyapunov.loop_spectra(loop, lorenz(12, 600, seed=2), steps=2500, k=4, dt=DT, align=400, progress=False)
    row: dict[str, Any] = {"radius": radius}
    row["conditional"], row["conditional_error"] = both.conditional.max, float(both.conditional.standard_errors[0])
    for at in range(4):
        row |= {
            f"free_{at + 1}": float(both.free.exponents[at]),
            f"error_{at + 1}": float(both.free.standard_errors[at]),
        }
    row["kaplan_yorke"] = both.free.kaplan_yorke_dimension
    row["verdict"] = " ".join(both.free.verdict.kinds) or "converged"
    return row


def draw(rows: list[dict[str, Any]], place: Path) -> None:
    """The exponents over the radius, the true ones as lines."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    radii = [float(row["radius"]) for row in rows]

    def curve(name: str, error: str, **style: Any) -> None:
        values, errors = ([float(row[key]) for row in rows] for key in (name, error))
        axes.errorbar(radii, values, yerr=[2 * one for one in errors], capsize=2, markersize=4, **style)

    for at, value in enumerate(known.lorenz().exponents.tolist()):
        axes.axhline(value, color="0.6", linewidth=1, label="Lorenz 1963" if at == 0 else None)
    for at, shade in enumerate(("#08519c", "#3182bd", "#6baed6", "#9ecae1"), 1):
        curve(f"free_{at}", f"error_{at}", color=shade, marker="o", linewidth=1, label=f"free exponent {at}")
    curve("conditional", "conditional_error", color="#d94801", marker="s", linestyle="--", label="largest conditional exponent")
    axes.set_ylim(-32, 3)
    axes.set_xlabel("spectral radius of the reservoir")
    axes.set_ylabel("exponent (nats per unit of time)")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(place, dpi=150)


def main() -> None:
    """Whatever is not yet in the file, and the figure."""
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    file = (RECORDED if options.record else scratch_of("radius")) / FILE.name
    rows: list[dict[str, Any]] = list(read(file)) if file.exists() else []
    for radius in RADII:
        if radius not in [float(row["radius"]) for row in rows]:
            rows.append(measure(radius))
            write(file, rows)
            print(rows[-1], flush=True)
    draw(rows, FIGURE if options.record else file.with_suffix(".png"))


if __name__ == "__main__":
    run(main)
