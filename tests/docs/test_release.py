"""What a release brings along: metadata that agree, workflows that call what there is, and types that a user can rely on."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import lyapunov

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROGRAM = ROOT / "release" / "user_program.py"


def test_the_version_is_written_once_and_repeated_without_error() -> None:
    version = PROJECT["version"]
    assert lyapunov.__version__ == version
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == version
    assert f'set version = "{version}"' in (ROOT / "release" / "conda" / "meta.yaml").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version


def test_the_citation_has_what_its_format_asks_for() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    for author in (*citation["authors"], *citation["preferred-citation"]["authors"]):
        assert author.keys() <= {"name", "family-names", "given-names", "orcid", "affiliation", "email", "website"}
        assert "name" in author or {"family-names", "given-names"} <= author.keys()
    allowed = {"cff-version", "title", "message", "type", "version", "license", "abstract", "authors", "preferred-citation"}
    assert citation.keys() <= allowed | {"keywords", "doi", "date-released", "repository-code", "url", "identifiers"}
    assert {"type", "title", "authors"} <= citation["preferred-citation"].keys()
    assert isinstance(citation["preferred-citation"]["year"], int)


def test_the_metadata_for_zenodo_are_those_of_the_project() -> None:
    metadata = json.loads((ROOT / ".zenodo.json").read_text())
    assert metadata["license"] == PROJECT["license"]
    assert metadata["upload_type"] == "software"
    assert [creator["name"] for creator in metadata["creators"]] == ["The lyapunov developers"]
    assert all({"identifier", "relation"} <= related.keys() for related in metadata["related_identifiers"])


def test_the_conda_recipe_asks_for_what_the_wheel_asks_for() -> None:
    recipe = (ROOT / "release" / "conda" / "meta.yaml").read_text()
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    asked = {line.strip(" -") for line in run.splitlines()}
    expected = {re.sub(r"^torch\b", "pytorch", line) for line in PROJECT["dependencies"]}
    assert asked == expected | {f"python {PROJECT['requires-python']}"}


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_workflows_and_forms_are_well_formed(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert content
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in content.get("jobs", {}).values():
        for step in job["steps"]:
            called = step.get("run", "").partition("make ")[2].split()
            assert {word for word in called if "=" not in word and "/" not in word} <= targets
            assert step.keys() & {"run", "uses"}


def test_every_user_extra_is_tried() -> None:
    sys.path.insert(0, str(ROOT / "release"))
    try:
        import check
    finally:
        sys.path.pop(0)
    developers = {"docs", "test", "dev", "bench", "release"}
    assert set(check.TRIALS) == set(PROJECT["optional-dependencies"]) - developers
    assert {line.partition("==")[0] for line in check.lowest()} >= {"numpy", "safetensors", "filelock", "cyclopts"}


def test_the_wheel_would_be_small(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "wheel.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (ROOT / "src" / "lyapunov").rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(ROOT / "src"))
    assert (tmp_path / "wheel.zip").stat().st_size < 500_000


def strict_errors(program: Path) -> subprocess.CompletedProcess[str]:
    pyrefly = shutil.which("pyrefly", path=str(Path(sys.executable).parent))
    if pyrefly is None:
        pytest.skip("needs pyrefly: pip install 'lyapunov[dev]'")
    command = [pyrefly, "check", "--preset", "strict", "--search-path", str(ROOT / "src")]
    command += ["--python-interpreter-path", sys.executable, str(program)]
    return subprocess.run(command, cwd=program.parent, capture_output=True, text=True, check=False)


def test_a_strict_type_check_of_a_user_program_passes(tmp_path) -> None:
    assert (Path(lyapunov.__file__).parent / "py.typed").exists()
    program = Path(shutil.copy(PROGRAM, tmp_path))
    done = strict_errors(program)
    assert done.returncode == 0, done.stdout
    program.write_text(PROGRAM.read_text().replace("return spectrum.max", "return spectrum.verdict"))
    wrong = strict_errors(program)
    assert wrong.returncode != 0
    assert "Verdict" in wrong.stdout
