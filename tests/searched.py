"""Functions that the tests search: workers import them."""

import os
import time
from pathlib import Path
from typing import Any

import torch

from lyapunov import Monitor
from lyapunov.tuning import trial_folder

FOLDER = "LYAPUNOV_TEST_FOLDER"


def bowl(trial: Any) -> float:
    """Leaves a file per run, with its process's number, while it runs and after; the third trial waits to be killed, once."""
    x = trial.suggest_float("x", -3.0, 3.0)
    folder = Path(os.environ[FOLDER])
    (folder / f"run-{trial.number}-{os.getpid()}").touch()
    if trial.number == 2:
        (folder / "victim.partial").write_text(str(os.getpid()))
        (folder / "victim.partial").rename(folder / "victim")
        time.sleep(60.0)
    time.sleep(0.1)
    for step in range(2):
        trial.report((x - 1) ** 2 + step, step)
    (folder / f"ended-{trial.number}").touch()
    return (x - 1) ** 2


def quick(trial: Any) -> float:
    x = trial.suggest_float("x", -3.0, 3.0)
    return (x - 1) ** 2


def watched(trial: Any) -> float:
    """Leaves its run."""
    x = trial.suggest_float("x", 0.1, 1.0)
    rnn = torch.nn.RNN(2, 4, batch_first=True)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(x)
    monitor = Monitor(rnn, torch.ones(2, 40, 2), k=2, directory=trial_folder(trial), name=f"trial {trial.number}")
    for step in range(2):
        monitor.read(step, loss=x - step / 10)
    return x


def slow(trial: Any) -> float:
    trial.suggest_float("x", 0.0, 1.0)
    time.sleep(60.0)
    return 0.0


def broken(trial: Any) -> float:
    raise ValueError(f"no data for {trial.suggest_float('x', 0.0, 1.0):.0f}")


def moody(trial: Any) -> float:
    """Fails every other time, and twice with NaN."""
    x = trial.suggest_float("x", 0.0, 1.0)
    if trial.number == 3:
        return float("nan")
    if trial.number % 2:
        raise RuntimeError("not today")
    return x if trial.number else float("nan")
