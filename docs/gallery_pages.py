"""The gallery: each script of docs/gallery is run, and becomes a page with its figure, its code and what it prints.

The site calls `build_gallery` when it is built. A script that has not changed is not run again. By hand, to look at one:

    python docs/gallery_pages.py docs/gallery/echo_state.py     # writes build/gallery/echo_state.png
"""

import ast
import contextlib
import hashlib
import io
import re
import sys
import types
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
STYLE = HERE / "style.mplstyle"
SCRIPTS = HERE / "gallery"
PAGES = SCRIPTS / "pages"
"""Written when the site is built, and not kept: a page and two images for each script."""
FIGURE_DPI, THUMBNAIL_DPI = 150, 60
ENTRY = re.compile(r"^- \[(?P<title>[^]]+)\]\((?P<name>\w+)\.py\)$", re.MULTILINE)
CARD = ":::{{container}} card\n[![{title}](pages/{name}-small.png)](pages/{name}.md)\n\n[{title}](pages/{name}.md)\n:::"
GRID = re.compile(r"(?:^:::\{container\} card\n.*?^:::\n)+", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A script: its title is a question, its text the answer, its code makes one figure."""

    name: str
    title: str
    text: str
    code: str


def read(script: Path) -> Example:
    """The parts of a script."""
    source = script.read_text()
    parsed = ast.parse(source)
    title, _, text = (ast.get_docstring(parsed) or "").partition("\n")
    code = "\n".join(source.splitlines()[parsed.body[0].end_lineno :]).strip() + "\n"
    return Example(script.stem, title, text.strip(), code)


def run(script: Path) -> tuple["plt.Figure", str]:
    """The figure that a script draws, in the style of the documentation, and what it prints.

    Raises:
        ValueError: where it draws none, or several.
    """
    matplotlib.use("agg")
    plt.close("all")
    printed, module = io.StringIO(), types.ModuleType("__main__")
    code = compile(script.read_text(), str(script), "exec")
    with torch.random.fork_rng(), plt.style.context(STYLE), contextlib.redirect_stdout(printed), warnings.catch_warnings():
        # PyTorch's own decompositions of forward mode use what PyTorch itself deprecates.
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        shown, plt.show = plt.show, lambda: None
        try:
            exec(code, vars(module))
        finally:
            plt.show = shown
        if len(plt.get_fignums()) != 1:
            raise ValueError(f"Expected one figure from {script.name}, got {len(plt.get_fignums())}.")
        return plt.gcf(), printed.getvalue()


def save(figure: "plt.Figure", name: str, folder: Path) -> None:
    """The figure, and the same small for the index."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.style.context(STYLE):
        figure.savefig(folder / f"{name}.png", dpi=FIGURE_DPI)
        figure.savefig(folder / f"{name}-small.png", dpi=THUMBNAIL_DPI)
    plt.close(figure)


def page(example: Example, printed: str) -> str:
    """A page of the site."""
    return (
        f"# {example.title}\n\n{example.text}\n\n![What the example draws]({example.name}.png)\n\n"
        f"```python\n{example.code}```\n\nIt prints\n\n```text\n{printed}```\n\n"
        f"{{download}}`Download the script <../{example.name}.py>`\n"
    )


def index(source: str) -> str:
    """The index of the gallery with a card in the place of each line that names a script, and where the pages are in order."""
    names = [found["name"] for found in ENTRY.finditer(source)]
    cards = ENTRY.sub(lambda found: CARD.format(**found.groupdict()), source)
    grids = GRID.sub(lambda found: f"::::{{container}} gallery\n{found[0]}::::\n", cards)
    return grids + "\n```{toctree}\n:hidden:\n\n" + "\n".join(f"pages/{name}" for name in names) + "\n```\n"


def build_gallery() -> None:
    """Run what has changed, and write the pages."""
    for script in sorted(SCRIPTS.glob("*.py")):
        written, mark = PAGES / f"{script.stem}.md", hashlib.sha256(script.read_bytes() + STYLE.read_bytes()).hexdigest()
        stamp = f"<!-- {mark} -->\n"
        if written.exists() and written.read_text().endswith(stamp):
            continue
        figure, printed = run(script)
        save(figure, script.stem, PAGES)
        written.write_text(page(read(script), printed) + stamp)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        figure, printed = run(Path(argument))
        save(figure, Path(argument).stem, HERE.parent / "build" / "gallery")
        print(printed, end="")
