"""Fig. 4: exponents at the epoch of least validation loss against that loss; spectra of six networks from best to worst.

a, b: text; c, d: motion. Of the full state, and of the hidden state alone, which is what the paper computes. From the sweeps.
"""

import numpy as np

from experiments.association import correlation
from experiments.figures.outputs import Outcome, command, panels
from experiments.sweeps.presets import Preset
from experiments.sweeps.table import Table, known_tables, spectra_of

SHOWN = 6
PANELS = {"text": ("largest", "max"), "motion": ("mean", "mean")}
"""Which readout the paper looks at."""


def make(preset: Preset) -> Outcome:
    """Both tasks, as far as their sweeps have been run."""
    known = known_tables(PANELS, preset)
    figure, axes = panels(3 * len(known))
    rows, words = [], []
    for at, (task, table) in enumerate(known.items()):
        readout, suffix = PANELS[task]
        _spectra(axes[3 * at], task, preset, table)
        for ax, state in zip(axes[3 * at + 1 : 3 * at + 3], ("full", "hidden"), strict=True):
            values = table.at_best(f"{state}_{suffix}")
            found = correlation(values, table.final, table.groups)
            ax.scatter(values, table.final, s=16)
            ax.set_xlabel(f"{readout} exponent, {state} state (nats per step)")
            ax.set_ylabel("least validation loss")
            ax.set_title(f"{task}: rank correlation {found}", fontsize="small")
            words.append(f"{task}, {readout}, {state} state: {found}")
            rows += [
                {
                    "task": task,
                    "network": network,
                    "state": state,
                    "epoch": int(table.best[network]),
                    readout: value,
                    "loss": loss,
                }
                for network, (value, loss) in enumerate(zip(values.tolist(), table.final.tolist(), strict=True))
            ]
    theirs = "nearer 0 (largest, text) and larger (mean, motion) go with lower loss; no numbers"
    return Outcome(rows, figure, "; ".join(words), theirs)


def _spectra(ax, task: str, preset: Preset, table: Table) -> None:  # noqa: ANN001
    """Hidden-state spectra of networks spread over the ranking, at their best epochs."""
    spectra = spectra_of(task, preset)
    numbers = table.values["network"][:, 0].astype(int)
    ranking = np.argsort(table.final)
    for place in np.linspace(0, len(ranking) - 1, min(SHOWN, len(ranking))).round().astype(int):
        network = ranking[place]
        exponents = spectra[f"{numbers[network]:03d}/{table.best[network]:02d}/hidden"]
        ax.plot(np.arange(1, len(exponents) + 1), exponents, linewidth=0.9, label=f"loss {table.final[network]:.3g}")
    ax.set_xlabel("index")
    ax.set_ylabel("exponent, hidden state (nats per step)")
    ax.set_title(f"{task}: from best to worst")
    ax.legend(frameon=False, fontsize="x-small")


if __name__ == "__main__":
    command("fig4", "Fig. 4", make, __doc__)
