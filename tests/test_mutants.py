"""The program that makes small mistakes makes each in one place, draws the same ones again, and notices what a test notices."""

import ast
from pathlib import Path

import pytest

import mutants
from breaks import BREAKS, Break
from mutating import mutants as mistakes

CODE = '''"""Text with 1 number."""
LIMIT = 2.0


def clipped(values: "list[float] | None", most: float = LIMIT) -> float:
    """-1 where there is nothing."""
    if not values:
        raise ValueError("nothing" + "!")
    total = sum(values) / len(values)
    print(total)
    return min(total, most) if total > 0 else -1
'''


@pytest.fixture
def made(tmp_path: Path) -> dict[str, str]:
    """What each mistake makes of the module, by what it changes."""
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return {f"{one.was} -> {one.now}": ast.unparse(one.tree) for one in mistakes(path, tmp_path)}


def test_each_mistake_changes_one_line_and_no_text(made: dict[str, str]) -> None:
    whole = ast.unparse(ast.parse(CODE)).splitlines()
    for told, code in made.items():
        assert sum(one != two for one, two in zip(whole, code.splitlines(), strict=True)) == 1, told
    wanted = {"2.0 -> 4.0", "total > 0 -> total >= 0", "sum(values) -> mean(values)", "print(total) -> pass", "-1 -> 1"}
    assert wanted <= set(made)
    assert not any("nothing" in told or "None" in told for told in made)


def test_the_same_seed_draws_the_same_mistakes_and_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "files", lambda: [mutants.SOURCE / "estimate" / "statistics.py"])
    few, many = mutants.draw(10, seed=3), mutants.draw(20, seed=3)
    assert [mistake.key for mistake in few] == [mistake.key for mistake in many[:10]]
    assert len({mistake.key for mistake in many}) == 20


def test_tests_are_chosen_by_the_line_and_quick_ones_first() -> None:
    mistake = next(one for one in mistakes(mutants.SOURCE / "estimate" / "budget.py", mutants.SOURCE) if one.function)
    reached = {
        mistake.line: {"tests/a.py::slow", "tests/a.py::quick", "tests/a.py::quick[2]"},
        mistake.line + 1000: {"tests/b.py::other"},
    }
    seconds = {"tests/a.py::slow": 3.0, "tests/a.py::quick": 0.1, "tests/a.py::quick[2]": 0.2, "tests/b.py::other": 0.1}
    assert mutants.chosen(mistake, reached, seconds, 9.0) == ["tests/a.py::quick", "tests/a.py::slow", "tests/a.py::quick[2]"]
    assert mutants.chosen(mistake, reached, seconds, 1.0) == ["tests/a.py::quick", "tests/a.py::quick[2]"]


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.name)
def test_a_chosen_mistake_has_its_place_in_the_code_and_its_tests(one: Break) -> None:
    assert (mutants.SOURCE / one.file).read_text().count(one.right) == 1
    for test in one.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in (Path(__file__).parent / file).read_text()
