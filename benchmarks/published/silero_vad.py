"""silero-vad: voice activity detection. Its recurrent part is an LSTM cell inside a scripted model."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense, lstm_step, run
from published._inputs import sound

PACKAGE, K = "silero-vad", 4
WHAT = "LSTM cell of the 16 kHz detector, trained weights, along sound"
HOW = "`capture` of `audio_forward`"


def prepared() -> tuple[Any, ...]:
    from silero_vad import load_silero_vad

    return load_silero_vad(), sound(2, 300 * 512)


def handed_over(model: Any, waves: Tensor, **settings: Any) -> lyapunov.Spectrum:
    captured = lyapunov.capture(model.audio_forward, waves, 16000)
    return lyapunov.spectrum(captured, **settings)


def reference(model: Any, waves: Tensor) -> list[Dense]:
    cell, features = model._model.decoder.rnn, []
    model.reset_states()
    for at in range(300):
        context = waves[:, at * 512 - 64 : at * 512] if at else torch.zeros(2, 64)
        spectrogram = model._model.run_extractors(torch.cat([context, waves[:, at * 512 : (at + 1) * 512]], dim=1))
        features.append(model._model.encoder(spectrogram))
        model(waves[:, at * 512 : (at + 1) * 512], 16000)
    inputs = torch.stack(features)[..., 0].double()
    step = lstm_step(cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    start = torch.zeros(2, 256)
    ends = torch.stack([run(step, start[row].double(), inputs[:, row])[-1] for row in range(2)])
    torch.testing.assert_close(ends.float(), torch.cat(tuple(model._state), dim=1), rtol=1e-3, atol=1e-4)
    return [Dense(step, start, [inputs[:, row] for row in range(2)])]
