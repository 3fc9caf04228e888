"""The reference has every public name once, and its docstring explains every argument and has an example that runs."""

import doctest
import inspect
from pathlib import Path

import matplotlib
import public
import pytest
import torch

import lyapunov

NAMES = public.names()


def test_every_public_name_has_one_entry() -> None:
    entries = public.entries()
    assert {name for name in NAMES if name not in entries} == set()
    assert {name for name, pages in entries.items() if len(pages) > 1} == set()
    assert {name for name in entries if name not in NAMES} == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_explained(name: str) -> None:
    for called, function, doc in public.callables(name):
        assert doc, f"{called} has no docstring"
        missing = set(public.parameters(function)) - public.described(doc)
        assert missing == set(), f"{called} leaves {missing} unexplained"


@pytest.mark.parametrize("name", NAMES)
def test_every_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = inspect.getdoc(public.named(name)) or ""
    assert "Example:" in doc, f"{name} has no example"
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    said: list[str] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        test = doctest.DocTestParser().get_doctest(doc, {"torch": torch, "lyapunov": lyapunov}, name, None, 0)
        assert test.examples
        doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert said == []
