"""openunmix: separates music into its parts, with bidirectional LSTM layers in between."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense, lstm_step, run

PACKAGE, K = "openunmix", 4
WHAT = "`OpenUnmix`, 2 bidirectional LSTM layers, forward direction"
HOW = "`capture`, one direction"
REMEDY = "Done: a bidirectional layer is two maps, so a direction is named: `captured.core(direction='forward')`."


def prepared() -> tuple[Any, ...]:
    from openunmix.model import OpenUnmix

    model = OpenUnmix(nb_bins=65, nb_channels=1, hidden_size=32, nb_layers=2).eval()
    return model, torch.rand(2, 1, 65, 120) * torch.rand(2, 1, 1, 120)


def refused(model: Any, spectrogram: Tensor) -> None:
    lyapunov.spectrum(lyapunov.capture(model, spectrogram), k=K)


def handed_over(model: Any, spectrogram: Tensor, **settings: Any) -> lyapunov.Spectrum:
    captured = lyapunov.capture(model, spectrogram)
    return lyapunov.spectrum(captured.core(direction="forward"), **settings)


def reference(model: Any, spectrogram: Tensor) -> list[Dense]:
    seen: list[Tensor] = []
    handle = model.lstm.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    with torch.no_grad():
        model(spectrogram)
    handle.remove()
    parts, below = [], list(seen[0].transpose(0, 1).double())
    for layer in range(2):
        ahead, behind = (_step(model.lstm, f"_l{layer}{side}") for side in ("", "_reverse"))
        parts.append(Dense(ahead, torch.zeros(2, 32), below))
        start = torch.zeros(32, dtype=torch.float64)
        both = [(run(ahead, start, row), run(behind, start, row.flip(0)).flip(0)) for row in below]
        below = [torch.cat([one[:, :16], other[:, :16]], dim=1) for one, other in both]
    return parts


def _step(lstm: Any, suffix: str) -> Any:
    return lstm_step(*(getattr(lstm, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
