"""g2p-en: the sounds of a written word. A GRU in NumPy reads the letters, with the weights in the wheel."""

import contextlib
import io
from typing import Any

import numpy as np
import torch

import lyapunov
from _dense import Dense, gru_step, run
from published._inputs import TEXT

PACKAGE, K = "g2p-en", 4
WHAT = "GRU encoder in NumPy, trained weights, along letters"
HOW = "`nn.GRUCell` with its weights"
REMEDY = "Done: its four arrays are those of `nn.GRUCell`, in the same order, so the cell is made of them."


def prepared() -> tuple[Any, ...]:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        from g2p_en import G2p

    model = G2p.__new__(G2p)  # its constructor fetches dictionaries that the network does not need
    model.graphemes = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
    model.g2idx = {letter: at for at, letter in enumerate(model.graphemes)}
    model.load_variables()
    letters = TEXT.replace(" ", "") * 2
    words = [letters[at : at + 119] for at in (0, 119)]
    return model, np.concatenate([model.encode(word) for word in words])


def refused(model: Any, letters: np.ndarray) -> None:
    weights = model.enc_w_ih, model.enc_w_hh, model.enc_b_ih, model.enc_b_hh
    lyapunov.spectrum(lambda h, x: model.grucell(x, h, *weights), letters, state=np.zeros((2, 256)))


def handed_over(model: Any, letters: np.ndarray, **settings: Any) -> lyapunov.Spectrum:
    cell = torch.nn.GRUCell(256, 256)
    for name, value in cell.named_parameters():
        value.data = torch.from_numpy(model.variables[name.replace("weight", "enc_w").replace("bias", "enc_b")])
    return lyapunov.spectrum(cell, letters, **settings)


def reference(model: Any, letters: np.ndarray) -> list[Dense]:
    arrays = [torch.from_numpy(getattr(model, f"enc_{name}")) for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    step, inputs = gru_step(*arrays), torch.from_numpy(letters).double()
    start = torch.zeros(len(letters), 256)
    end = run(step, start[0].double(), inputs[0])[-1]
    own = model.gru(letters[:1], 120, model.enc_w_ih, model.enc_w_hh, model.enc_b_ih, model.enc_b_hh)[0, -1]
    np.testing.assert_allclose(own, end.numpy(), atol=1e-4)  # where the package's own NumPy ends
    return [Dense(step, start, list(inputs))]
