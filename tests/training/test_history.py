"""A run's history survives a kill at any moment, and is read by what it says last."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lyapunov
from lyapunov.report import write_report
from lyapunov.systems import known
from lyapunov.training import Alarm, History, Reading, Run


def reading(step: int, **changes) -> Reading:
    return Reading(step, None, {"loss": 1.5}, exponents=(-0.5, -math.inf), standard_errors=(0.1, math.nan), **changes)


def test_readings_are_read_back_as_they_were(tmp_path) -> None:
    history = History(tmp_path / "run")
    history.append({"kind": "run", "name": "first", "k": 2})
    full = reading(3, alarms=(Alarm("chaos", "so it is"),), mean=-1.0, saturated=0.25, file="a", failure="no")
    for each in (reading(0), full):
        history.append(each.record())
    run = Run.load(history.directory)
    assert run.name == "first"
    assert repr(run).startswith(f"Run 'first' in {history.directory}: 2 readings; step 3: no")
    assert repr(run.readings) == repr((reading(0), full))
    assert Run.load(history.file).readings[1].alarms == full.alarms


def test_a_memory_of_an_old_history_is_judged_by_the_interval_that_is_there(tmp_path) -> None:
    """Histories once held -1 / lambda whatever the interval."""
    intervals = {0: (-0.6, -0.4), 1: (-0.6, 0.1), 2: None}
    history = History(tmp_path)
    for step, interval in intervals.items():
        record = reading(step).record() | {"memory": 2.0}
        record = {name: value for name, value in record.items() if name != "max_interval"}
        history.append(record if interval is None else record | {"max_interval": interval})
    sure, unsure, unknown = Run.load(tmp_path).readings
    assert sure.memory == pytest.approx(2.0)
    assert math.isnan(unsure.memory)
    assert unsure.timescale.kind == unknown.timescale.kind == "not determined"


def test_a_history_without_a_verdict_is_read_and_says_nothing(tmp_path) -> None:
    """Older histories have no kinds of findings, and alarms that are all certain."""
    verdicts = {0: "", 1: "converged", 2: "too short: about 40 would do."}
    history = History(tmp_path)
    for step, verdict in verdicts.items():
        record = reading(step, verdict=verdict).record() | {"alarms": [{"kind": "chaos", "message": "so it is"}]}
        history.append({name: value for name, value in record.items() if name not in ("kinds", "counted")})
    readings = Run.load(tmp_path).readings
    assert [one.converged for one in readings] == [None, True, False]
    assert [one.standing for one in readings] == ["no verdict", "converged", "not converged"]
    assert [one.numbers().get("lyapunov/converged") for one in readings] == [None, 1.0, 0.0]
    assert readings[0].kinds is readings[0].counted is None
    assert not readings[0].alarms[0].tentative


def test_a_verdict_goes_wherever_a_reading_goes(tmp_path) -> None:
    history = History(tmp_path)
    short = {"verdict": "too short: about 40 would do.", "kinds": ("too short",)}
    alarm = Alarm("chaos", "so it is", tentative=True)
    history.append(reading(0, verdict="converged", kinds=()).record())
    history.append(reading(1, **short, alarms=(alarm,)).record())
    history.append(reading(2, failure="Diverged: so it is").record())
    run = Run.load(tmp_path)
    sure, unsure, failed = run.readings
    assert "(converged)" in str(sure)
    assert "verdict" not in str(sure)
    assert "(not converged: too short)" in str(unsure)
    assert "\n  verdict: too short: about 40 would do." in str(unsure)
    assert (unsure.kinds, unsure.alarms) == (("too short",), (alarm,))
    assert [one.numbers()["lyapunov/converged"] for one in run.readings] == [1.0, 0.0, 0.0]
    assert failed.texts() == {"lyapunov/verdict": "Diverged: so it is"}
    table = run.to_pandas()
    assert table["converged"].tolist() == [True, False, False]
    assert table["verdict"].tolist() == ["converged", short["verdict"], "Diverged: so it is"]


def test_a_run_that_went_back_is_what_it_did_last(tmp_path) -> None:
    history = History(tmp_path)
    for step in (0, 10, 20, 30):
        history.append(reading(step).record())
    again = History(tmp_path)
    again.append({"kind": "run"})
    for step in (20, 40):
        again.append(reading(step, mean=-9.0).record())
    run = Run.load(tmp_path)
    assert [kept.step for kept in run.readings] == [0, 10, 20, 40]
    assert run.readings[2].mean == -9.0
    assert len(history.file.read_text().splitlines()) == 7


def test_a_line_cut_short_is_passed_over_and_the_next_one_kept_apart_from_it(tmp_path) -> None:
    history = History(tmp_path)
    history.append(reading(0).record())
    with history.file.open("a") as file:
        file.write('{"kind": "reading", "step": 1, "lo')
    assert [kept.step for kept in Run.load(tmp_path).readings] == [0]
    History(tmp_path).append(reading(2).record())
    assert [kept.step for kept in Run.load(tmp_path).readings] == [0, 2]


def test_what_is_not_a_history_is_told_in_one_sentence(tmp_path) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=r"Expected the folder of a run.*nowhere"):
        Run.load(tmp_path / "nowhere")
    (tmp_path / "history.jsonl").write_text('{"kind": "run"}\nnot json\n')
    with pytest.raises(lyapunov.InvalidInput, match="line 2"):
        Run.load(tmp_path)
    wrong = [
        '{"kind": "run", "format": 99}',
        '{"kind": "run", "about": "a word"}',
        '{"kind": "reading"}',
        '{"kind": "reading", "step": "three"}',
        '{"kind": "reading", "step": 3, "exponents": ["x"]}',
        '{"kind": "reading", "step": 3, "losses": 7}',
        '{"kind": "reading", "step": 3, "alarms": [{"sort": "chaos"}]}',
        "[1, 2]",
        "7",
    ]
    for line in wrong:
        (tmp_path / "history.jsonl").write_text(line + "\n")
        with pytest.raises(lyapunov.InvalidInput, match="line 1"):
            Run.load(tmp_path)


def test_fields_of_later_versions_are_passed_over(tmp_path) -> None:
    history = History(tmp_path)
    history.append({**reading(0).record(), "colour": "green"})
    history.append({"kind": "weather", "sun": True})
    assert len(Run.load(tmp_path).readings) == 1


def test_spectra_are_found_by_step_and_what_is_damaged_is_passed_over(tmp_path) -> None:
    case, history = known.henon(), History(tmp_path)
    for step, seed in ((0, 0), (12, 1), (20, 2), (30, 3)):
        file = history.save_spectrum(lyapunov.spectrum(case.system, steps=20, seed=seed), step)
        history.append(reading(step, file=file).record())
    history.append(reading(40, file="../outside.safetensors").record())
    (tmp_path / "spectra" / "000020.safetensors").write_bytes(b"damaged")
    (tmp_path / "spectra" / "000030.safetensors").unlink()
    (tmp_path / "spectra" / "000013.safetensors.partial").write_text("a kill during writing leaves this")
    with pytest.warns(lyapunov.LyapunovWarning, match=r"000020.*passed over"):
        spectra = Run.load(tmp_path).spectra()
    assert list(spectra) == [0, 12]
    assert spectra[12].settings.seed == 1


def test_readings_as_a_table(tmp_path) -> None:
    history = History(tmp_path)
    assert len(empty(tmp_path).to_pandas()) == 0
    for step in (0, 5):
        history.append(reading(step).record())
    table = Run.load(tmp_path).to_pandas()
    assert table.index.tolist() == [0, 5]
    assert table["max"].tolist() == [-0.5, -0.5]
    assert table["loss"].tolist() == [1.5, 1.5]


def empty(directory) -> Run:
    History(directory).append({"kind": "run"})
    return Run.load(directory)


KILLS = 50
DRIVER = """
import os, random, signal, sys, time
import lyapunov
from lyapunov.systems import known
from lyapunov.training import History, Reading, Run

