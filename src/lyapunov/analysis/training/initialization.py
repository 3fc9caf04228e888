"""Weights scaled, before training, until the largest exponent of the driven network is what is wanted: `lyapunov.init`."""

import copy
import dataclasses
import math
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov._shapes import State
from lyapunov._shown import Parts
from lyapunov.errors import Diverged, InvalidInput, LyapunovWarning, Unsupported
from lyapunov.estimate import Spectrum, spectrum
from lyapunov.intake import CELLS, LAYERS, kind_of, known_kind, problem
from lyapunov.systems import ModuleLayer

__all__ = ["AdjustedSpectrum", "critical_scale", "to_exponent_"]

LOOKS = 40
"""Spectra that are taken at the most."""
NEAR = 1e-4
"""Nats per step: nearer than that is not asked for, however small the error."""
FURTHEST, LONGEST, NARROWEST = 8.0, 2.0, 1e-9
"""In the logarithm of a factor, or in a bias: where the search ends, its first stride at most, what is left without a crossing.

A gate of bias 8 keeps 0.9997 of a state: beyond that exponents come near zero because nothing gets in any more.
"""
_SCAN = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 5.0, FURTHEST, -0.5, -1.0, -2.0, -4.0, -FURTHEST)
"""Where reach is looked for, as far from the critical factor, or from the biases as they are."""


@dataclass(frozen=True, eq=False, repr=False)
class AdjustedSpectrum(Spectrum):
    """The spectrum that a layer has now, and what was done to its weights. It is a `Spectrum` with two attributes more.

    Attributes:
        factors: for each layer what its recurrent weights were multiplied by.
        shifts: for each layer what was added to the biases of its gates.

    Example:
        >>> lyapunov.init.to_exponent_(torch.nn.RNN(2, 6), torch.randn(150, 6, 2), largest=-0.5).factor > 0
        True
    """

    factors: tuple[float, ...] = ()
    shifts: tuple[float, ...] = ()

    @property
    def factor(self) -> float:
        """The one factor of all layers; raises InvalidInput where each has its own."""
        return _only(self.factors, "factor")

    @property
    def shift(self) -> float:
        """The one shift of all layers; raises InvalidInput where each has its own."""
        return _only(self.shifts, "shift")

    def _parts(self) -> Parts:
        done = {"weights": self.factors, "gates": self.shifts}["gates" if any(self.shifts) else "weights"]
        shown = ", ".join(f"{value:.4g}" for value in dict.fromkeys(done))
        what = f"gate biases + {shown}" if any(self.shifts) else f"recurrent weights x {shown}"
        parts = super()._parts()
        return parts._replace(above=[*parts.above, what])


def _only(values: tuple[float, ...], name: str) -> float:
    if len(set(values)) != 1:
        raise InvalidInput(f"Expected one {name} of all layers, got {len(values)} that differ. Read `{name}s`, one per layer.")
    return values[0]


