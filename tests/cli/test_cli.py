"""The command line: what it prints, what it leaves, how it fails."""

import importlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.cli import COMMANDS, main
from lyapunov.tasks import demo as demo_module
from runs import made
from tolerances import assert_same_text, same

GRU = seeded(nn.GRU, 3, 5, batch_first=True)
INPUTS = drawn(4, 80, 3, seed=97)


@pytest.fixture
def files(tmp_path):
    save_file({name: value.contiguous() for name, value in GRU.state_dict().items()}, tmp_path / "gru.safetensors")
    np.save(tmp_path / "inputs.npy", INPUTS.numpy())
    return tmp_path


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_spectrum_prints_the_table_of_the_library(files, capsys) -> None:
    assert run("spectrum", files / "gru.safetensors", "--inputs", files / "inputs.npy") == 0
    expected = re.sub(r"\b(settle|align)=", r"--\1 ", repr(lyapunov.spectrum(GRU, INPUTS)))  # the verdict, in options
    assert_same_text(capsys.readouterr().out, expected)


def test_spectrum_says_how_a_text_was_encoded(tmp_path, capsys) -> None:
    network = seeded(nn.GRU, 4, 5, batch_first=True)
    save_file(dict(network.state_dict()), tmp_path / "gru.safetensors")
    text = "abca" * 30 + "d" * 10
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "order.json").write_text('["d", "b", "a", "c"]')
    options = ["--inputs", tmp_path / "text.txt", "--sequences", 1, "--steps", 130, "--k", 1]
    for order, more in (("abcd", []), ("dbac", ["--vocabulary", tmp_path / "order.json"])):
        assert run("spectrum", tmp_path / "gru.safetensors", *options, *more) == 0
        said, _, printed = capsys.readouterr().out.partition("\n")
        inputs = torch.eye(4, dtype=torch.float64)[torch.tensor([[order.index(symbol) for symbol in text]])]
        assert_same_text(printed, repr(lyapunov.spectrum(network, inputs, k=1)))
        assert said.startswith(f"text.txt: 4 symbols, in {'the order of order.json' if more else 'sorted order'}: ")
    assert run("spectrum", tmp_path / "gru.safetensors", *options, "--vocabulary", "first-appearance", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["encoding"] == captured.err.strip()
    assert "in the order of first appearance in this text: 'a' 'b' 'c' 'd'" in captured.err


@pytest.mark.parametrize("chosen", [{"align": 1}, {"settle": 1, "align": 20}], ids=["align", "settle"])
@pytest.mark.parametrize("kind", ["txt", "npy"])
def test_the_verdict_asks_in_options_of_the_command(chosen: dict[str, int], kind: str, tmp_path, capsys) -> None:
    network, text = seeded(nn.GRU, 4, 5, batch_first=True), ("abca" * 30 + "d" * 10) * 10
    save_file(dict(network.state_dict()), tmp_path / "gru.safetensors")
    (tmp_path / "inputs.txt").write_text(text)
    inputs = torch.eye(4, dtype=torch.float64)[torch.tensor(["abcd".index(symbol) for symbol in text])].reshape(10, 130, 4)
    np.save(tmp_path / "inputs.npy", inputs.numpy())
    options = [f"--{name}={value}" for name, value in chosen.items()]
    place = tmp_path / f"inputs.{kind}"
    assert run("spectrum", tmp_path / "gru.safetensors", "--inputs", place, "--k=2", "--steps=130", *options) == 0
    printed, verdict = capsys.readouterr().out, str(lyapunov.spectrum(network, inputs, k=2, **chosen).verdict)
    asked = re.search(r"(settle|align)=(\d+) with inputs of (\d+)( steps)?", verdict)
    assert asked is not None, verdict
    name, wanted, steps, _ = asked.groups()
    longer = f"--steps {steps}" if kind == "txt" else asked[0].partition(" with ")[2]
    assert f"--{name} {wanted} with {longer}" in printed
    assert f"{name}=" not in printed


def test_spectrum_prints_json_saves_and_draws(files, capsys) -> None:
    options = ["--k", 2, "--json", "--save", files / "s.safetensors", "--plot", files / "s.png"]
    assert run("spectrum", files / "gru.safetensors", "--inputs", files / "inputs.npy", *options) == 0
    found = json.loads(capsys.readouterr().out)
    expected = lyapunov.spectrum(GRU, INPUTS, k=2)
    assert same(found["exponents"], expected.exponents)
    assert (found["converged"], found["verdict"]) == (expected.verdict.converged, str(expected.verdict))
    assert lyapunov.Spectrum.load(files / "s.safetensors").exponents.tolist() == found["exponents"]
    assert (files / "s.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.pt", "--inputs", "inputs.npy"], "no such file"),
        (["gru.safetensors", "--inputs", "nowhere.npy"], "no such file"),
        (["gru.safetensors", "--inputs", "inputs.npy", "--k", "99"], "from 1 to 5"),
        (["gru.safetensors", "--inputs", "wide.npy"], "(batch, time, 3)"),
        (["malicious.pt", "--inputs", "inputs.npy"], "wants to run"),
        (["gru.safetensors", "--inputs", "inputs.npy", "--save", "missing/s.safetensors"], "missing"),
        (["gru.safetensors", "--inputs", "inputs.npy", "--plot", "missing/s.png"], "missing"),
        (["gru.safetensors", "--inputs", "inputs.npy", "--plot", "s.strange"], "s.strange"),
    ],
)
def test_failures_are_one_sentence_and_a_non_zero_exit(arguments, expected: str, files, monkeypatch, capsys) -> None:
    monkeypatch.chdir(files)
    np.save(files / "wide.npy", INPUTS.repeat(1, 1, 2).numpy())
    torch.save({"weight_ih_l0": Malicious()}, files / "malicious.pt")
    assert run("spectrum", *arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.startswith("lyapunov: Expected")
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""


class Malicious:
    def __reduce__(self):
        return (os.getcwd, ())


@pytest.mark.parametrize("command", [[], ["demo"], ["spectrum"], ["report"], ["watch"]])
def test_help_is_for_people(command: list[str], capsys) -> None:
    assert run(*command, "--help") == 0
    out = capsys.readouterr().out
    assert "Usage: lyapunov" in out
    assert len(out) > 300


def test_the_overview_says_what_each_command_says_of_itself(capsys) -> None:
    assert run("--help") == 0
    overview = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, about in COMMANDS.items():
        function = getattr(importlib.import_module(f"lyapunov.cli.{name}"), name)
        assert function.__doc__.splitlines()[0] == about
        assert about in overview


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 1000)
    return tmp_path / "text.txt"


