"""Does an edge-of-chaos start help a long memory? LSTMs at the adding problem, from several initializations, over 8 seeds each.

    python benchmarks/initialization.py             # about ten minutes on two cores
    python benchmarks/initialization.py --table     # only the table, from what is there

LSTMs of 64 units, 60 steps, Adam at 0.003, clipped at norm 1, 8 epochs of 200 batches of 50; the same batches for every start.
PyTorch's: uniform on +-1/8. forget 1: that with 1 added to the forget gates' biases. orthogonal: that with orthogonal recurrent
weights of each gate. weights, gates: `lyapunov.init.to_exponent_` to 0 along eight sequences of the task. A network's loss is
the held-out one after 8 epochs, as ln of the mean squared error; differences are paired by seed. All was fixed beforehand.
Results: benchmarks/initialization.json; table in docs/tuning.md, between its markers.
"""

import argparse
import json
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from torch import nn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from experiments.pages import replaced  # noqa: E402

import lyapunov  # noqa: E402
from lyapunov.tasks import Adding, Learner, Recipe  # noqa: E402

RESULTS, PAGE = Path(__file__).with_suffix(".json"), ROOT / "docs" / "tuning.md"
STARTS, SEEDS, EPOCHS = ("PyTorch's", "forget 1", "orthogonal", "weights to 0", "gates to 0"), 8, 8
FORGET = slice(64, 128)
"""Rows of the forget gate."""


@torch.no_grad()
def prepared(core: Any, start: str, inputs: torch.Tensor) -> None:
    """In place."""
    if start == "forget 1":
        core.bias_ih_l0[FORGET] += 1.0
    elif start == "orthogonal":
        for block in core.weight_hh_l0.chunk(4):
            nn.init.orthogonal_(block)
    elif start != "PyTorch's":
        by = "weights" if start.startswith("weights") else "gates"
        lyapunov.init.to_exponent_(core, inputs, largest=0.0, by=by, settle=0, align=15, progress=False)


def trained(job: tuple[str, int]) -> dict[str, Any]:
    """One network."""
    start, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)  # orthogonal weights draw from the global stream of this process
    learner = Learner(
        Adding(steps=60, batch=50, batches=200, probe=8), Recipe("LSTM", 64, clip=1.0, learning_rate=3e-3, seed=seed)
    )
    inputs = learner.task.probe()[0].double()
    prepared(learner.network.core, start, inputs)
    with torch.no_grad():
        before = lyapunov.spectrum(learner.network.core, inputs, k=1, settle=0, align=15, progress=False)
    losses = [learner.held_out_loss()]
    for _ in range(EPOCHS):
        learner.train()
        losses.append(learner.held_out_loss())
    return {"start": start, "seed": seed, "exponent": before.max, "error": float(before.standard_errors[0]), "losses": losses}


def table(rows: list[dict[str, Any]]) -> str:
    """As markdown."""
    lines = ["| start | largest exponent at the start | solved after 2, 4, 8 epochs | ln loss after 8 | less than PyTorch's |"]
    lines.append("|---" * 5 + "|")
    ends = {start: np.array([math.log(row["losses"][-1]) for row in rows if row["start"] == start]) for start in STARTS}
    for start in STARTS:
        mine = [row for row in rows if row["start"] == start]
        exponents = [row["exponent"] for row in mine]
        solved = ", ".join(f"{sum(row['losses'][epoch] < 1 / 12 for row in mine)}" for epoch in (2, 4, 8))
        less = ends["PyTorch's"] - ends[start]
        half = student.ppf(0.975, len(less) - 1) * less.std(ddof=1) / math.sqrt(len(less))
        shown = "" if start == "PyTorch's" else f"{less.mean():+.2f} ± {half:.2f}"
        reach = f"{np.mean(exponents):+.3f} ({min(exponents):+.3f} to {max(exponents):+.3f})"
        lines.append(f"| {start} | {reach} | {solved} of {len(mine)} | {ends[start].mean():.2f} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only the table")
    if not parser.parse_args().table:
        with ProcessPoolExecutor() as pool:
            rows = []
            for row in pool.map(trained, product(STARTS, range(SEEDS))):
                rows.append(row)
                print(row["start"], row["seed"], f"{row['exponent']:+.4f}", f"{row['losses'][-1]:.2g}", flush=True)
        RESULTS.write_text(json.dumps(rows) + "\n")
    rows = json.loads(RESULTS.read_text())
    PAGE.write_text(replaced(PAGE.read_text(), "starts", table(rows)))
    print(table(rows))


if __name__ == "__main__":
    main()
