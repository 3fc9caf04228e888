"""Ten questions from public threads find their page in the site's own search."""

import json
from pathlib import Path

import pytest

pytest.importorskip("playwright")
from docs import search_ranks

SITE = Path(__file__).parents[2] / "build" / "docs"


def test_the_questions_are_ten_and_each_has_its_thread_and_its_pages() -> None:
    docs = Path(search_ranks.__file__).parent
    assert len(search_ranks.QUESTIONS) == 10
    for question in search_ranks.QUESTIONS:
        assert question["thread"].startswith("http")
        assert any((docs / f"{name}.md").exists() for name in question["right"])


def test_the_right_page_is_among_the_first_five() -> None:
    if not (SITE / "searchindex.js").exists():
        pytest.skip("needs the built site: make docs")
    if search_ranks.chromium() is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    ranks = [rank for rank, _ in search_ranks.ranks(SITE)]
    found = dict(zip((question["query"] for question in search_ranks.QUESTIONS), ranks, strict=True))
    assert all(rank is not None and rank <= 5 for rank in ranks), json.dumps(found, indent=1)
