"""The supplement: every statistic of every network's spectrum against its least validation loss, for all tasks.

At the epoch of least validation loss; exponents of the full and the hidden state, and as seen from the readout.
"""

from typing import Any

import numpy as np

from experiments.association import correlation
from experiments.figures.outputs import Outcome, command
from experiments.sweeps.presets import TASKS, Preset
from experiments.sweeps.table import READOUTS, known_tables


def make(preset: Preset) -> Outcome:
    """A row of panels per task."""
    from matplotlib.figure import Figure

    known = known_tables(TASKS, preset)
    shown = [name for name in READOUTS if name != "full_variance"]  # whole spectra are not taken at every epoch
    figure = Figure(figsize=(2.4 * len(shown), 2.4 * len(known)), layout="constrained")
    axes = figure.subplots(len(known), len(shown), squeeze=False)
    rows: list[dict[str, Any]] = []
    strongest: list[str] = []
    for (task, table), line in zip(known.items(), axes, strict=True):
        found, at_best = {}, {name: table.at_best(name) for name in ("network", "epoch", *shown)}
        rows += [
            {"task": task, "loss": table.final[network], **{name: float(values[network]) for name, values in at_best.items()}}
            for network in range(len(table.final))
        ]
        for name, ax in zip(shown, line, strict=True):
            values = np.nan_to_num(at_best[name], nan=np.nan, neginf=np.nan)
            usable = np.isfinite(values)
            if usable.sum() > 2:
                kept, final, groups = values[usable], table.final[usable], table.groups[usable]
                found[name] = correlation(kept, final, groups)
                ax.scatter(kept, final, s=6)
                ax.set_title(str(found[name]), fontsize="xx-small")
            ax.set_xlabel(READOUTS[name], fontsize="x-small")
            ax.tick_params(labelsize="xx-small")
        line[0].set_ylabel(f"{task}: least loss", fontsize="x-small")
        if found:
            top = max(found, key=lambda name: abs(found[name].value))
            strongest.append(f"{task}: {READOUTS[top]} {found[top]}")
    return Outcome(rows, figure, "strongest rank correlations: " + "; ".join(strongest), "shown without numbers")


if __name__ == "__main__":
    command("supplement", "Supplement", make, __doc__)
