"""Fig. 3: the spectrum epoch by epoch, for several p (weights start uniform on [-p, p]), and how fast it settles.

With l_i(e) the exponents after epoch e of E: the mean difference D1 = <l_i(e) - l_i(E)>, and the reduced mean squared one, D2 =
<(l_i(e) - l_i(E))^2> / <(l_i(0) - l_i(E))^2>; and the epochs until the mean and the largest exponent stay within a tenth of
their final value. Runs its networks first, where they are not there yet: the sweep `spread`.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.association import Numbers
from experiments.figures.outputs import Outcome, command, panels
from experiments.sweeps.presets import Preset, sweep
from experiments.sweeps.table import Table, spectra_of
from experiments.sweeps.training import run_sweep

SHARE = 0.1
"""Of the final value, within which a readout counts as settled."""
STATES = ("full", "hidden")


def make(preset: Preset) -> Outcome:
    """Four panels of the full state; the hidden one, which is the paper's, is in the rows and in the numbers."""
    table = Table.read(run_sweep("spread", preset, workers=os.cpu_count() or 1), "spread")
    saved, hidden = spectra_of("spread", preset), sweep("spread", preset).recipes[0].hidden
    spectra = {
        (network, state): np.stack([saved[f"{network:03d}/{epoch:02d}/{state}"].numpy() for epoch in range(table.epochs + 1)])
        for network in range(len(table.final))
        for state in STATES
    }
    spreads = table.values["spread"][:, 0] * np.sqrt(hidden / 512)
    rows: list[dict[str, Any]] = []
    for (network, state), exponents in spectra.items():
        first, second = distances(exponents)
        readouts = (table.values[f"{state}_{name}"][network] for name in ("max", "mean"))
        rows += [
            {"p": float(spreads[network]), "state": state, "epoch": epoch, "d1": one, "d2": two, "largest": top, "mean": mean}
            for epoch, (one, two, top, mean) in enumerate(zip(first, second, *readouts, strict=True))
        ]
    words = [f"p = {p:.2g}: {_settling(rows, p, 'full')} (hidden state: {_settling(rows, p, 'hidden')})" for p in spreads]
    ours = "epochs until largest / mean stay within a tenth of their final value: " + "; ".join(words)
    theirs = "settles within a few epochs, from below, for all p; the mean fast, the largest slowly"
    return Outcome(rows, _drawn(spectra[0, "full"], rows), ours, theirs)


def distances(exponents: Numbers) -> tuple[list[float], list[float]]:
    """D1 and D2 by epoch, of (epochs, n); exponents that are lost at some epoch are left out at all of them."""
    known = exponents[:, np.isfinite(exponents).all(axis=0)].astype(np.float64)
    apart = known - known[-1]
    squares = (apart**2).mean(axis=1)
    return apart.mean(axis=1).tolist(), (squares / squares[0]).tolist()


def settled(values: Sequence[float]) -> int:
    """The first epoch from which on all values are within SHARE of the last one."""
    away = [abs(value - values[-1]) > SHARE * abs(values[-1]) for value in values]
    return max((epoch + 1 for epoch, one in enumerate(away) if one), default=0)


def _settling(rows: list[dict[str, Any]], p: float, state: str) -> str:
    mine = [row for row in rows if row["p"] == p and row["state"] == state]
    return " / ".join(str(settled([row[name] for row in mine])) for name in ("largest", "mean"))


def _drawn(exponents: Numbers, rows: list[dict[str, Any]]) -> Any:
    from matplotlib import colormaps

    figure, axes = panels(4)
    for epoch, spectrum in enumerate(exponents):
        shade = colormaps["viridis"](epoch / (len(exponents) - 1))
        axes[0].plot(np.arange(1, len(spectrum) + 1), spectrum, color=shade, linewidth=0.8, label=f"epoch {epoch}")
    axes[0].set_xlabel("index")
    axes[0].set_ylabel("exponent, full state (nats per step)")
    axes[0].set_title(f"p = {rows[0]['p']:.2g}")
    axes[0].legend(frameon=False, fontsize="xx-small", ncols=2)
    for p in dict.fromkeys(row["p"] for row in rows):
        mine = [row for row in rows if row["p"] == p and row["state"] == "full"]
        for ax, name in zip(axes[1:], ("d1", "d2", "largest"), strict=True):
            ax.plot([row["epoch"] for row in mine], [row[name] for row in mine], marker=".", label=f"p = {p:.2g}")
    for ax, title in zip(axes[1:], ("D1 (nats per step)", "D2", "largest exponent (nats per step)"), strict=True):
        ax.set_xlabel("epoch")
        ax.set_ylabel(title)
        ax.legend(frameon=False, fontsize="small")
    axes[2].set_yscale("symlog", linthresh=1e-3)
    axes[1].axhline(0.0, color="0.5", linewidth=0.8)
    return figure


if __name__ == "__main__":
    command("fig3", "Fig. 3", make, __doc__)
