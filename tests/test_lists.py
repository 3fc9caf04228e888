"""Lists that name things name what there is."""

import dataclasses
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import lyapunov
from lyapunov.systems import known
from lyapunov.tasks import Training

ROOT = Path(__file__).parent.parent


def rows(page: Path, header: str) -> list[list[str]]:
    """The cells of the table whose header row starts so."""
    lines = page.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(header))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def _as_isort(name: str) -> tuple[bool, bool, str]:
    """Words in capitals, then other classes, then the rest."""
    return not name.isupper(), not name[0].isupper(), name


def test_all_is_what_there_is() -> None:
    names = {name for name in vars(lyapunov) if not name.startswith("_") and not inspect.ismodule(getattr(lyapunov, name))}
    assert names - {"version"} | {"init", "integrations", "known", "plots", "schedules", "__version__"} == set(lyapunov.__all__)
    assert lyapunov.__version__ == version("lyapunov")
    assert list(lyapunov.__all__) == sorted(lyapunov.__all__, key=_as_isort)


def test_the_supported_kinds_on_their_page_are_those_recognized() -> None:
    import sys

    module = sys.modules["lyapunov.intake.recognize"]
    kinds = {kind.__name__ for kind in (*module.LAYERS, *module.CELLS)}
    named = {name for row in rows(ROOT / "docs" / "supported.md", "| you have") for name in re.findall(r"`(\w+)`", row[0])}
    assert named == kinds


def test_the_indexes_of_the_docs_lead_to_every_page() -> None:
    docs = ROOT / "docs"
    written = [".ipynb_checkpoints", "pages"]  # by Jupyter, and by the site for the gallery
    found = [path for suffix in ("md", "ipynb") for path in docs.rglob(f"*.{suffix}")]
    pages = {path for path in found if not any(part in written for part in path.parts)}
    linked = {
        (index.parent / link).resolve()
        for index in docs.rglob("index.md")
        for link in re.findall(r"\]\(([\w./-]+\.(?:md|ipynb))", index.read_text())
    }
    assert pages - {docs / "index.md"} <= linked


def test_the_docs_table_names_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {("core", name) for name in map(bare, project["dependencies"])}
    wanted |= {(f"`[{extra}]`", bare(name)) for extra, names in extras.items() for name in names if "lyapunov" not in name}
    assert {(row[1], row[0]) for row in rows(ROOT / "docs" / "developers.md", "| package")} == wanted


def test_every_dependency_has_an_exact_version() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {line.split("==")[0].lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [*project["dependencies"], *(name for names in project["optional-dependencies"].values() for name in names)]
    assert {bare(name).lower() for name in names if "lyapunov" not in name} <= pinned
    assert "torch==2.13.0" in lines


def bare(requirement: str) -> str:
    return re.split(r"[<>=\[]", requirement)[0]


def test_the_known_answers_on_the_theory_page_are_tested() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    table = rows(ROOT / "docs" / "theory.md", "| system")
    assert len(table) == 23
    for row in table:
        name = re.search(r"`(\w+)`", row[2])[1]
        assert re.search(rf"(def|class) {name}\b", tests), name
    starred = [re.search(r"`(\w+)`", row[2])[1] for row in table if row[0].startswith("*")]
    assert len(starred) == 4
    assert all(f"def {name}_in_the_wrong_order_reads_another_number" in tests for name in starred)


def test_every_known_system_has_a_source() -> None:
    builders = [value for name, value in vars(known).items() if inspect.isfunction(value) and name in known.__all__]
    cases = [build() for build in builders if build is not known.mean_field_exponents]
    assert len(cases) == 19
    for case in cases:
        assert case.source
        assert bool((case.exponents.diff() <= 0).all())


def test_defaults_of_the_demo_are_those_of_the_training() -> None:
    from lyapunov.cli.demo import demo

    parameters = inspect.signature(demo).parameters
    defaults = {field.name: field.default for field in dataclasses.fields(Training)}
    for name in ("epochs", "hidden", "seed"):
        assert parameters[name].default == defaults[name]


def test_every_parameter_of_spectrum_is_explained() -> None:
    text = lyapunov.spectrum.__doc__
    for name in inspect.signature(lyapunov.spectrum).parameters:
        assert re.search(rf"\b{name}\b", text), name


def test_the_changelog_has_the_version() -> None:
    assert f"## {lyapunov.__version__}" in (ROOT / "CHANGELOG.md").read_text()