def test_demo_leaves_everything_and_says_where(text, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(demo_module, "FULL_EPOCHS", ())
    monkeypatch.chdir(tmp_path)
    place, command = Path("runs") / "demo", ["demo", "--epochs", 1, "--hidden", 4, "--text", text]
    assert run(*command) == 0
    out = capsys.readouterr().out
    assert logging.getLogger("lyapunov").level == logging.NOTSET
    left = {file.name for file in place.iterdir()}
    assert left - {".lock"} == {"history.jsonl", "spectra", "checkpoint.safetensors", "held_out.txt", "figure.png"}
    assert f"In {place}: " in out
    assert len(list((place / "spectra").iterdir())) == 2
    kept = (place / "history.jsonl").read_bytes()
    assert run(*command, "--directory", place) == 2
    assert f"got {place}, which holds a run already" in " ".join(capsys.readouterr().err.split())
    assert run(*command) == 0
    assert "In runs/demo-2: " in capsys.readouterr().out
    assert (place / "history.jsonl").read_bytes() == kept
    following = ["--inputs", place / "held_out.txt", "--k", 2, "--steps", 60]
    assert run("spectrum", place / "checkpoint.safetensors", *following) == 0
    assert "2 of 8 exponents" in capsys.readouterr().out


def test_ctrl_c_ends_the_demo_cleanly_and_keeps_what_there_is(text, tmp_path) -> None:
    place = tmp_path / "demo"
    command = [sys.executable, "-c", "from lyapunov.cli import main; main()", "demo", "--epochs", "500", "--hidden", "4"]
    process = subprocess.Popen(
        [*command, "--text", str(text), "--directory", str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not (place / "history.jsonl").exists() or len((place / "history.jsonl").read_text().splitlines()) < 3:
        assert time.monotonic() < deadline, process.communicate(timeout=5)
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "is kept" in err
    assert "figure.png" in out
    assert (place / "figure.png").stat().st_size > 5000
    readings = lyapunov.Run.load(place).readings
    assert [reading.epoch for reading in readings] == list(range(len(readings)))
    assert len(list((place / "spectra").glob("*.safetensors"))) >= len(readings)


def test_a_place_that_cannot_be_written_is_one_sentence_too(text, capsys) -> None:
    assert run("demo", "--epochs", 1, "--hidden", 4, "--text", text, "--directory", text / "below") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("lyapunov: Expected to read and write files")
    assert "Traceback" not in captured.err


def test_ctrl_c_elsewhere_is_a_word_not_a_traceback(monkeypatch, capsys, files) -> None:
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lyapunov.estimate.spectrum", interrupted)
    assert run("spectrum", files / "gru.safetensors", "--inputs", files / "inputs.npy") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_report_writes_a_page_and_figures(tmp_path, capsys) -> None:
    for name in ("a", "b"):
        made(tmp_path / name, layers=1, readings=3)
    figures = ["--figures", tmp_path / "figures", "--format", "svg"]
    assert run("report", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "page.html", *figures) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'page.html'}: 6 readings of 2 runs" in out
    assert (tmp_path / "page.html").stat().st_size > 1_000_000
    files = {file.name for file in (tmp_path / "figures").iterdir()}
    assert {"largest.svg", "map-a.svg", "spectra-b.svg", "distances-mean.svg", "largest-against-loss.svg"} <= files
    assert all(name in out for name in files)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Expected the folder of a run, got none"),
        (["nowhere"], "with a history.jsonl in it, got nowhere"),
        (["a", "-o", "page.txt"], "to end in .html or .htm"),
        (["a", "-o", "missing/page.html"], "Make the folder missing first"),
    ],
)
def test_reports_that_cannot_be_made_are_one_sentence(arguments, expected: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "a", layers=1, readings=2)
    assert run("report", *arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_watch_once_shows_what_there_is(tmp_path, capsys) -> None:
    found = made(tmp_path / "a", layers=1, readings=3)
    assert run("watch", tmp_path / "a", "--once") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a: RNN (tanh)"
    assert [lines.index(line) for line in lines if line.startswith("step")] == [1], "the heads, once"
    assert "held-out loss" in lines[1]
    assert [line.split()[0] for line in lines if line.split()[0].isdigit()] == ["0", "10", "20"]
    assert f"{found.readings[2].max:.4f}" in next(line for line in lines if line.split()[0] == "20")
    assert run("watch", tmp_path / "b", "--once") == 2


def test_watch_follows_a_run_from_before_its_first_line(tmp_path) -> None:
    place = tmp_path / "later"
    command = [sys.executable, "-u", "-c", "from lyapunov.cli import main; main()", "watch", str(place), "--every", "0.05"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("Waiting for")
    made(place, layers=1, readings=3)
    lines = []
    while not lines or lines[-1].split()[0] != "20":
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert (process.returncode, rest, err) == (0, "", "")
    assert [line.split()[0] for line in lines if line.split()[0].isdigit()] == ["0", "10", "20"]
