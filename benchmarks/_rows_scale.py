"""Rows of what is not to grow: beside a forward pass, and in memory."""

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import _sides as sides
from _record import Goal
from _row import ALIGN, READOUT, SETTLE, STEPS, Case, Ours, chosen, row, spectrum
from _timing import Pairs, Side

SCRIPT = Path(__file__).parent / "spectrum_speed.py"
MIB = 2**20


@row("forward", READOUT, "the forward pass of the same nn.LSTM over the same steps, float64, no_grad")
def forward(quick: bool) -> Case:
    """Informative."""
    lstm, inputs = sides.fresh_lstm(16 if quick else 512), sides.text_like(STEPS)
    ours = Ours(lstm, inputs, k=8, settle=SETTLE, align=ALIGN)

    @torch.no_grad()
    def pass_forward() -> Tensor:
        return lstm(inputs)[0]

    return Case(Side(ours), Side(pass_forward), lambda _: chosen(ours))


@row(
    "memory",
    "peak memory of a fresh process, less its inputs: 10 000 counted steps, LSTM 128, 10 sequences, 8 exponents",
    "the same with 100 counted steps",
    Goal(at_most=1.2),
    pairs=3,
    warm_up=False,
)
def memory(quick: bool) -> Case:
    """The note has what is left without the interpreter and its packages."""
    hidden, count = (8, 1000) if quick else (128, 10_000)
    before: dict[int, float] = {}

    def probe(counted: int) -> float:
        call = [SCRIPT, "--probe-memory", hidden, counted, "--threads", torch.get_num_threads()]
        found = subprocess.run([sys.executable, *map(str, call)], check=True, stdout=subprocess.PIPE, text=True)
        before[counted], peak = (float(part) / MIB for part in found.stdout.split())
        return peak

    def note(pairs: Pairs) -> str:
        _, own, other = pairs.medians()
        call = f"{before[count]:.0f} and {before[100]:.0f} MiB"
        return f"of these, before the call (interpreter and packages): {call}; ours is {own - other:.1f} MiB more in all"

    sides_of_row = (Side(partial(probe, counted), figure=True) for counted in (count, 100))
    return Case(*sides_of_row, note, unit="MiB", can_be_disturbed=False)


def probe_memory(hidden: int, counted: int) -> None:
    """In a process of its own: print the peak before and after the call, less the bytes of the inputs."""
    inputs = sides.text_like(SETTLE + ALIGN + counted)
    lstm = sides.fresh_lstm(hidden)
    before = peak_memory()
    spectrum(lstm, inputs, k=8, settle=SETTLE, align=ALIGN)
    print(before - inputs.nbytes, peak_memory() - inputs.nbytes)


def peak_memory() -> int:
    """Bytes resident at most so far; from the kernel's mark for this program, because `ru_maxrss` remembers the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
