"""What `snapshot_runs.py` asks of lyapunov beside numbers: readings while training, runs on disk, commands, pages, figures."""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import lyapunov
from lyapunov.cli import main
from lyapunov.report import plots, series
from snapshot_calls import Values, of_json, of_spectrum, told

HISTORY = "history.jsonl"
VOLATILE = {"seconds": 0.5, "training_seconds": 9.5, "time": "2000-01-01T00:00:00+00:00"}
"""What differs from run to run in a history, and what it is replaced by."""

OPTIONS: dict[str, str] = {"--from-reset": "--from-initial-state"}
"""Options of the command line as it has them, by what the runs call them, where the two differ."""
SCHEDULES: dict[str, Callable[[], Any]] = {
    "steps": lambda: 3,
    "epochs": lambda: lyapunov.schedules.Epochs(2),
    "logarithmic": lambda: lyapunov.schedules.Logarithmic(4),
    "open": lambda: None,
}
PLOTS: dict[str, Callable[..., Any]] = {
    "spectrum": lambda ax, found: plots.spectrum(found, ax),
    "running estimates": lambda ax, found: plots.running_estimates(found, ax, lines=4),
    "by layer": lambda ax, found: plots.by_layer(found, ax),
    "largest exponents": lambda ax, runs: plots.largest_exponents(runs, ax),
    "mean exponents": lambda ax, runs: plots.mean_exponents(runs, ax),
    "layers": lambda ax, run: plots.layers(run, ax),
    "losses": lambda ax, runs: plots.losses(runs, ax),
    "map of leading exponents": lambda ax, run: plots.spectrum_map(series.leading(run), ax),
    "map of whole spectra": lambda ax, run: plots.spectrum_map(series.whole(run.spectra()), ax),
    "spectra by step": lambda ax, run: plots.spectra_by_step(series.leading(run), ax),
    "distances": lambda ax, runs: plots.distances(runs, ax),
    "distances, mean": lambda ax, runs: plots.distances(runs, ax, measure="mean"),
    "association": lambda ax, runs: plots.association(_associated(runs), ax, label="largest exponent"),
    "decay of gradients": lambda ax, measured, predicted: plots.gradient_decay(
        ax, measured=measured, predicted=predicted, exponents={"full": -0.3}
    ),
    "participation": lambda ax, vectors: plots.participation(vectors, ax),
    "under text": lambda ax, local, text: plots.under_text(local, text, ax, lines=2, width=30),
}


def _associated(runs: Sequence[lyapunov.Run]) -> series.Association:
    """Of the largest exponent with the loss."""
    found = series.association(runs, lambda reading: reading.max)
    assert found is not None
    return found


def _made(system: Any, inputs: Any, **given: Any) -> lyapunov.Monitor:
    words = told(given)
    asked, run = ({each.name for each in fields(one)} for one in (lyapunov.Problem, lyapunov.RunOptions))
    problem = lyapunov.problem(system, inputs, **{name: words.pop(name) for name in asked & words.keys()})
    options = lyapunov.RunOptions(**{name: words.pop(name) for name in run & words.keys()})
    return lyapunov.Monitor(problem, options=options, **words)


def monitor(system: Any, inputs: Any, **given: Any) -> lyapunov.Monitor:
    """One that looks when it is told to."""
    return _made(system, inputs, **given)


