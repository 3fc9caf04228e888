"""Memory and time of exponents of a block looped in depth: width 512, 256 tokens, k = 8, one thread.

python benchmarks/looped.py        each row in a process of its own; peak memory is the process's resident set, PyTorch included

The numbers are in docs/loops-in-depth.md.
"""

import resource
import subprocess
import sys
import time
import warnings

import torch
from torch import nn

import lyapunov

TOKENS, WIDTH, K, LOOPS = 256, 512, 8, 4
ROWS = ("the block alone", "4 loops", "settled", "regulariser", "one token")
DTYPES = ("float64", "float32")


def run(row: str, dtype: torch.dtype) -> None:
    """The computation of one row."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 8, 4 * WIDTH, batch_first=True)
    e, start = torch.randn(1, TOKENS, WIDTH), torch.zeros(1, TOKENS, WIDTH)

    def block(h: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        return layer(h + e)

    loop = lyapunov.Loop(block, start, e)
    if row == "the block alone":
        layer.to(dtype).eval()
        with torch.no_grad():
            for _ in range(LOOPS):
                start = block(start.to(dtype), e.to(dtype))
    elif row == "4 loops":
        lyapunov.spectrum(loop, steps=LOOPS, k=K, from_initial_state=True, dtype=dtype)
    elif row == "settled":
        lyapunov.spectrum(loop, steps=LOOPS, k=K, settle=4, align=4, dtype=dtype)
    elif row == "regulariser":
        lyapunov.exponent_sum(loop, steps=LOOPS, k=K, dtype=dtype).backward()
    else:
        token = lyapunov.Loop(block, start, e, by_token=(TOKENS - 1,))
        lyapunov.spectrum(token, steps=LOOPS, k=K, from_initial_state=True, dtype=dtype)


def main() -> None:
    """One line per row and precision."""
    for row in ROWS:
        for dtype in DTYPES:
            command = [sys.executable, __file__, row, dtype]
            print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        began = time.process_time()
        run(sys.argv[1], getattr(torch, sys.argv[2]))
        peak, spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time() - began
        print(f"| {sys.argv[1]} | {sys.argv[2]} | {peak:.0f} MB | {spent:.1f} s |")
    else:
        main()
