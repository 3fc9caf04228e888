"""The documentation is written for people who look for something: short sentences, one claim everywhere, no private dialect."""

import re
from pathlib import Path

import pytest
from benchmarks.reading_ease import mean_length, pages, sentences

ROOT = Path(__file__).parent.parent
LONGEST = 18
"""Words in a page's mean sentence."""
GONE = (
    "the interval between orthonormalisations follows the arithmetic",
    "they are not the layer they are called",
    "while a loss is flat, spectra know more than it",
    "While the loss is flat, spectra know more than it",
    "an interval over which a column falls too far behind the others is taken back and halved",
    "everything is found anew, the carried run is made beside it",
    "foretells the end of a trial from where its loss and its spectrum stand among theirs",
    "predicts the end of a trial from where its loss and its spectrum stand among theirs",
    "what is lost for good is",
)
"""Sentences that nobody could follow."""
DIALECT = re.compile(
    r"\b(anew|foretell\w*|foretold|lost for good|given up|taken back|stands? among|hands? over|handed over)\b", re.I
)
"""Words that nobody types into a search box."""


@pytest.mark.parametrize("name", pages())
def test_the_mean_sentence_of_a_page_is_short(name: str) -> None:
    assert mean_length(pages()[name]) <= LONGEST


@pytest.mark.parametrize("name", pages())
def test_a_page_is_free_of_private_dialect(name: str) -> None:
    assert [sentence for sentence in sentences(pages()[name]) if DIALECT.search(sentence)] == []


def test_the_code_is_free_of_private_dialect() -> None:
    found = [(path.name, found[0]) for path in (ROOT / "src").rglob("*.py") if (found := DIALECT.search(path.read_text()))]
    assert found == []


@pytest.mark.parametrize("sentence", GONE)
def test_a_sentence_that_nobody_could_follow_is_gone(sentence: str) -> None:
    texts = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
    texts += [*(ROOT / "experiments").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    assert [path.name for path in texts if sentence in " ".join(path.read_text().split())] == []


def test_the_demo_takes_the_same_time_everywhere() -> None:
    said = re.compile(r"about (\w+) minutes")
    texts = [ROOT / "README.md", ROOT / "Makefile", ROOT / "src" / "lyapunov" / "cli" / "demo.py"]
    assert [set(said.findall(path.read_text())) for path in texts] == [{"five"}] * 3


@pytest.mark.parametrize(
    ("page", "length"),
    [
        ("One two three. Four five six!\n\nSeven eight nine ten?", 10 / 3),
        ("It is 0.5 nats. Use `a.b(c) if d` here.\n", 3.5),
        ("# A heading of six words here\n\nJust three words.\n\n```python\nnot = counted\n```\n", 3.0),
        ("- First item, three\n  more words\n- [Second](x.md) item here\n", 4.0),
        ("| a table | is not counted |\n\n    nor is code\n\nBut this is.\n", 3.0),
    ],
)
def test_sentences_are_counted_as_a_reader_would(page: str, length: float) -> None:
    assert mean_length(page) == pytest.approx(length)