def read(monitor: lyapunov.Monitor, step: int, *, whole: bool = False, **losses: float) -> Values:
    """A reading, whatever the schedule says."""
    return _of_reading(monitor.read(step, epoch=step // 2, whole=whole, **losses))


def observe(monitor: lyapunov.Monitor, step: int, **losses: float) -> Values | None:
    """A reading, where one is due."""
    found = monitor.observe(step, epoch=step // 2, **losses)
    return None if found is None else _of_reading(found)


def _of_reading(found: lyapunov.Reading) -> Values:
    """All that it says, with its spectrum."""
    values = {
        "exponents": found.exponents,
        "standard errors": found.standard_errors,
        "interval": found.max_interval,
        "mean": (found.mean, found.mean_error),
        "moved": (found.drift, found.warm_start_error),
        "saturated": found.saturated,
        "losses": dict(found.losses),
        "verdict": (found.verdict, found.kinds, found.standing),
        "counted": (found.counted, found.taken),
        "alarms": [tuple(alarm) for alarm in found.alarms],
        "memory": (found.memory, tuple(found.timescale)),
        "failure": found.failure,
        "in words": str(found),
        "numbers": of_json({name: value for name, value in found.numbers().items() if "seconds" not in name}),
    }
    return values if found.spectrum is None else values | {"spectrum": of_spectrum(found.spectrum)}


def continued(monitor: lyapunov.Monitor, system: Any, inputs: Any, **given: Any) -> lyapunov.Monitor:
    """Another process, which goes on where this one is."""
    again = _made(system, inputs, **given)
    again.load_state_dict(monitor.state_dict())
    return again


def history(folder: str) -> lyapunov.Run:
    """A run as it is on disk, with times that are always the same."""
    file = Path(folder) / HISTORY
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    masked = [line | {name: value for name, value in VOLATILE.items() if name in line} for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in masked))
    return lyapunov.Run.load(folder)


def of_history(run: lyapunov.Run) -> Values:
    """Its table, its lines, and what was kept of each look."""
    lines = [json.loads(line) for line in (run.directory / HISTORY).read_text().splitlines()]
    kept = {f"spectrum at {step}": of_spectrum(found) for step, found in run.spectra().items()}
    return {"lines": [of_json(line) for line in lines], "table": run.to_pandas().to_csv(), "name": run.name} | kept


def checkpoint(weights: str, inputs: str, *options: str) -> Values:
    """`lyapunov spectrum`, with options as the command line has them now."""
    return _command("spectrum", weights, "--inputs", inputs, *(OPTIONS.get(option, option) for option in options))


def watch(run: lyapunov.Run) -> Values:
    """`lyapunov watch`."""
    return _command("watch", str(run.directory), "--once")


def _command(*arguments: str) -> Values:
    """What the command line prints, and the status that it ends with."""
    said, status = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(list(arguments))
        except SystemExit as ended:
            status = ended.code
    return {"said": said.getvalue(), "status": status}


def report(runs: Sequence[lyapunov.Run], pictures: str | None = None) -> Values:
    """The page about runs: all of it, its numbers and its words; and its figures as files, where a folder is named."""
    folders = [str(run.directory) for run in runs]
    said = _command("report", *folders, "-o", "report.html", *(["--figures", pictures] if pictures else []))
    page = Path("report.html").read_text()
    numbers = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    words = re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL))
    files = sorted(Path(pictures).iterdir()) if pictures else []
    return {
        "page": _hash(page.encode()),
        "numbers": numbers and of_json(json.loads(numbers[1])),
        "words": " ".join(words.split()),
        "figures": {file.name: drawn(str(file)) for file in files},
        **said,
    }


def kept(file: str) -> Values:
    """A spectrum from its file."""
    return of_spectrum(lyapunov.Spectrum.load(file))


def drawn(file: str) -> str:
    """A picture in a file, as a hash."""
    return _hash(Path(file).read_bytes())


def demo(run: lyapunov.Run) -> Values:
    """The figure of the demo."""
    plots.save_demo_figure(run, Path("demo.png"))
    return {"pixels": drawn("demo.png")}


def figure(name: str, *shown: Any) -> Values:
    """One figure, as a hash of its pixels, and the words in it."""
    picture = Figure(figsize=(6, 4), dpi=80)
    canvas = FigureCanvasAgg(picture)
    PLOTS[name](picture.subplots(), *shown)
    canvas.draw()
    words = "; ".join(text for found in picture.findobj(Text) if (text := found.get_text()))
    return {"pixels": _hash(bytes(canvas.buffer_rgba())), "words": words}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