def to_exponent_(
    module: object,
    inputs: object = None,
    *,
    largest: float = 0.0,
    by: Literal["weights", "gates"] = "weights",
    each: bool = False,
    progress: bool | None = None,
    **along: Any,
) -> AdjustedSpectrum:
    """Bring a layer's or cell's largest exponent to a target on these inputs, in place.

    It starts near the factor at which the network would turn unstable without inputs (`critical_scale`), and measures until the
    exponent is within one standard error of the target, or within 1e-4 nats per step where that is more.

    Args:
        module: the layer or cell.
        inputs: as for `lyapunov.spectrum`.
        largest: the target, nats per step.
        by: "weights" multiplies all recurrent weights (weight_hh of every layer) by one factor; "gates" adds one number to the
            biases of all forget gates (LSTM) or update gates (GRU), so that states last longer without more feedback.
        each: whether the largest exponent of every layer of a stack is brought there, by a factor or number of its own, from
            the bottom up. The spectrum that comes back is that of the whole stack.
        progress: a bar (None: on a terminal, after two seconds).
        along: further arguments of `lyapunov.spectrum`: k, state, settle, align, linearization, seed, ...

    Returns:
        The `AdjustedSpectrum` that the module has then, with what was done: `factors` (`factor`, where there is one) or
        `shifts`.

    Raises:
        InvalidInput, Unsupported: where the target is not reached, with what is reachable; weights are then as they were.

    Example:
        >>> rnn = torch.nn.RNN(2, 6, batch_first=True)
        >>> found = lyapunov.init.to_exponent_(rnn, torch.randn(6, 150, 2), largest=-0.5)
        >>> abs(found.max + 0.5) < 0.1
        True
    """
    module, inputs, rest = problem(module, inputs).parts()
    module, along = _require_layer(module), rest | along
    _checks.one_of(by, ("weights", "gates"), "by")
    target = _checks.finite_number(largest, "largest")
    if not _checks.flag(each, "each") or not isinstance(module, nn.RNNBase) or module.num_layers == 1:
        found, at = _brought(module, inputs, target, by, progress, along)
        return _adjusted(found, by, [at] * getattr(module, "num_layers", 1))
    with _restored_on_failure(list(module.parameters())):
        done = []
        for layer, driven, state in _layers(module, inputs, along.get("state")):
            own = {**along, "k": 1} | ({} if state is None else {"state": state})
            done.append(_brought(layer, driven, target, by, progress, own)[1])
        found = _measured(module, inputs, {"k": None, **along})
    return _adjusted(found, by, done)


def _brought(
    module: nn.Module, inputs: object, target: float, by: str, progress: bool | None, along: dict[str, object]
) -> tuple[Spectrum, float]:
    """One layer, or all layers by one number: the spectrum, and the logarithm of the factor, or the shift."""
    if by == "weights":
        moved, change = _moved(module, "weight_hh"), _scaled
        centre = math.log(critical_scale(module))
        first = centre + min(target, LONGEST)
    else:
        moved, change = _moved(module, "bias_ih"), partial(_shifted, kind=known_kind(type(module)).system)
        first = centre = 0.0
    along = dict(along)
    check = along.pop("check", True)
    with _restored_on_failure(moved) as before, progress_bar("To the exponent", LOOKS, enabled=progress) as advance:

        def measure(at: float) -> Spectrum | None:
            for weight, old in zip(moved, before, strict=True):
                with torch.no_grad():
                    weight.copy_(change(old, at))
            return _leading(module, inputs, {**along, "check": check and at == first})

        return _Search(measure, target, advance, by).found(first, centre, f"{by}, {type(module).__name__}")


def _adjusted(found: Spectrum, by: str, done: list[float]) -> AdjustedSpectrum:
    own = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    scaled = by == "weights"
    factors = tuple(math.exp(at) if scaled else 1.0 for at in done)
    return AdjustedSpectrum(**own, factors=factors, shifts=tuple(0.0 if scaled else at for at in done))


def _layers(module: nn.RNNBase, inputs: State, state: State) -> Iterator[tuple[nn.Module, State, State]]:
    """Each layer of a stack by itself around the stack's own parameters, with what the layers below hand to it by then."""
    if module.bidirectional:
        raise Unsupported(
            "Expected a one-directional stack with each=True, got bidirectional=True. Adjust the layers by themselves."
        )
    size, driven = module.input_size, inputs
    for at in range(module.num_layers):
        options: dict[str, object] = {"bias": module.bias, "batch_first": module.batch_first}
        options |= {name: getattr(module, name) for name in known_kind(type(module)).system.options}
        layer = partial(kind_of(module), size, module.hidden_size, device="meta")(**options)
        for name in [name for name, _ in layer.named_parameters()]:
            setattr(layer, name, getattr(module, name.replace("_l0", f"_l{at}")))
        parts = state if isinstance(state, tuple | list) else (state,)
        own = None if state is None else tuple(part[at : at + 1] for part in parts)
        start = own if own is None or isinstance(state, tuple | list) else own[0]
        yield layer.train(module.training), driven, start
        with torch.no_grad():
            driven = copy.deepcopy(layer).double().eval()(*_doubled(driven, start))[0]
        size = module.proj_size or module.hidden_size


def _doubled(driven: Tensor, state: State) -> tuple[Tensor, State]:
    """In float64, as exponents are computed."""
    if state is None:
        return driven.double(), None
    return driven.double(), tuple(part.double() for part in state) if isinstance(state, tuple) else state.double()


