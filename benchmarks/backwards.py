"""What goes back in time costs, beside a forward spectrum in the same run: `python benchmarks/backwards.py` (a minute or two).

LSTM with 128 units, 10 sequences of 300 steps, float64, one thread; the least of three runs each.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import lyapunov
from lyapunov.intake import problem, recognize
from lyapunov.tangent import random_frame

UNITS, INPUTS, BATCH, STEPS, K = 128, 32, 10, 300, 8


def through_qr(module: nn.LSTM, inputs: Tensor) -> Tensor:
    """The sum of K exponents with every frame in the graph."""
    cast = recognize(problem(module, inputs, coupled=True), torch.float64)
    state, total = cast.state, inputs.new_zeros(())
    frame = random_frame(2 * UNITS, K, batch=BATCH, seed=0, block=0, like=inputs.new_empty(0))
    for t in range(STEPS):
        state, (moved,) = cast.system.push(state, cast.sequences.at(t), (frame,))
        frame, upper = torch.linalg.qr(moved)
        total = total + upper.diagonal(dim1=-2, dim2=-1).abs().log().sum()
    return total / (BATCH * STEPS)


def main() -> None:
    """Prints seconds, and ratios to the forward spectrum."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, inputs = nn.LSTM(INPUTS, UNITS, batch_first=True).double(), torch.randn(BATCH, STEPS, INPUTS).double()
    readout, quiet = nn.Linear(UNITS, INPUTS).double(), {"progress": False, "settle": 0}
    weights = list(module.parameters())

    def differentiated(value: Tensor) -> Any:
        return torch.autograd.grad(value, weights)

    rows: dict[str, Callable[[], Any]] = {
        f"spectrum, k = {K}": lambda: lyapunov.spectrum(module, inputs, k=K, align=0, **quiet),
        f"spectrum, k = {K}, QR at every step": lambda: lyapunov.spectrum(module, inputs, k=K, align=0, qr_every=1, **quiet),
        "exponent_sum, the value": lambda: lyapunov.exponent_sum(module, inputs, K).detach(),
        "exponent_sum and its gradient": lambda: differentiated(lyapunov.exponent_sum(module, inputs, K)),
        "the same by autograd through the QR": lambda: differentiated(through_qr(module, inputs)),
        "all exponents' sum and its gradient": lambda: differentiated(lyapunov.exponent_sum(module, inputs)),
        "gradient exponents, 20 starts, 80 lags, 32 outputs": lambda: lyapunov.gradient_exponents(
            module, inputs, readout=readout, **quiet
        ),
        f"covariant vectors, k = {K}": lambda: lyapunov.covariant_vectors(module, inputs, k=K, **quiet),
        f"local exponents, k = {K}": lambda: lyapunov.local_exponents(module, inputs, k=K, **quiet),
    }
    first = 0.0
    for name, run in rows.items():
        seconds = min(_seconds(run) for _ in range(3))
        first = first or seconds
        print(f"| {name} | {seconds:.2f} | {seconds / first:.1f} |", flush=True)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
