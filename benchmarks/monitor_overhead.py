"""What watching a training costs: seconds in the monitor over all seconds, a reading of k = 8 every 100 training steps.

python benchmarks/monitor_overhead.py [--only demo|paper] [--write]
About five minutes; --write keeps the rows in benchmarks/monitor_overhead.md.

The networks are the demo's (LSTM-128, batch 32 x 64) and the paper's (LSTM-512 without biases, batch 100 x 100, 82 symbols; the
text is random here: it costs the same). Everything counts: first readings, the history, alarms. Probes are of several sizes.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

import lyapunov
from lyapunov.intake import one_hot_sequences
from lyapunov.tasks import Trainer, Training, demo_corpus, new_model

EVERY, K = 100, 8
WHERE = Path(__file__).with_name("monitor_overhead.md")


class Row(NamedTuple):
    """A network, how long its probe is, and for how many training steps it is watched."""

    network: str
    sequences: int
    steps: int
    training_steps: int


ROWS = (
    Row("demo", 5, 48, 5000),
    Row("demo", 5, 64, 5000),
    Row("demo", 10, 100, 5000),
    Row("paper", 5, 100, 400),
    Row("paper", 10, 100, 400),
)
Loop = tuple[nn.Module, torch.Tensor, Iterator[float]]


def demo(row: Row) -> Loop:
    """The demo's model, a probe from its held-out text, and its training."""
    data, training = demo_corpus(), Training()
    model = new_model(data, training)
    trainer = Trainer(model, data, training)
    probe = one_hot_sequences(data.valid, size=len(data.vocabulary), sequences=row.sequences, steps=row.steps)
    return model.lstm, probe, (loss for _ in range(10**6) for _, _, loss in trainer.steps())


def paper(row: Row) -> Loop:
    """The paper's network on random text."""
    symbols = 82
    lstm, readout = nn.LSTM(symbols, 512, bias=False, batch_first=True), nn.Linear(512, symbols, bias=False)
    optimizer = torch.optim.Adam([*lstm.parameters(), *readout.parameters()], lr=2e-3)

    def losses() -> Iterator[float]:
        while True:
            text = torch.randint(symbols, (100, 101))
            logits = readout(lstm(functional.one_hot(text[:, :-1], symbols).float())[0])
            loss = functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()

    probe = functional.one_hot(torch.randint(symbols, (row.sequences, row.steps)), symbols).float()
    return lstm, probe, losses()


def measured(row: Row) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    network: Callable[[Row], Loop] = {"demo": demo, "paper": paper}[row.network]
    core, probe, losses = network(row)
    place = Path(tempfile.mkdtemp())
    monitor = lyapunov.Monitor(core, probe, every=EVERY, k=K, directory=place)
    started = time.perf_counter()
    for step in range(1, row.training_steps + 1):
        monitor.observe(step, train=next(losses))
    total = time.perf_counter() - started
    shutil.rmtree(place)
    usual = statistics.median(reading.seconds for reading in monitor.readings)
    last = monitor.readings[-1]
    cells = (
        row.network,
        f"{row.sequences} x {row.steps}",
        f"{monitor.seconds / total:.2%}",
        f"{1e3 * usual:.0f} ms",
        f"{1e3 * (total - monitor.seconds) / row.training_steps:.1f} ms",
        f"{len(monitor.readings)}",
        f"{last.max:.3f} ± {last.max_error:.3f}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table, and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["demo", "paper"])
    parser.add_argument("--write", action="store_true", help=f"keep the table in {WHERE.name}")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if arguments.only in (None, row.network)]
    lines = [
        "| network | probe | measuring / all time | a reading | a training step | readings | largest exponent in the end |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for row in rows:
        lines.append(measured(row))
        print(lines[-1], flush=True)
    if arguments.write:
        WHERE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
