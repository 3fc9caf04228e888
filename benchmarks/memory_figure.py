"""The figure of docs/memory.md, from the page's own example: docs/figures/memory.png.

python benchmarks/memory_figure.py
"""

import re
from pathlib import Path

import torch
from matplotlib.figure import Figure

import lyapunov

ROOT = Path(__file__).parent.parent
PAGE, FIGURE = ROOT / "docs" / "memory.md", ROOT / "docs" / "figures" / "memory.png"


def draw() -> None:
    """Runs the first block of the page, and the line that measures the reach."""
    page = PAGE.read_text()
    names: dict = {}
    for block in (re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], re.search(r"^reach = .*$", page, re.MULTILINE)[0]):
        exec(compile(block, PAGE.name, "exec"), names)
    figure = Figure(figsize=(10.4, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    lyapunov.plots.memory(names["found"], left).set_title("Memory: runs from different starts")
    left.set_xlabel("milliseconds from the start")
    lyapunov.plots.input_reach(names["reach"], right, exponent=names["found"].spectrum.max).set_title("Reach of the input")
    figure.savefig(FIGURE, dpi=150)


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw()