def critical_scale(module: object) -> float:
    """The factor on the recurrent weights at which zero turns unstable without inputs, for the least stable layer.

    There ln |keep + gain scale mu_j| = 0 for an eigenvalue mu_j of W (RNN: keep 0, gain 1), U_n (GRU: z, (1 - z) r) or U_g
    (LSTM: f, i o), with gates at the mean of their biases: exact where each gate has one bias and candidates have none, else
    where to start, as with relu, which has no derivative at zero. Layers with a projection count as critical as they are.

    Args:
        module: a layer or cell.

    Example:
        >>> lyapunov.init.critical_scale(torch.nn.RNN(2, 6)) > 0
        True

    References:
        docs/theory.md, fixed points of gated networks.
    """
    module = _require_layer(module)
    kind, scales = known_kind(type(module)).system, []
    names = [name.removeprefix("weight_hh") for name, _ in module.named_parameters() if name.startswith("weight_hh")]
    for suffix in names:
        weight = getattr(module, f"weight_hh{suffix}").detach().double().cpu()
        rows = weight.chunk(kind.gates)[kind.candidate]
        biases = [getattr(module, f"bias_{of}{suffix}").detach().double().cpu() for of in ("ih", "hh") if module.bias]
        total = sum(biases, torch.zeros(1, dtype=torch.float64).expand(len(weight)))
        keep, gain = kind.at_zero([float(one.mean().sigmoid()) for one in total.chunk(kind.gates)])
        if rows.shape[0] == rows.shape[1]:
            scales.append(_critical(torch.linalg.eigvals(rows), keep, gain))
    return min((scale for scale in scales if scale > 0), default=1.0)


def _require_layer(module: object) -> nn.RNNBase | nn.RNNCellBase:
    if not isinstance(module, (*LAYERS, *CELLS)):
        raise Unsupported(
            f"Expected one of PyTorch's recurrent layers or cells, got {type(module).__name__}. Of a larger model pass the "
            "core and what it receives: captured = lyapunov.capture(model, batch), then captured.module and captured.inputs."
        )
    return module


def _critical(eigenvalues: Tensor, keep: float, gain: float) -> float:
    """The least s with |keep + gain s mu| = 1 for one of them; 0 where there is none."""
    size, real = eigenvalues.abs(), eigenvalues.real
    roots = ((keep * real).square() + (1 - keep**2) * size.square()).sqrt() - keep * real
    found = (roots / (gain * size.square()))[size > 0]
    return float(found.min()) if len(found) else 0.0


