"""Fig. 6: spectra for several intervals between orthonormalisations (T_ons), with the floor that rounding sets drawn in.

Exponents below lambda_1 + ln(u) / T_ons are lost. Two claims are measured: that an interval of T_ons saves a factor of about
T_ons, and that it leaves the first exponents alone.
"""

import math
import time
import warnings

import torch

import lyapunov
from experiments.figures.outputs import Outcome, command, panels
from experiments.figures.regimes import network
from experiments.sweeps.presets import Preset

INTERVALS = (1, 2, 5, 10, 20, 50)


def make(preset: Preset) -> Outcome:
    """A driven vanilla RNN whose spectrum is wide."""
    size, steps, batch = {"tiny": (40, 200, 4), "small": (128, 300, 10), "paper": (512, 300, 10)}[preset]
    module = network(size, 3.0)
    inputs = torch.randn(batch, steps, size, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    figure, axes = panels(2, 4.0)
    rows, seconds, exponents = [], {}, {}
    for interval in INTERVALS:
        seconds[interval], spectrum = _timed(module, inputs, interval)
        exponents[interval] = spectrum.exponents
        floor = spectrum.max + math.log(2**-53) / interval
        (line,) = axes[0].plot(range(1, size + 1), spectrum.exponents, label=f"every {interval}")
        if float(exponents[INTERVALS[0]][-1]) < floor:
            axes[0].axhline(floor, color=line.get_color(), linestyle=":", linewidth=0.8)
        rows += [
            {"interval": interval, "index": at + 1, "exponent": float(value), "floor": floor, "seconds": seconds[interval]}
            for at, value in enumerate(spectrum.exponents)
        ]
    axes[0].set_xlabel("index")
    axes[0].set_ylabel("Lyapunov exponent (nats per step)")
    axes[0].set_title("Dotted: the floor law")
    axes[0].legend(frameon=False, fontsize="small", title="QR")
    axes[1].loglog(INTERVALS, [seconds[1] / seconds[one] for one in INTERVALS], marker="o", label="measured")
    axes[1].loglog(INTERVALS, INTERVALS, color="0.5", linestyle="--", label="a factor of T_ons")
    axes[1].set_xlabel("steps between orthonormalisations")
    axes[1].set_ylabel("times faster than at every step")
    axes[1].legend(frameon=False)
    last = INTERVALS[-1]
    apart = max(float((exponents[one][:10] - exponents[1][:10]).abs().max()) for one in INTERVALS)
    ours = (
        f"T_ons = 10 takes {seconds[10] / seconds[1]:.2f} of the time that T_ons = 1 takes, {last} takes "
        f"{seconds[last] / seconds[1]:.2f}; the first ten exponents move by {apart:.1g} at most"
    )
    return Outcome(rows, figure, ours, "saves a factor of about T_ons; the first exponents stay")


def _timed(module: torch.nn.RNN, inputs: torch.Tensor, interval: int) -> tuple[float, lyapunov.Spectrum]:
    """The quicker of two runs."""
    found = []
    for _ in range(2):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lyapunov.LyapunovWarning)  # what lies below the floor is what is shown
            spectrum = lyapunov.spectrum(module, inputs, settle=50, align=50, qr_every=interval, check=False, progress=False)
        found.append((time.perf_counter() - start, spectrum))
    return min(found, key=lambda one: one[0])


if __name__ == "__main__":
    command("fig6", "Fig. 6", make, __doc__)
