"""What README and docs say is executed, and prints what they say it prints."""

import re
from pathlib import Path

import matplotlib
import pytest
import torch

from tolerances import assert_same_text

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text()], ids=lambda page: page.name)
def test_code_blocks_run(page: Path, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    with torch.random.fork_rng():
        names: dict[str, object] = {}
        for block in BLOCK.findall(page.read_text()):
            exec(compile(block, page.name, "exec"), names)
    if page.name == "README.md":
        promised = re.search(r"prints\n\n```text\n(.*?)```", page.read_text(), re.DOTALL)[1]
        assert_same_text(capsys.readouterr().out, promised)


def test_the_readme_example_is_short() -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    assert len(blocks) == 1
    assert sum(bool(line.strip()) for line in blocks[0].splitlines()) <= 15