class _Search:
    """The place where the largest exponent meets the target: strides until two places enclose it, then between them."""

    def __init__(
        self, measure: Callable[[float], Spectrum | None], target: float, advance: Callable[[int], None], by: str
    ) -> None:
        self._measure, self._target, self._advance, self._by = measure, target, advance, by
        self._met: Spectrum | None = None
        self._seen: list[tuple[float, float]] = []

    def found(self, first: float, centre: float, what: str) -> tuple[Spectrum, float]:
        """Find the place, beginning with the strides at `first`: the exponents there, and where; `what` goes into the error.

        Where strides find no place on one side, so far from `centre` as FURTHEST is looked: strides of a target out of reach
        begin far away, and an exponent rises and falls with the weights.
        """
        low, high = self._enclosed(first)
        if self._met is None and not (low and high):
            low, high = self._scanned(centre)
        while self._met is None and low and high and len(self._seen) < LOOKS and high[0] - low[0] > NARROWEST:
            between = (low[0] + high[0]) / 2
            if math.isfinite(low[1]) and math.isfinite(high[1]) and len(self._seen) % 3:  # every third time the middle
                between = low[0] - low[1] * (high[0] - low[0]) / (high[1] - low[1])
            gap = self._gap(between)
            low, high = (low, (between, gap)) if gap > 0 else ((between, gap), high)
        if self._met is not None:
            return self._met, self._seen[-1][0]
        raise InvalidInput(
            f"Expected a largest exponent that can be brought to {self._target:g} by the {what}, got {self._shown()}. "
            "Choose a target between them, other inputs, or the other of by='weights' and by='gates'."
        )

    def _enclosed(self, first: float) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """A place below and one above the target, by strides of twice the length each; None where there is none."""
        low = high = None
        at, stride = first, None
        while self._met is None and not (low and high) and abs(at - first) <= FURTHEST:
            gap = self._gap(at)
            low, high = (low, (at, gap)) if gap > 0 else ((at, gap), high)
            stride = min(max(abs(gap), 0.1), LONGEST) if stride is None else 2 * stride
            at += -stride if gap > 0 else stride
        return low, high

    def _scanned(self, centre: float) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """Two neighbours between which the exponent rises past the target, of places all over what is searched."""
        for off in _SCAN:
            if self._met is None:
                self._gap(centre + off)
        for low, high in pairwise(sorted(self._seen)):
            if low[1] <= 0 < high[1]:
                return low, high
        return None, None

    def _gap(self, at: float) -> float:
        """Exponent less target; infinite where the states run away."""
        spectrum = self._measure(at)
        gap = math.inf if spectrum is None else spectrum.max - self._target
        error = math.nan if spectrum is None else float(spectrum.standard_errors[0])
        if abs(gap) <= (max(error, NEAR) if math.isfinite(error) else NEAR):
            self._met = spectrum
        self._seen.append((at, gap))
        self._advance(len(self._seen))
        return gap

    def _shown(self) -> str:
        """What was reached, and by what."""
        finite = [(gap + self._target, at) for at, gap in self._seen if math.isfinite(gap)]
        count = f"in {len(self._seen)} measurements"
        if not finite:
            return f"states that run away, or no finite exponent, {count}"
        (low, left), (high, right) = min(finite), max(finite)
        beyond = {gap for _, gap in self._seen if not math.isfinite(gap)}
        away = "; beyond, states run away" * (math.inf in beyond) + "; also -inf if no state is passed on" * (
            -math.inf in beyond
        )
        reached = f"which is what is reachable here: with {self._done(left)} and with {self._done(right)}{away}"
        return f"from {low:.4f} to {high:.4f} {count}, {reached}"

    def _done(self, at: float) -> str:
        return f"weights x {math.exp(at):.3g}" if self._by == "weights" else f"gates {at:+.3g}"


def _leading(module: nn.Module, inputs: object, along: dict[str, object]) -> Spectrum | None:
    """None where the states run away."""
    with suppress(Diverged):
        return _measured(module, inputs, {"k": 1, **along})
    return None


def _measured(module: nn.Module, inputs: object, along: dict[str, Any]) -> Spectrum:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LyapunovWarning)  # what is not settled is said by the result's verdict
        return spectrum(module, inputs, **(dict[str, Any](progress=False) | along))


def _moved(module: nn.Module, prefix: str) -> list[nn.Parameter]:
    """The parameters to be moved, which must be plain ones."""
    if prefix == "bias_ih" and known_kind(type(module)).system.keeping is None:
        name = kind_of(module).__name__.removesuffix("Cell")
        raise Unsupported(
            f"Expected a layer with a gate that keeps its state, got an {name}, which has no gates. Use by='weights'."
        )
    found = [weight for name, weight in module.named_parameters(recurse=False) if name.startswith(prefix)]
    if not found:
        raise Unsupported(
            f"Expected a {type(module).__name__} with plain parameters {prefix}_..., got none: it has no biases, or they are "
            "parametrized. Move what is there yourself, and measure with lyapunov.spectrum."
        )
    return found


def _scaled(old: Tensor, at: float) -> Tensor:
    """All of it times e^at."""
    return old * math.exp(at)


def _shifted(old: Tensor, at: float, kind: type[ModuleLayer]) -> Tensor:
    """Biases, those of the gate that keeps the old plus `at`."""
    parts, keeping = list(old.chunk(kind.gates)), kind.keeping or 0
    parts[keeping] = parts[keeping] + at
    return torch.cat(parts)


@contextmanager
def _restored_on_failure(weights: list[nn.Parameter]) -> Generator[list[Tensor], None, None]:
    before = [weight.detach().clone() for weight in weights]
    try:
        yield before
    except BaseException:
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
        raise
