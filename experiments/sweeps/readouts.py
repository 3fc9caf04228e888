"""What is read off a network after an epoch: exponents three ways, real gradients, and what each of them cost."""

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import lyapunov
from experiments.sweeps.presets import Sweep
from lyapunov.tasks import Learner

LEADING = 16
"""Exponents kept at every epoch."""
STARTS = 10
"""Starting times of gradients."""


def readouts(learner: Learner, sweep: Sweep, *, whole: bool) -> dict[str, Any]:
    """Numbers by name, and "spectra": all exponents by linearization; `whole`: of the full state, too, and so their variance.

    "full", "hidden": largest, mean and variance with errors, the LEADING exponents, seconds. "seen": from the readout, the
    growth of the leading singular values at the longest lag, the slope of the first, and the moments. "measured": the slope
    and reach of real loss gradients.
    """
    network: Any = copy.deepcopy(learner.network).double().eval()
    batch = learner.task.probe()
    inputs = learner.task.encoded(batch[0].to(learner.device)).double()
    along: dict[str, Any] = {"settle": sweep.settle, "align": sweep.align, "progress": False}
    k = None if whole else min(LEADING, 2 * network.core.hidden_size)
    found: dict[str, Any] = {}

    def timed(name: str, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        value = run()
        found[f"{name}_seconds"] = time.perf_counter() - start
        return value

    spectra = {
        "full": timed("full", lambda: lyapunov.spectrum(network.core, inputs, k=k, **along)),
        "hidden": timed("hidden", lambda: lyapunov.spectrum(network.core, inputs, linearization="hidden", **along)),
    }
    for name, spectrum in spectra.items():
        found |= _of_spectrum(name, spectrum)
    probed = {"lags": sweep.lags, "starts": STARTS, "settle": sweep.settle}
    seen = timed("seen", lambda: lyapunov.gradient_exponents(network.core, inputs, readout=network.readout, **probed))
    measured = timed(
        "measured", lambda: lyapunov.gradient_decay(network, learner.losses, batch, lags=sweep.lags[-1], starts=STARTS)
    )
    exponents = {name: spectrum.exponents.tolist() for name, spectrum in spectra.items() if spectrum.is_full}
    return {**found, **_of_seen(seen), **_of_measured(measured, sweep), "spectra": exponents}


def _of_spectrum(name: str, spectrum: lyapunov.Spectrum) -> dict[str, float]:
    leading = spectrum.exponents[:LEADING].tolist()
    return {
        f"{name}_max": spectrum.max,
        f"{name}_max_error": float(spectrum.standard_errors[0]),
        f"{name}_mean": _number(spectrum.mean),
        f"{name}_mean_error": _number(spectrum.mean_standard_error),
        f"{name}_variance": _number(spectrum.variance),
        f"{name}_variance_error": _number(spectrum.standard_error("variance")),
        **{f"{name}_{at:02d}": value for at, value in enumerate(leading, 1)},
    }


def _of_seen(seen: lyapunov.GradientExponents) -> dict[str, float]:
    slope = seen.slope()
    leading = seen.exponents[-1, :LEADING].tolist()
    return {
        "seen_max": leading[0],
        "seen_max_error": float(seen.standard_errors[-1, 0]),
        "seen_slope": slope.value,
        "seen_slope_error": slope.standard_error,
        "seen_mean_square": float(seen.mean_square[0]),
        "seen_variance": float(seen.variance[0]),
        "seen_condition": float(seen.condition[0]),
        **{f"seen_{at:02d}": value for at, value in enumerate(leading, 1)},
    }


def _of_measured(measured: lyapunov.GradientDecay, sweep: Sweep) -> dict[str, float]:
    try:
        slope = measured.slope(sweep.lags[0], sweep.lags[-1])
    except lyapunov.InvalidInput:  # gone below the smallest number there is
        return {"measured_slope": -math.inf, "measured_slope_error": math.nan, "reach": 0.0}
    return {"measured_slope": slope.value, "measured_slope_error": slope.standard_error, "reach": slope.e_folding_lag}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
