"""The gallery runs as it is, draws what can be read, and is what its index says. Notebooks are run by `make docs`."""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))
import gallery_pages  # noqa: E402

SCRIPTS = sorted(gallery_pages.SCRIPTS.glob("*.py"))
NOTEBOOKS = sorted((gallery_pages.SCRIPTS / "notebooks").glob("*.md"))
SPECTRA = ("healthy", "chaotic", "vanishing", "saturated", "integrator", "relu")
MOST_LINES = 40


def colours(image: np.ndarray) -> int:
    """How many there are; a blank image has one, axes without anything in them a few greys."""
    seen = image[::2, ::2]
    return len(np.unique(seen.reshape(-1, image.shape[-1])[:, :3].round(2), axis=0))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_runs_and_draws_one_labelled_figure(script: Path, tmp_path) -> None:
    figure, printed = gallery_pages.run(script)
    assert printed.strip()
    panels = [ax for ax in figure.axes if ax.get_xlabel()]
    assert panels
    assert all(ax.get_title(loc=place) for ax in panels for place in ("left",))
    gallery_pages.save(figure, "drawn", tmp_path)
    assert colours(plt.imread(tmp_path / "drawn.png")) > 60
    assert (tmp_path / "drawn-small.png").stat().st_size < 55_000


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_is_a_question_with_an_answer_in_few_lines(script: Path) -> None:
    example = gallery_pages.read(script)
    assert example.title.endswith("?")
    assert 100 < len(example.text) < 600
    assert "assert " in example.code  # what the text claims
    assert sum(bool(line.strip()) for line in example.code.splitlines()) <= MOST_LINES


def test_the_index_asks_the_question_of_every_example() -> None:
    listed = gallery_pages.ENTRY.findall((gallery_pages.SCRIPTS / "index.md").read_text())
    assert sorted(listed) == sorted((gallery_pages.read(script).title, script.stem) for script in SCRIPTS)
    assert len(listed) >= 20


def test_the_index_has_a_card_and_a_place_for_each_example() -> None:
    made = gallery_pages.index("# Gallery\n\n## Part\n\n- [One?](one.py)\n- [Two?](two.py)\n\n## Rest\n\nText.\n")
    assert made.count(":::{container} card\n") == 2
    assert made.count("::::{container} gallery\n") == 1
    assert made.index("[Two?](pages/two.md)\n:::\n::::\n") < made.index("## Rest")
    assert made.endswith("```{toctree}\n:hidden:\n\npages/one\npages/two\n```\n")


@pytest.mark.parametrize("code", ["print(1)", "plt.figure(), plt.figure()"])
def test_a_script_that_does_not_draw_one_figure_is_refused(code: str, tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f'"""Why?"""\nimport matplotlib.pyplot as plt\n{code}\n')
    with pytest.raises(ValueError, match=r"Expected one figure from script\.py, got [02]"):
        gallery_pages.run(script)


def test_there_are_three_notebooks_without_outputs() -> None:
    assert len(NOTEBOOKS) == 3


def test_the_six_spectra_are_drawn_in_one_size() -> None:
    images = [plt.imread(DOCS / "figures" / f"spectrum-{name}.png") for name in SPECTRA]
    assert len({image.shape for image in images}) == 1
    assert all(colours(image) > 60 for image in images)
