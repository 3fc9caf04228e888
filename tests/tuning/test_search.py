"""Searches by processes, on a journal file and on PostgreSQL, and by Ray: whoever dies, every trial is accounted for."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import searched
from lyapunov import InvalidInput
from lyapunov._rows import write_rows
from lyapunov.tuning import Engine, SearchSpec, mapped, rows, search, status, trial_folder
from lyapunov.tuning.study import joined
from lyapunov.tuning.trials import counted, repeat

HERE = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(searched.FOLDER, str(tmp_path))
    return tmp_path


def spec(function: str, storage: Any, trials: int, **kwargs: Any) -> SearchSpec:
    return SearchSpec(
        f"searched:{function}", str(storage), "test", trials, optuna.pruners.NopPruner, folder=str(HERE), seed=0, **kwargs
    )


def waited_for(file: Path, seconds: float = 60.0) -> str:
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not come"
        time.sleep(0.05)
    return file.read_text()


def searched_with_a_kill(asked: SearchSpec, folder: Path, engine: Engine = "processes") -> optuna.Study:
    """Two workers; the one at the third trial is killed with -9."""

    def kill() -> None:
        os.kill(int(waited_for(folder / "victim")), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    study = search(asked, workers=2, engine=engine)
    killer.join()
    return study


def require_every_trial_accounted_for(study: optuna.Study, folder: Path, trials: int) -> None:
    """The killed one has failed and its values were tried again; none ended twice, none is left."""
    states = Counter(trial.state.name for trial in study.trials)
    assert states == {"COMPLETE": trials, "FAIL": 1}
    again = [trial for trial in study.trials if "again" in trial.user_attrs]
    assert [trial.user_attrs["again"] for trial in again] == [2]
    assert again[0].params == study.trials[2].params
    ended = sorted(int(file.name.split("-")[1]) for file in folder.glob("ended-*"))
    assert ended == [trial.number for trial in study.trials if trial.state.name == "COMPLETE"]
    runs = Counter(file.name.split("-")[1] for file in folder.glob("run-*"))
    assert set(runs.values()) == {1}
    assert len({file.name.split("-")[2] for file in folder.glob("run-*")}) >= 2  # two workers took part


def test_two_processes_on_a_journal_file_one_killed(folder: Path) -> None:
    study = searched_with_a_kill(spec("bowl", folder / "journal.log", 8), folder)
    require_every_trial_accounted_for(study, folder, 8)
    table = rows(study)
    assert [row["trial"] for row in table] == list(range(9))
    write_rows(table, folder / "trials.csv")
    assert (folder / "trials.csv").read_text().startswith("trial,state,value,steps,seconds,x,why\n")


def test_a_search_goes_on_where_it_was(folder: Path) -> None:
    first = [trial.params for trial in search(spec("quick", folder / "journal.log", 3), workers=1).trials]
    seen: list[int] = []
    more = search(spec("quick", folder / "journal.log", 5), workers=2, say=lambda now: seen.append(now.finished))
    assert [trial.params for trial in more.trials[:3]] == first
    assert len({trial.params["x"] for trial in more.trials}) == 5  # none is drawn again
    assert seen[0] >= 3
    assert seen[-1] == 5


@pytest.mark.parametrize("kill", [os.killpg, os.kill], ids=["with its workers", "alone"])
def test_a_search_that_was_killed_repeats_what_was_running(kill: Callable[[int, int], None], folder: Path) -> None:
    """With -9: the next start finds that its owner is gone; workers that are left end by themselves."""
    storage = folder / "journal.log"
    code = "import sys, optuna; from lyapunov.tuning import SearchSpec, search\n"
    code += "spec = SearchSpec('searched:slow', sys.argv[1], 'test', 2, optuna.pruners.NopPruner)\n"
    code += "if __name__ == '__main__': search(spec, workers=2)"
    script = folder / "killed.py"
    script.write_text(code)
    started = subprocess.Popen(
        [sys.executable, str(script), str(storage)], cwd=HERE, start_new_session=True, stderr=subprocess.DEVNULL
    )
    study = None
    for _ in range(200):
        time.sleep(0.1)
        if storage.exists() and optuna.get_all_study_names(_storage(storage)):
            study = optuna.load_study(study_name="test", storage=_storage(storage))
            if sum("x" in trial.params for trial in study.trials) == 2:
                break
    assert study is not None
    kill(started.pid, signal.SIGKILL)
    started.wait()
    found = search(spec("quick", storage, 2), workers=1)
    time.sleep(1.0)  # whoever is left has had the time to say something
    assert Counter(trial.state.name for trial in found.trials) == {"FAIL": 2, "COMPLETE": 2}
    assert {trial.user_attrs["again"] for trial in found.trials[2:]} == {0, 1}
    assert status(found).finished == 2


@pytest.mark.parametrize("end", [lambda pid: os.killpg(pid, signal.SIGINT), lambda pid: os.kill(pid, signal.SIGTERM)])
def test_ctrl_c_ends_the_workers_and_the_same_command_goes_on(end: Callable[[int], None], folder: Path) -> None:
    """As a terminal does, the workers hear it, too; and as those who end jobs do."""
    command = [sys.executable, "-c", "from lyapunov.cli import main; main()", "tune"]
    asked = ["--trials", "2", "--workers", "2", "--output", str(folder / "out"), "--study", "one", "--pruner", "none"]
    started = subprocess.Popen(
        [*command, "searched:slow", *asked], cwd=HERE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    storage = folder / "out" / "journal.log"
    for _ in range(300):
        time.sleep(0.1)
        if storage.exists() and storage.read_text().count('"x"') >= 2:
            break
    end(started.pid)
    said = started.communicate(timeout=30)[1]
    assert "Run the same command to continue." in said
    assert "Traceback" not in said
    assert started.returncode == 130
    before = optuna.load_study(study_name="one", storage=_storage(storage))
    assert Counter(trial.state.name for trial in before.trials) == {"FAIL": 2, "WAITING": 2}
    done = subprocess.run(
        [*command, "searched:quick", *asked], cwd=HERE, capture_output=True, text=True, timeout=60, check=True
    )
    assert "The best of 2 completed trials" in done.stdout
    lines = (folder / "out" / "trials.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["fail", "fail", "complete", "complete"]


def test_runs_that_trials_leave_are_in_the_report(folder: Path) -> None:
    command = [sys.executable, "-c", "from lyapunov.cli import main; main()", "tune", "searched:watched", "--trials", "3"]
    command += ["--workers", "1", "--output", str(folder), "--maximize"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120, check=True)
    assert "the runs of the best 3" in done.stdout.replace("\n", " ")
    page = (folder / "report.html").read_text()
    assert all(f"trial {number}" in page for number in range(3))
    assert sorted(path.name for path in (folder / "trials" / "searched-watched").iterdir()) == ["0000", "0001", "0002"]


@pytest.mark.parametrize("trials", [2, 30])
def test_functions_that_only_fail_end_the_search_with_their_words(trials: int, folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"failures and nothing else.*ValueError: no data"):
        search(spec("broken", folder / "journal.log", trials), workers=1)


def test_a_failure_leaves_its_traceback_and_the_line_of_the_users_file(folder: Path) -> None:
    asked = replace(spec("broken", folder / "journal.log", 3), output=str(folder / "out"))
    with pytest.raises(InvalidInput) as caught:
        search(asked, workers=1)
    first, _, whole = str(caught.value).partition("\n\n")
    line = 1 + next(at for at, text in enumerate((HERE / "searched.py").read_text().splitlines()) if "raise ValueError" in text)
    assert "5 failures and nothing else, the last one: ValueError: no data for " in first
    assert f"(searched.py, line {line}); see " in first
    assert "\n" not in first
    left = sorted((folder / "out" / "trials").rglob("traceback.txt"))
    assert len(left) == 5
    assert whole == left[-1].read_text().rstrip()
    assert whole.startswith("Traceback (most recent call last):")
    assert f'searched.py", line {line}, in broken' in whole
    assert "lyapunov/tuning" not in whole
    study = optuna.load_study(study_name="test", storage=_storage(folder / "journal.log"))
    assert [row["state"] for row in rows(study)] == ["fail"] * 5
    with pytest.raises(InvalidInput, match="got 5 failures"):  # earlier ones are not held against a function that was corrected
        search(asked, workers=1)
    assert len(study.trials) == 10


def test_failures_do_not_use_up_trials(folder: Path) -> None:
    study = search(spec("moody", folder / "journal.log", 4), workers=1)
    states = Counter(trial.state.name for trial in study.trials)
    assert states["COMPLETE"] == 4
    assert states["FAIL"] == 5
    assert status(study).finished == 4
    assert status(study).failed == 5


def test_the_command_says_what_failed(folder: Path) -> None:
    command = [sys.executable, "-c", "from lyapunov.cli import main; main()", "tune", "searched:moody", "--trials", "2"]
    done = subprocess.run(
        [*command, "--workers", "1", "--output", str(folder)], cwd=HERE, capture_output=True, text=True, timeout=120, check=True
    )
    said = " ".join(done.stdout.split())
    assert "3 failed and did not count, the last one, trial 3: it returned NaN." in said


def test_a_module_that_cannot_be_imported_is_named_with_its_line(tmp_path: Path) -> None:
    for name, text, expected in (
        ("raising_module", "x = 1\ny = x / 0\n", r"ZeroDivisionError: .*\(raising_module.py, line 2\)"),
        ("wrong_module", "def objective(trial:\n", r"SyntaxError: .*\(wrong_module.py, line 1\)"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        asked = replace(spec("quick", tmp_path / "journal.log", 1), function=f"{name}:objective", folder=str(tmp_path))
        with pytest.raises(InvalidInput, match=expected):
            search(asked, workers=1)


def test_values_that_were_given_are_tried_again_where_none_was_asked_for_yet() -> None:
    """And what has ended meanwhile is not; polite stops do not use up the tries."""
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    for _ in range(6):
        repeat(study, study.trials[study.ask().number], "stopped", counts=False)
    again = study.ask()
    assert again.suggest_float("x", 0.0, 1.0) == 0.25
    stale = study.trials[again.number]
    study.tell(again, 1.0)
    repeat(study, stale, "lost")
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 6 + ["COMPLETE"]
    assert counted(study) == 1


def test_a_hyperparameter_does_not_take_the_place_of_a_result() -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: 1.0 + 0 * trial.suggest_float("value", 5.0, 6.0), n_trials=1)
    (row,) = rows(study)
    assert row["value"] == 1.0
    assert 5.0 <= row["params_value"] <= 6.0


def test_workers_join_a_study_and_do_not_make_one(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="a folder that all of them see, or a database"):
        joined(spec("quick", folder / "elsewhere.log", 1))


def test_trials_draw_by_their_numbers(folder: Path) -> None:
    """Two searches of one seed that start together, as on two machines, do not draw the same."""
    drawn = [trial.params["x"] for trial in search(spec("quick", folder / "a.log", 4), workers=2).trials]
    again = [trial.params["x"] for trial in search(spec("quick", folder / "b.log", 4), workers=1).trials]
    assert len(set(drawn)) == 4
    assert sorted(drawn) == sorted(again)


@pytest.mark.parametrize(
    ("function", "message"),
    [("searched", "module:name"), ("nowhere:f", "a module 'nowhere'"), ("searched:nothing", "a function 'nothing'")],
)
def test_functions_that_are_not_there_are_named(function: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        search(SearchSpec(function, str(tmp_path / "j.log"), "test", 1, optuna.pruners.NopPruner, folder=str(HERE)))


def test_a_study_of_the_other_direction_is_refused(folder: Path) -> None:
    search(spec("quick", folder / "journal.log", 1), workers=1)
    with pytest.raises(InvalidInput, match="a study that is to maximize, got 'test', which was begun the other way"):
        search(spec("quick", folder / "journal.log", 2, maximize=True), workers=1)


@pytest.mark.parametrize("address", ["postgresql://me:secret@127.0.0.1:1/none", "nonsense://x"])
def test_a_database_that_is_not_there_is_one_sentence(address: str, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="Expected a database at") as raised:
        search(spec("quick", address, 1), workers=1)
    assert "secret" not in str(raised.value)


def test_a_trial_outside_of_a_search_has_no_folder() -> None:
    assert trial_folder(optuna.trial.FixedTrial({})) is None
    assert trial_folder(optuna.create_study().ask()) is None


def test_work_is_mapped_in_order() -> None:
    assert mapped(abs, [-3, 1, -2], workers=2) == [3, 1, 2]


def _storage(file: Path) -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own on a free port; it does not run as root, so root becomes another user for it."""
    folders = [Path(found).parent for found in (shutil.which("initdb"),) if found] + sorted(
        Path("/usr/lib/postgresql").glob("*/bin")
    )
    tools = [folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()]
    if not tools:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    runs_as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    data = Path(tmp_path_factory.mktemp("postgresql"))
    for parent in (data, *data.parents[:3]):
        parent.chmod(0o777 if parent == data else 0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str) -> None:
        subprocess.run([*runs_as, *command], check=True, capture_output=True, cwd=data)

    run(str(tools[0] / "initdb"), "-D", f"{data}/cluster", "-U", "searcher", "-A", "trust", "--no-sync")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run(  # the server inherits what it is given to write to, and so must not be given pipes
        [*runs_as, str(tools[0] / "pg_ctl"), "-D", f"{data}/cluster", "-o", options, "-l", f"{data}/log", "-w", "start"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=data,
    )  # fmt: skip
    yield f"postgresql://searcher@127.0.0.1:{port}/postgres"
    run(str(tools[0] / "pg_ctl"), "-D", f"{data}/cluster", "-m", "immediate", "stop")


def test_two_workers_on_postgresql_one_killed(postgresql: str, folder: Path) -> None:
    study = searched_with_a_kill(spec("bowl", postgresql, 8), folder)
    complete = sum(trial.state.name == "COMPLETE" for trial in study.trials)
    assert complete in (8, 9)  # a database may give out a trial too many
    require_every_trial_accounted_for(study, folder, complete)


def test_two_nodes_of_ray_one_worker_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        assert len(ray.nodes()) == 2
        study = searched_with_a_kill(spec("bowl", folder / "journal.log", 8), folder, "ray")
        require_every_trial_accounted_for(study, folder, 8)
        assert mapped(abs, [-3, 1, -2], workers=2, engine="ray") == [3, 1, 2]
    finally:
        ray.shutdown()
        cluster.shutdown()
