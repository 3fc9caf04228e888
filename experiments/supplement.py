"""The supplement: every statistic of every network's spectrum against its least validation loss, for all tasks.

At the epoch of least validation loss; exponents of the full and the hidden state, and as seen from the readout.
"""

import numpy as np

from experiments.association import bootstrapped, spearman
from experiments.claims import READOUTS, RESULTS, Table
from experiments.outputs import Outcome, command
from experiments.presets import TASKS, Preset, sweep
from lyapunov import InvalidInput


def make(preset: Preset) -> Outcome:
    """A row of panels per task."""
    from matplotlib.figure import Figure

    files = {task: RESULTS / f"{sweep(task, preset).name}.csv" for task in TASKS}
    known = {task: Table.read(file, task) for task, file in files.items() if file.exists()}
    if not known:
        raise InvalidInput("Expected results of a sweep, got none. Run python -m experiments.sweep text first.")
    shown = [name for name in READOUTS if name != "full_variance"]  # whole spectra are not taken at every epoch
    figure = Figure(figsize=(2.4 * len(shown), 2.4 * len(known)), layout="constrained")
    axes = figure.subplots(len(known), len(shown), squeeze=False)
    rows, strongest = [], []
    for (task, table), line in zip(known.items(), axes, strict=True):
        best = np.nanargmin(table.values["held_out_loss"][:, 1:], axis=1) + 1
        found = {}
        for name, ax in zip(shown, line, strict=True):
            values = np.nan_to_num(table.values[name][np.arange(len(best)), best], neginf=np.nan)
            usable = np.isfinite(values)
            if usable.sum() > 2:
                kept, final, groups = values[usable], table.final[usable], table.groups[usable]
                found[name] = bootstrapped(lambda at, v=kept, f=final: spearman(v[at], f[at]), groups)
                ax.scatter(kept, final, s=6)
                ax.set_title(str(found[name]), fontsize="xx-small")
                rows.append({"task": task, "readout": name, **vars(found[name])})
            ax.set_xlabel(READOUTS[name], fontsize="x-small")
            ax.tick_params(labelsize="xx-small")
        line[0].set_ylabel(f"{task}: least loss", fontsize="x-small")
        top = max(found, key=lambda name: abs(found[name].value))
        strongest.append(f"{task}: {READOUTS[top]} {found[top]}")
    return Outcome(rows, figure, "strongest rank correlations: " + "; ".join(strongest), "shown without numbers")


if __name__ == "__main__":
    command("supplement", "Supplement", make, __doc__)
