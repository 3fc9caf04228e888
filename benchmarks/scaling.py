"""How the cost of a spectrum grows with units, exponents, steps, sequences and layers: docs/figures/scaling.png.

python benchmarks/scaling.py     # about three minutes on two cores
"""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

import lyapunov

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "scaling.png"
TRANSIENT = 10


@dataclass(frozen=True)
class Setting:
    """One run: an LSTM with 32 inputs, full state. `k` None: all exponents."""

    units: int = 128
    k: int | None = 8
    steps: int = 100
    sequences: int = 10
    layers: int = 1


BASE = Setting()
ALL = replace(BASE, k=None, steps=20)
SWEEPS = {
    "units": [(name, [replace(base, units=n) for n in sizes]) for name, base, sizes in (
        ("8 exponents", BASE, (32, 64, 128, 256, 512)),
        ("all", ALL, (32, 64, 128, 256, 512)),
    )],
    "k": [("of 512", [replace(BASE, units=256, steps=30, k=k) for k in (1, 4, 16, 64, 128, 256, 512)])],
    "steps": [("8 exponents", [replace(BASE, steps=steps) for steps in (50, 200, 800, 3200)])],
    "sequences": [("8 exponents", [replace(BASE, sequences=count) for count in (1, 2, 5, 10, 40, 160)])],
    "layers": [
        ("8 exponents", [replace(BASE, layers=count) for count in (1, 2, 3, 4)]),
        ("all", [replace(ALL, layers=count) for count in (1, 2, 3, 4)]),
    ],
}  # fmt: skip
LABELS = {"units": "units", "k": "exponents", "steps": "counted steps", "sequences": "sequences", "layers": "layers"}


def seconds(setting: Setting, repeats: int = 3) -> float:
    """The median of a few runs, after one that is not counted."""
    torch.manual_seed(0)
    module = nn.LSTM(32, setting.units, num_layers=setting.layers, batch_first=True)
    inputs = torch.randn(setting.sequences, setting.steps + 2 * TRANSIENT, 32)
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        lyapunov.spectrum(module, inputs, k=setting.k, settle=TRANSIENT, align=TRANSIENT, progress=False)
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def main() -> None:
    """Measures and draws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.4), layout="constrained")
    for ax, (axis, curves) in zip(figure.subplots(1, len(SWEEPS)), SWEEPS.items(), strict=True):
        for name, settings in curves:
            values = [getattr(setting, axis) for setting in settings]
            times = [seconds(setting) for setting in settings]
            print(axis, name, *(f"{value}: {spent:.3f} s" for value, spent in zip(values, times, strict=True)), flush=True)
            ax.loglog(values, times, marker="o", label=name)
        every = sorted({getattr(setting, axis) for _, settings in curves for setting in settings})
        ax.set_xticks(every, [str(value) for value in every])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:g}")
        ax.grid(alpha=0.3)
        ax.set_xlabel(LABELS[axis])
        ax.legend(frameon=False, fontsize="small")
    figure.axes[0].set_ylabel("seconds")
    figure.suptitle(
        f"One spectrum of an LSTM, unless said of {BASE.units} units, {BASE.sequences} sequences, {BASE.steps} counted steps "
        f"({ALL.steps} for all exponents); full state, float64, {torch.get_num_threads()} threads"
    )
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=130)


if __name__ == "__main__":
    main()
