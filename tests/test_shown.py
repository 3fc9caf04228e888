"""Results in a notebook, and results as what they look like: a sequence of exponents."""

import dataclasses
import html
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.training import Alarm
from runs import made
from tolerances import assert_same_text

LSTM, INPUTS = seeded(nn.LSTM, 3, 4, batch_first=True, scale=1.0), drawn(4, 80, 3, seed=11)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = LSTM

    def forward(self, x):
        return self.lstm(x)[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, object]:
    spectrum = lyapunov.spectrum(LSTM, INPUTS, k=3)
    run = made(tmp_path_factory.mktemp("run"), layers=1, readings=2)
    gradients = lyapunov.gradient_exponents(LSTM, INPUTS, lags=(2, 4), starts=3)
    return {
        "spectrum": spectrum,
        "difference": spectrum - spectrum,
        "by layer": spectrum.by_layer(),
        "error budget": spectrum.error_budget,
        "verdict": spectrum.verdict,
        "settings": spectrum.settings,
        "timescale": spectrum.timescales[0],
        "plan": lyapunov.plan(spectrum, standard_error=0.01),
        "gradients": gradients,
        "slope": gradients.slope(),
        "decay": lyapunov.gradient_decay(
            Model().double(), lambda model, x: model(x).square().sum(-1), INPUTS, lags=4, starts=5
        ),
        "covariant": lyapunov.covariant_vectors(LSTM, INPUTS, k=2),
        "local": lyapunov.local_exponents(LSTM, INPUTS),
        "captured": lyapunov.capture(LSTM, INPUTS),
        "run": run,
        "reading": run.readings[-1],
        "alarm": Alarm("chaos", "0.3 < 1 & so on"),
    }


def test_every_result_has_an_html_form_that_says_what_print_says(results) -> None:
    for name, result in results.items():
        found = result._repr_html_()
        assert "<table>" in found or "<p>" in found, name
        assert not re.search(r"tensor\(|object at|Finding\(", found), name
        words = html.unescape(re.sub(r"<[^>]+>", " ", found)).split()
        if name not in ("error budget", "settings", "alarm"):
            assert [word for word in str(result).split() if word not in words] == [], name
    assert "0.3 &lt; 1 &amp; so on" in results["alarm"]._repr_html_()


def test_no_result_is_left_out() -> None:
    kinds = {kind for kind in map(lyapunov.__dict__.get, lyapunov.__all__) if isinstance(kind, type)}
    no_result = {lyapunov.System, lyapunov.Loop, lyapunov.ClosedLoop, lyapunov.Monitor, lyapunov.AlarmThresholds}
    no_result |= {lyapunov.Problem, lyapunov.RunOptions, lyapunov.QR, lyapunov.TimeMean} & kinds
    errors = {kind for kind in kinds if issubclass(kind, Exception)}
    assert all(hasattr(kind, "_repr_html_") for kind in kinds - no_result - errors)


def test_a_spectrum_is_a_sequence_of_exponents(results) -> None:
    for name in ("spectrum", "difference", "covariant"):
        result = results[name]
        values = result.exponents.tolist()
        assert (result[0], result[-1], list(result), len(result)) == (values[0], values[-1], values, len(values))
        assert isinstance(result[0], float)
        assert torch.equal(result[:2], result.exponents[:2])
        assert np.array_equal(np.asarray(result), result.exponents.numpy())
        assert np.asarray(result, dtype=np.float32).dtype == np.float32
        assert np.array(result) is not result.exponents.numpy()
        with pytest.raises(IndexError):
            result[len(values)]
    assert max(results["spectrum"]) == results["spectrum"].max
    copied = np.array(results["spectrum"])
    copied[0] = 7.0
    assert results["spectrum"][0] != 7.0


def test_a_verdict_reads(results) -> None:
    verdict = results["verdict"]
    assert repr(verdict) == str(verdict)
    short = lyapunov.spectrum(LSTM, INPUTS[:, :20], k=1, from_initial_state=True).verdict
    assert repr(short).startswith("finite-time: ")
    assert pickle.loads(pickle.dumps(short)) == short
    assert dataclasses.replace(short, findings=()) == lyapunov.Verdict()
    assert f"{[lyapunov.Verdict()]}" == "[converged]"


def test_printing_is_as_it_was(results) -> None:
    printed = repr(results["spectrum"]).split("\n\n")
    assert [len(block.splitlines()) for block in printed] == [2, 4, 2]
    assert_same_text(str(results["spectrum"]), repr(results["spectrum"]))


def test_results_on_memory_and_reach_are_shown_too() -> None:
    reach = lyapunov.input_reach(LSTM, INPUTS, lags=4, starts=5)
    step = next(iter(lyapunov.jacobians(LSTM, INPUTS)))
    for result in (reach, lyapunov.memory(LSTM, INPUTS), step, reach.lag_at(0.5)):
        assert re.search(r"<table>|<p>", result._repr_html_())
