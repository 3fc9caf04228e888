"""The command `lyapunov spectrum`, which prints the exponents of a network in a checkpoint."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from lyapunov.cli import Loading


def spectrum(
    checkpoint: Path,
    /,
    *,
    inputs: Path,
    vocabulary: str | None = None,
    k: int | None = None,
    linearization: Literal["full", "hidden"] = "full",
    coupled: bool = False,
    core: str | None = None,
    nonlinearity: Literal["tanh", "relu"] | None = None,
    settle: int | None = None,
    align: int | None = None,
    from_initial_state: Annotated[bool, Parameter(negative=())] = False,
    qr_every: int | None = None,
    sequences: Annotated[int, Parameter(validator=Number(gte=1))] = 10,
    steps: Annotated[int, Parameter(validator=Number(gte=2))] = 300,
    seed: int = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    save: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Print the Lyapunov spectrum of the recurrent layer in a checkpoint, driven by the inputs of a file.

    Parameters
    ----------
    checkpoint
        .safetensors, .npz, or a torch.save file of tensors (nothing is unpickled) with PyTorch's names (weight_ih_l0, ...).
    inputs
        .npy, .npz or .safetensors of shape (batch, time, features) or (time, features), as the core receives them; of
        integers (batch, time), which go through the checkpoint's embedding; or a .txt, encoded symbol by symbol.
    vocabulary
        Of a .txt, how its symbols are numbered: sorted, first-appearance (in this text), or a file with the symbols in their
        order (JSON, one per line, or all in a row). Default: as the checkpoint says, else sorted. The order is printed.
    k
        How many leading exponents (default: all).
    linearization
        Of an LSTM: the full state (h, c), or the hidden state alone.
    coupled
        One frame over all layers instead of one each.
    core
        Which recurrent part, if the checkpoint has several.
    nonlinearity
        Of a vanilla RNN: its weights do not show it.
    settle
        Steps for the state to settle, not counted (default: until copies from different starts have come together).
    align
        Steps for the frame to align, not counted (default: until two random frames give the same exponents).
    from_initial_state
        Count from the initial state, without burn-in: finite-time exponents.
    qr_every
        Steps between orthonormalisations (default: as many as floating point allows).
    sequences
        Of a .txt: how many pieces.
    steps
        Of a .txt: how long each piece is.
    seed
        Of the random frames, one for each sequence.
    as_json
        Print JSON instead of the table.
    save
        Also keep the spectrum in this safetensors file.
    plot
        Also draw it to this file (.png, .svg, .pdf).
    """
    with Loading():
        from lyapunov import _checks, estimate
        from lyapunov.intake import core_inputs, load_checkpoint
        from lyapunov.report import plots

    if save is not None:
        _checks.writable(save, "save", (".safetensors",))
    if plot is not None:
        _checks.writable(plot, "plot", (".png", ".svg", ".pdf"))
    found = load_checkpoint(checkpoint, core=core, nonlinearity=nonlinearity)
    encoded = core_inputs(inputs, found, vocabulary=vocabulary, sequences=sequences, steps=steps)
    if encoded.about:
        print(encoded.about, file=sys.stderr if as_json else sys.stdout, flush=True)
    result = estimate.spectrum(
        found.module,
        encoded.values,
        k=k,
        linearization=linearization,
        coupled=coupled,
        settle=settle,
        align=align,
        from_initial_state=from_initial_state,
        qr_every=qr_every,
        seed=seed,
    )
    if save is not None:
        result.save(save)
    if plot is not None:
        plots.save_spectrum_figure(result, plot)
    encoding = {"encoding": encoded.about} if encoded.about else {}
    print(json.dumps(result.to_dict() | encoding, allow_nan=False) if as_json else _as_typed(str(result), inputs))


def _as_typed(printed: str, inputs: Path) -> str:
    """What the verdict asks for, in options of this command; arrays are as long as they are, a text as --steps says."""
    printed = re.sub(r"\b(settle|align)=(\d+)", r"--\1 \2", printed)
    return re.sub(r"\binputs of (\d+)( steps)?", r"--steps \1", printed) if inputs.suffix == ".txt" else printed