directory, kills = sys.argv[1], int(sys.argv[2])
draw = random.Random(0)
found = lyapunov.spectrum(known.henon().system, steps=2000)


def write(told):
    history = History(directory)
    step = len(Run.load(directory).readings) if history.file.exists() else 0
    history.append({"kind": "run", "name": "killed"})
    while True:
        file = history.save_spectrum(found, step)
        history.append(Reading(step, None, {"loss": 1.0 / (step + 1)}, exponents=(float(step),), file=file).record())
        os.write(told, b"%d\\n" % step)
        step += 1


for _ in range(kills):
    heard, told = os.pipe()
    writer = os.fork()
    if writer == 0:
        write(told)
    os.close(told)
    time.sleep(draw.uniform(0.0, 0.04))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    said = os.fdopen(heard, "rb").read().split()
    if os.path.exists(os.path.join(directory, "history.jsonl")):
        readings = Run.load(directory).readings
        assert [kept.step for kept in readings] == list(range(len(readings))), readings
        assert not said or len(readings) - 1 in (int(said[-1]), int(said[-1]) + 1), (said, len(readings))
        for latest in readings[-1:]:
            assert latest.exponents == (float(latest.step),)
            assert lyapunov.Spectrum.load(os.path.join(directory, latest.file)).is_full
print(len(Run.load(directory).readings), sum(line.startswith('{"kind": "run"') for line in open(directory + "/history.jsonl")))
"""


def test_fifty_kills_lose_nothing_but_what_was_in_flight(tmp_path) -> None:
    """Whatever a writer said it had written is there, whole, and the next one goes on where it was killed."""
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "run"), str(KILLS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    readings, starts = map(int, done.stdout.split())
    assert starts > KILLS / 2
    run = Run.load(tmp_path / "run")
    assert len(run.readings) == len(run.spectra()) == readings > KILLS / 2  # a busy machine is slow to start
    with (run.directory / "history.jsonl").open("a") as file:
        file.write('{"kind": "reading", "step": ')
    write_report([Run.load(run.directory)], tmp_path / "report.html")
    assert f"{readings} readings" in (tmp_path / "report.html").read_text()


def test_a_record_that_fits_in_part_is_taken_back(tmp_path, monkeypatch) -> None:
    """A disk that fills up takes the first bytes of a record, and raises for the rest."""
    history = History(tmp_path)
    history.append({"kind": "run"})
    history.append(reading(0).record())
    whole = history.file.read_bytes()
    opened = Path.open

    class Filling:
        def __init__(self, file) -> None:
            self.file, self.room = file, 10

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            written, self.room = self.file.write(content[: self.room]), 0
            return written

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *args, **kwargs: Filling(opened(self, *args, **kwargs)))
        with pytest.raises(OSError, match="No space left"):
            history.append(reading(1).record())
    assert history.file.read_bytes() == whole
    history.append(reading(2).record())
    assert [one.step for one in Run.load(tmp_path).readings] == [0, 2]
