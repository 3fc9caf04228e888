"""Table 1: the time of one spectrum in units of training, on an otherwise idle machine.

One epoch of text and one iteration of motion training, the leading 16 exponents and the whole spectrum, of the full and of the
hidden state; and as a fraction of the training to the least validation loss.
"""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from matplotlib.ticker import NullFormatter

import lyapunov
from experiments.figures.outputs import Outcome, command, panels
from experiments.sweeps.presets import Preset, sweep
from lyapunov.tasks import Learner

WAYS: dict[str, dict[str, Any]] = {
    "16 leading, full state": {"k": 16},
    "all, full state": {},
    "16 leading, hidden state": {"k": 16, "linearization": "hidden"},
    "all, hidden state": {"linearization": "hidden"},
}


def make(preset: Preset) -> Outcome:
    """Text and motion."""
    figure, axes = panels(2, 3.0)
    rows, words = [], []
    for task, ax in zip(("text", "motion"), axes, strict=True):
        chosen = sweep(task, preset)
        learner = Learner(chosen.build(), chosen.recipes[0])
        steps = sum(1 for _ in learner.task.batches(0, 0))
        epoch = min(_seconds(learner.train) for _ in range(2))
        inputs = learner.task.encoded(learner.task.probe()[0]).double()
        core: Any = learner.network.core
        along = {"settle": chosen.settle, "align": chosen.align, "progress": False}
        shares = {}
        for name, given in WAYS.items():
            leading = {"k": min(given["k"], core.hidden_size)} if "k" in given else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
                run = partial(lyapunov.spectrum, core, inputs, **{**given, **leading, **along})
                shares[name] = min(_seconds(run) for _ in range(2)) / epoch
            rows.append({"task": task, "spectrum": name, "epochs": shares[name], "iterations": shares[name] * steps})
        ax.barh(list(shares), list(shares.values()))
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.axvline(1.0, color="0.4", linewidth=0.8)
        ax.set_xlabel("time in epochs of training")
        ax.set_title(f"{task}: an epoch takes {epoch:.2f} s, {steps} steps")
        fraction = shares["16 leading, hidden state"] / chosen.epochs
        leading, everything = shares["16 leading, full state"], shares["all, full state"]
        words.append(
            f"{task}: 16 leading {leading:.2g} epochs, all {everything:.2g}; 16 leading of the hidden state {fraction:.1%} of "
            f"{chosen.epochs} epochs"
        )
    return Outcome(rows, figure, "; ".join(words), "almost two orders of magnitude less than training")


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    command("table1", "Table 1", make, __doc__)
