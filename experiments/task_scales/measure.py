"""Reads and trains the networks of every task: `python -m experiments.task_scales.measure --record`.

A row per network in results/task-scales.csv, appended as they come: the largest exponent of the full state before the first
update, and the held-out losses. A run that was killed goes on, and several processes share the work. Needs the shared data
(LYAPUNOV_DATA_DIR).
"""

import itertools
import math
import sys
import time
import warnings
from pathlib import Path

import torch

import lyapunov
from experiments.commands import RECORDED, SCRATCH, arguments, run
from experiments.records import append, shared
from experiments.task_scales.networks import STARTS, Start, learner
from experiments.task_scales.tasks import TASKS, probe_inputs, time_scale
from lyapunov._progress import progress_bar
from lyapunov.tasks import Task
from lyapunov.tasks.descent import descent

NAME, UPDATES = "task-scales.csv", 1000
KEYS = ("task", "kind", "start", "by", "seed")


def row_of(name: str, task: Task, start: Start, updates: int = UPDATES) -> dict[str, object]:
    """One network: its exponent, then what training makes of it; a loss that is not finite stands as infinite."""
    began, made = time.process_time(), learner(task, start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectrum = lyapunov.spectrum(made.network.core, probe_inputs(task), k=1, progress=False)
    before = made.held_out_loss()
    batches = itertools.islice((one for epoch in itertools.count() for one in task.batches(start.seed, epoch)), updates)
    made.network.train()
    losses = (made.losses(made.network, batch).mean() for batch in batches)
    finite = all(math.isfinite(loss) for loss in descent(made.network, made.optimizer, losses, made.recipe.clip))
    after = made.held_out_loss()
    return {
        "task": name,
        "kind": start.kind,
        "start": start.start,
        "by": f"{start.by:g}",
        "seed": start.seed,
        "time_scale": time_scale(name, task),
        "exponent": float(spectrum.max),
        "error": float(spectrum.standard_errors[0]),
        "converged": spectrum.verdict.converged,
        "loss_before": before,
        "loss": after if finite and math.isfinite(after) else math.inf,
        "seconds": time.process_time() - began,
    }


def measure(file: Path) -> None:
    """What is not in the file yet."""
    wanted = {
        (name, start.kind, start.start, f"{start.by:g}", str(start.seed)): (name, start) for name in TASKS for start in STARTS
    }
    made: dict[str, Task] = {}
    with progress_bar("networks", len(wanted), enabled=None) as advance:
        for at, (name, start) in enumerate(shared(file, wanted, KEYS), start=1):
            if name not in made:
                made = {name: TASKS[name]()}
            append(file, [row_of(name, made[name], start)])
            advance(at)


def main() -> None:
    """Parse and measure."""
    asked = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    file = (RECORDED if asked.record else SCRATCH) / NAME
    run(lambda: measure(file))
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
