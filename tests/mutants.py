"""Makes small mistakes in the loop over time and in the statistics, one at a time, and asks whether a test notices each.

    python tests/mutants.py                    # 300 mistakes drawn with a seed, at most two hours; goes on where it was ended
    python tests/mutants.py --count 50         # fewer of them
    python tests/mutants.py --survivors        # those that no test noticed once more, after tests were added
    python tests/mutants.py --page             # docs/mutants.md from what there is, without running anything

First the tests run whole, once, and say which of them reach which line and how long each takes. Each mistake is then put into
the memory of a process of its own, which runs some of the tests that reach its line, those of its own file and the quick ones
first, and stops at the first failure. No file is changed. Results are in `.mutants/`, survivors in `docs/mutants.md`.
`mutations.py` is for mistakes that are chosen by hand, with the tests that must notice each.
"""

import argparse
import gc
import importlib.abc
import importlib.machinery
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn

import pytest
import torch

from coverage import CoverageData
from mutating import Mutant, mutants

ROOT = Path(__file__).parent.parent
SOURCE, RESULTS, PAGE = ROOT / "src" / "lyapunov", ROOT / ".mutants", ROOT / "docs" / "mutants.md"
STATISTICS = (
    "quantities",
    "timescales",
    "standard_errors",
    "statistics",
    "difference",
    "budget",
    "transient_findings",
    "attribution",
    "verdict",
)
TESTS = ("tangent", "estimate", "test_laws.py", "test_known.py", "test_precision.py", "test_properties.py")
COUNT, SEED, HOURS, TEST_SECONDS = 300, 0, 2.0, 8.0
"""Mistakes; of the draw; at most in all; of tests for one mistake, by what the processor took for them unbroken."""
PYTEST = ("-q", "-o", "addopts=--strict-markers", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
FIRST = "tests/test_shown.py"
"""Run unbroken before the others, so that processes that are forked have the libraries already."""
CAUGHT, SURVIVED, ENDLESS, UNREACHED = "caught", "survived", "endless", "no test"


def main() -> int:
    """The exit status: 0 however many survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT, help="mistakes to draw")
    parser.add_argument("--seed", type=int, default=SEED, help="of the draw")
    parser.add_argument("--hours", type=float, default=HOURS, help="at most, without the first run of the tests")
    parser.add_argument("--seconds", type=float, default=TEST_SECONDS, help="of tests for each mistake")
    parser.add_argument("--survivors", action="store_true", help="those that survived, once more")
    parser.add_argument("--page", action="store_true", help="write the page only")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    drawn, known = draw(options.count, options.seed), _results()
    if not options.page:
        reached, seconds = _reached()
        todo = [one for one in drawn if one.key not in known]
        if options.survivors:
            todo = [one for one in drawn if known.get(one.key, {}).get("status") in (SURVIVED, UNREACHED)]
        if pytest.main([*PYTEST, FIRST]):
            _stop(f"Expected {FIRST} to pass before anything is broken.")
        gc.freeze()
        end = time.monotonic() + 3600 * options.hours
        for at, one in enumerate(todo, start=1):
            if time.monotonic() > end:
                break
            tests = chosen(one, reached[one.file], seconds, options.seconds)
            known[one.key] = found = _tried(one, tests, seconds)
            with (RESULTS / "results.jsonl").open("a") as file:
                print(json.dumps({"key": one.key, **found}), file=file)
            print(f"{at}/{len(todo)}  {found['took']:5.1f} s  {_told(one)}: {found['status']} {found['by']}", flush=True)
    PAGE.write_text(page(drawn, known, options.seed, options.seconds))
    return 0


def files() -> list[Path]:
    """The loop and the statistics."""
    loop = [path for path in sorted((SOURCE / "tangent").rglob("*.py")) if path.name != "__init__.py"]
    return [*loop, *(SOURCE / "estimate" / f"{name}.py" for name in STATISTICS)]


def draw(count: int, seed: int) -> list[Mutant]:
    """So many of all mistakes, each as likely as any other; in the order of the draw, so that more are the same and others."""
    every = [one for path in files() for one in mutants(path, SOURCE)]
    random.Random(seed).shuffle(every)
    return every[:count]


def chosen(one: Mutant, reached: Mapping[int, set[str]], seconds: Mapping[str, float], most: float) -> list[str]:
    """Tests that reach a mistake: one case of each before the others, those of its file before others, quick ones first.

    A mistake outside functions is made at import: all that reach the file may notice it.
    """
    inside = {test for line in one.lines for test in reached.get(line, ())}
    tests = inside or ({test for all_tests in reached.values() for test in all_tests} if not one.function else set())
    stem, cases, ranked = Path(one.file).stem, {}, []
    for test in sorted(tests, key=lambda test: seconds[test]):
        name = test.partition("[")[0]
        cases[name] = rank = cases.get(name, -1) + 1
        ranked.append((rank, f"test_{stem}.py" not in test, seconds[test], test))
    taken, total = [], 0.0
    for _, _, took, test in sorted(ranked):
        if total + took <= most or not taken:
            taken.append(test)
            total += took
    return taken


def _reached() -> tuple[dict[str, dict[int, set[str]]], dict[str, float]]:
    """By file and line the tests that run it, and what each test took; from one run of all, which is kept."""
    data, times = RESULTS / "coverage", RESULTS / "seconds.json"
    if not times.exists():
        _run_all(data, times)
    seconds = json.loads(times.read_text())
    read = CoverageData(str(data))
    read.read()
    reached = {}
    for path in files():
        lines = read.contexts_by_lineno(str(path))
        tests = {line: {name.partition("|")[0] for name in names} & set(seconds) for line, names in lines.items()}
        reached[path.relative_to(SOURCE).as_posix()] = tests
    return reached, seconds


def _run_all(data: Path, times: Path) -> None:
    print("Running the tests whole, to see which lines each of them reaches", flush=True)
    settings = RESULTS / "coverage.ini"
    settings.write_text(f"[run]\nsource =\n    {SOURCE / 'tangent'}\n    {SOURCE / 'estimate'}\n")
    command = [sys.executable, __file__, "--in-process", str(times)]
    options = [*PYTEST, "-m", "not slow", "--cov", f"--cov-config={settings}", "--cov-context=test", "--cov-report="]
    tests = [f"tests/{name}" for name in TESTS]
    status = subprocess.run([*command, *options, *tests], cwd=ROOT, env=_environment(COVERAGE_FILE=str(data)), check=False)
    if status.returncode:
        _stop(f"Expected the tests to pass before anything is broken, got exit status {status.returncode}.")


class _Times:
    """What each test took, and which failed first."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.seconds[item.nodeid] = time.process_time() - begun

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


class _Broken(importlib.abc.MetaPathFinder):
    """Imports one module of the package with a mistake in it."""

    def __init__(self, one: Mutant) -> None:
        self.path = SOURCE / one.file
        self.module = "lyapunov." + one.file.removesuffix(".py").replace("/", ".")
        self.code = compile(one.tree, str(self.path), "exec")

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's own place, with a loader of the broken code."""
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not Path(spec.origin).samefile(self.path):
            raise ImportError(f"Expected {fullname} at {self.path}, got {spec}.")
        spec.loader = _Loader(fullname, str(self.path), self.code)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:
        return self.code


def _tried(one: Mutant, tests: Sequence[str], seconds: dict[str, float]) -> dict[str, object]:
    """Whether one of the tests fails with a mistake in the code, in a process that has the libraries already.

    seconds: what tests take; those that pass bring it up to date.
    """
    if not tests:
        return {"status": UNREACHED, "by": "", "took": 0.0}
    begun, (reading, writing) = time.monotonic(), os.pipe()
    child = os.fork()
    if child == 0:
        _run_broken(one, tests, sum(seconds[test] for test in tests), writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, ended = os.waitpid(child, 0)
    took = round(time.monotonic() - begun, 1)
    if os.WIFSIGNALED(ended):
        known = {signal.SIGXCPU, signal.SIGKILL, signal.SIGALRM}
        return {
            "status": ENDLESS if os.WTERMSIG(ended) in known else CAUGHT,
            "by": f"signal {os.WTERMSIG(ended)}",
            "took": took,
        }
    ran = json.loads(said)
    if ran["status"] not in (0, 1, 2, 4):
        _stop(f"Expected pytest to run {len(tests)} tests for {_told(one)}, got {ran}.")
    seconds |= {test: took for test, took in ran["seconds"].items() if test != ran["by"]}
    return {"status": SURVIVED if ran["status"] == 0 else CAUGHT, "by": ran["by"], "took": took}


def _run_broken(one: Mutant, tests: Sequence[str], seconds: float, writing: int) -> NoReturn:
    """In the child: seconds of the processor bound it, so that a busy machine does not."""
    limit = int(10 + 3 * seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    signal.alarm(10 * limit)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    try:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "lyapunov" or str(getattr(module, "__file__", "")).startswith(str(ROOT / "tests")):
                del sys.modules[name]
        sys.meta_path.insert(0, _Broken(one))
        seen = _Times()
        status = int(pytest.main([*PYTEST, "-x", *tests], plugins=[seen]))
        said = {"status": status, "by": seen.failed, "seconds": seen.seconds}
    except BaseException as error:
        said = {"status": -1, "by": repr(error), "seconds": {}}
    with os.fdopen(writing, "w") as pipe:
        json.dump(said, pipe)
    os._exit(0)


def page(drawn: Sequence[Mutant], known: Mapping[str, Mapping[str, object]], seed: int, seconds: float) -> str:
    """The numbers, and a line for each mistake that no test noticed."""
    tried = [one for one in drawn if one.key in known]
    by_status = {status: [one for one in tried if known[one.key]["status"] == status] for status in (CAUGHT, ENDLESS)}
    left = sorted(
        (one for one in tried if known[one.key]["status"] in (SURVIVED, UNREACHED)), key=lambda one: (one.file, one.line)
    )
    noticed = sum(map(len, by_status.values()))
    lines = [
        "# Which mistakes would no test notice?",
        "",
        "`make mutants` puts small mistakes into the loop over time (`tangent/`) and the statistics of `estimate/`, one at a",
        "time: a comparison, an operator, a number, a condition or a call is changed. Tests that reach the line follow, the",
        f"quick ones first, {seconds:g} seconds of them.",
        "",
        f"Of {len(drawn)} drawn (seed {seed}, commit {_commit()}) {len(tried)} were tried.",
        f"Tests noticed {noticed}, of which {len(by_status[ENDLESS])} never ended. {len(left)} survived. Some change nothing,",
        "such as a tolerance that is twice as wide; the others are work to do. Slow tests were not asked.",
        "",
        *(
            f"- {_told(one, code=True)}{' (no quick test reaches it)' * (known[one.key]['status'] == UNREACHED)}"
            for one in left
        ),
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def _told(one: Mutant, *, code: bool = False) -> str:
    tick = "`" * code
    within = f" in {tick}{one.within}{tick}" * bool(one.within)
    where = f"{tick}{one.file}{tick} {one.function or 'module'}, line {one.line}"
    return f"{where}: {tick}{one.was}{tick} -> {tick}{one.now}{tick}{within}"


def _results() -> dict[str, dict[str, object]]:
    """What was found before, by the mistake's key; the last word holds."""
    path = RESULTS / "results.jsonl"
    lines: Iterable[str] = path.read_text().splitlines() if path.exists() else ()
    return {record["key"]: record for record in map(json.loads, lines)}


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1", **more}


def _stop(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)


def _in_process(arguments: Sequence[str]) -> int:
    """`--in-process FILE ...`: pytest, which writes what each test took."""
    seen = _Times()
    status = int(pytest.main(list(arguments[1:]), plugins=[seen]))
    if status == 0:
        Path(arguments[0]).write_text(json.dumps(seen.seconds))
    return status


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.chdir(ROOT)
    sys.path.insert(0, str(SOURCE.parent))
    sys.exit(_in_process(sys.argv[2:]) if sys.argv[1:2] == ["--in-process"] else main())
