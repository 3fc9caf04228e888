"""What `snapshot_runs.py` asks of lyapunov: each public function in one place, its results read into names of our own.

Where the library renames something, this file and `snapshot_shown.py` follow, and nothing else does: what stands before a colon
is the name in a record and stays; what stands behind it is the library's.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import lyapunov
from lyapunov.systems import GRU, LSTM, RNN, CoupledStack, Diagonal, Stack, diagonal, known

Values = dict[str, Any]
"""What a run found, by names of our own: tensors, numbers, texts, tuples, or such dictionaries again."""

PARAMETERS: dict[str, str] = {"from_reset": "from_initial_state", "limits": "thresholds", "horizon": "lags"}
"""Parameters as the library calls them, by what the runs call them, where the two differ."""
WORDS: dict[str, str] = {}
"""The same for values of parameters that are words."""
QUANTITIES = {
    "mean": "mean",
    "sum": "sum",
    "variance": "variance",
    "largest": "max",
    "smallest": "min",
    "dimension": "kaplan_yorke_dimension",
    "entropy rate": "entropy_rate",
}

SYSTEMS: dict[str, Callable[..., Any]] = {
    "RNN": RNN,
    "GRU": GRU,
    "LSTM": LSTM,
    "stack": lambda layers: Stack(layers),
    "coupled stack": lambda layers: CoupledStack(layers),
    "diagonal": Diagonal,
    "LRU": diagonal.lru,
    "minGRU": diagonal.min_gru,
    "minLSTM": diagonal.min_lstm,
    "gated linear attention": diagonal.gated_linear_attention,
    "selective state space": diagonal.selective,
}
KNOWN: dict[str, Callable[[], known.Known]] = {
    "logistic map": known.logistic,
    "Henon map": known.henon,
    "cat map": known.cat_map,
    "ring of doubling maps": known.bernoulli_ring,
    "Ikeda map": known.ikeda,
    "Lorenz flow": known.lorenz,
    "period-three product": known.period_three_product,
    "Gaussian products": known.gaussian_products,
    "random Fibonacci": known.random_fibonacci,
    "triangular products": known.triangular_products,
    "Gaussian tanh network": lambda: known.gaussian_tanh(size=10, gain=2.0, noise=0.3),
}


class Products(lyapunov.System):
    """A system of one's own: matrices that are given as inputs, with their determinants, which may be wrong by a factor."""

    name = "products"
    volume_cost = "linear"
    block_sizes = (4,)

    def __init__(self, wrong: float = 0.0) -> None:
        self.wrong = wrong

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        return like.new_ones(batch, 4)

    def step(self, state: Tensor, x: Any) -> Tensor:
        return (x @ state.unsqueeze(-1)).squeeze(-1)

    def push(self, state: Tensor, x: Any, frames: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.step(state, x), (x @ frames[0],)

    def log_volume(self, state: Tensor, x: Any) -> Tensor:
        return torch.stack([torch.linalg.slogdet(matrix).logabsdet for matrix in x]) + self.wrong


def spectrum(system: Any, inputs: Any = None, **given: Any) -> lyapunov.Spectrum:
    """The spectrum itself."""
    return lyapunov.spectrum(system, inputs, **told({"progress": False} | given))


def of_known(case: known.Known, steps: int, **given: Any) -> Values:
    """A map or product from the literature, with what it states of itself."""
    along = {"steps": steps} if case.draw_inputs is None else {"inputs": case.inputs(4, steps)}
    found = of_spectrum(spectrum(case.system, state=case.start(4), dt=case.dt, **along, **given))
    return found | {"known": case.exponents, "known to": case.precision}


def of_spectrum(found: lyapunov.Spectrum) -> Values:
    """All that a spectrum says."""
    budget, window = found.error_budget, found.rank_window
    return {
        "exponents": found.exponents,
        "standard errors": found.standard_errors,
        "error budget": {
            "sampling": budget.sampling,
            "burn-in": budget.burn_in,
            "alignment": budget.alignment,
            "rounding": budget.rounding,
            "total": budget.total,
            "systematic": budget.systematic,
        },
        "degrees of freedom": found.degrees,
        "intervals": {"95 %": found.interval(0.95), "50 %": found.interval(0.5)},
        "correlation times": found.correlation_times,
        "by sequence": found.per_sequence,
        "reliable": found.reliable,
        "lost": {"at": found.lost_at, "rank": found.rank, "window": None if window is None else tuple(window)},
        "growth": {"of exponents": found.history, "steps": found.history_steps, "running": found.running_estimates()},
        "volume": {"of all": found.volume_history, "steps": found.volume_steps, "residual": found.volume_residual},
        "independent": found.independent,
        "derived": {ours: getattr(found, theirs) for ours, theirs in QUANTITIES.items()},
        "errors of derived": {ours: found.standard_error(theirs) for ours, theirs in QUANTITIES.items()},
        "mean": {"error": found.mean_standard_error, "of": found.mean_count, "interval": found.mean_interval()},
        "memory": {"times": found.memory_times, "intervals": found.memory_intervals},
        "Lyapunov": {"times": found.lyapunov_times, "intervals": found.lyapunov_intervals},
        "timescales": "; ".join(map(str, found.timescales)),
        "bits": found.bits,
        "layer": found.layer,
        "by layer": {"text": repr(found.by_layer()), "HTML": found.by_layer()._repr_html_()},
        "settings": _of_settings(found.settings),
        "verdict": of_verdict(found.verdict),
        "table": {"text": repr(found), "HTML": found._repr_html_(), "columns": found.to_pandas().to_csv()},
        "JSON": of_json(found.to_dict()),
    }


def _of_settings(settings: lyapunov.Settings) -> Values:
    return {
        "system": settings.system,
        "size": settings.size,
        "k": settings.k,
        "sequences": settings.batch,
        "settle": settings.settle,
        "align": settings.align,
        "count": settings.count,
        "steps between": settings.qr_every,
        "dt": settings.dt,
        "precision": (settings.dtype, settings.source_dtype),
        "device": settings.device,
        "seed": settings.seed,
        "linearization": settings.linearization,
        "coupled": settings.coupled,
        "from reset": settings.from_initial_state,
        "inputs": settings.inputs,
        "left open": settings.chosen,
        "chunks": settings.chunks,
        "method": settings.method,
    }


def of_verdict(verdict: lyapunov.Verdict) -> Values:
    return {"in words": str(verdict), "kinds": verdict.kinds, "converged": verdict.converged}


def of_json(document: Any) -> Values:
    """Names and values apart: a name that is changed changes no number. JSON's numbers are exact."""
    names, leaves = zip(*_leaves(document, ""), strict=True)
    return {"names": " ".join(names), "values": json.dumps(leaves)}


def _leaves(document: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, document


def difference(one: lyapunov.Spectrum, other: lyapunov.Spectrum) -> Values:
    """`a - b`."""
    found = one - other
    return {
        "differences": found.exponents,
        "standard errors": found.standard_errors,
        "degrees of freedom": found.degrees,
        "interval": found.interval(0.95),
        "reliable": found.reliable,
        "mean": {"value": found.mean, "error": found.mean_standard_error},
        "verdict": of_verdict(found.verdict),
        "table": repr(found),
    }


def plan(pilot: lyapunov.Spectrum, **given: Any) -> Values:
    """What an error bar costs."""
    found = lyapunov.plan(pilot, **told(given))
    return {
        "sequences": found.sequences,
        "steps": (found.steps, found.settle, found.align, found.total),
        "standard error": found.standard_error,
        "variance": {"within": found.within, "between": found.between},
        "in words": str(found),
    }


def refused(call: Callable[[], Any]) -> Values:
    """What is said of a call that is refused, and of one that diverged what was counted before."""
    try:
        call()
    except lyapunov.LyapunovError as error:
        partial = getattr(error, "partial", None)
        kept = {} if partial is None else {"partial": of_spectrum(partial)}
        return {"message": str(error), "kind": type(error).__name__, "step": getattr(error, "step", None)} | kept
    return {"message": "not refused"}


def capture(model: Any, *args: Any, **kwargs: Any) -> lyapunov.Captured:
    """The cores of a model with what drives them."""
    return lyapunov.capture(model, *args, **kwargs)


def of_captured(captured: lyapunov.Captured, **given: Any) -> Values:
    """What was captured, in words, and its spectrum."""
    return {"captured": repr(captured)} | of_spectrum(spectrum(captured, **given))


def core(captured: lyapunov.Captured, name: str | None = None, direction: Any = None) -> lyapunov.Captured:
    """One of several."""
    return captured.core(name, direction=direction)


def gradient_exponents(system: Any, inputs: Any, **given: Any) -> lyapunov.GradientExponents:
    """As seen from a readout."""
    return lyapunov.gradient_exponents(system, inputs, **told({"progress": False} | given))


def of_gradient_exponents(found: lyapunov.GradientExponents) -> Values:
    """All that they say."""
    return {
        "exponents": found.exponents,
        "standard errors": found.standard_errors,
        "interval": found.interval(0.95),
        "singular values": found.log_singular,
        "readout": found.log_readout,
        "starts": (found.starts, found.weights),
        "moments": (found.mean_square, found.variance, found.condition),
        "reach": found.e_folding_lag,
        "slope": _slope(found),
        "transients": (found.settle, found.distance),
        "verdict": of_verdict(found.verdict),
        "table": repr(found),
    }


def _slope(found: Any) -> Any:
    """Of a line through the lags, or why there is none."""
    try:
        return found.slope()
    except lyapunov.InvalidInput as error:
        return str(error)


def gradient_decay(model: nn.Module, loss: Callable[[Any, Any], Tensor], batch: Any, **given: Any) -> lyapunov.GradientDecay:
    """Of the gradients of a loss."""
    return lyapunov.gradient_decay(model, loss, batch, **told({"progress": False} | given))


def of_gradient_decay(found: lyapunov.GradientDecay) -> Values:
    """All that it says."""
    decay = {"mean": found.mean, "standard errors": found.standard_errors, "logarithms": found.log_norms}
    return decay | {"starts": found.starts, "slope": _slope(found), "core": found.core, "table": repr(found)}


def growth(module: nn.Module, inputs: Any, k: Any, **given: Any) -> Values:
    """Sums of exponents, and the gradient of the first of them by every weight."""
    module.zero_grad()
    found = lyapunov.exponent_sum(module, inputs, k, **told(given))
    found.reshape(-1)[0].backward()
    return {"sums": found.detach()} | _of_weights(module, gradients=True)


def flossing(module: nn.Module, inputs: Any, k: int, **given: Any) -> Values:
    """The regulariser and its gradient, then the routine, which moves the weights."""
    module.zero_grad()
    penalty = lyapunov.flossing_loss(module, inputs, k, **told(given))
    penalty.backward()
    found = {"penalty": penalty.detach()} | _of_weights(module, gradients=True)
    moved = lyapunov.floss_(module, inputs, k=k, steps=3, learning_rate=1e-2, progress=False, **told(given))
    return found | {"penalties": moved, "after": _of_weights(module)}


def to_exponent(module: nn.Module, inputs: Any, **given: Any) -> Values:
    """Weights scaled until the exponent is what is wanted."""
    scale = lyapunov.init.critical_scale(module)
    reached = lyapunov.init.to_exponent_(module, inputs, progress=False, **told(given))
    return {"critical scale": scale} | of_spectrum(reached) | _of_weights(module)


def _of_weights(module: nn.Module, *, gradients: bool = False) -> Values:
    named = module.named_parameters()
    return {f"gradient by {name}": weight.grad for name, weight in named} if gradients else dict(named)


def covariant_vectors(system: Any, inputs: Any = None, **given: Any) -> lyapunov.CovariantVectors:
    """The vectors themselves."""
    return lyapunov.covariant_vectors(system, inputs, **told({"progress": False} | given))


def of_covariant_vectors(found: lyapunov.CovariantVectors) -> Values:
    """All that they say."""
    return {
        "exponents": found.exponents,
        "standard errors": found.standard_errors,
        "growth": {"rates": found.growth_rates, "kept": found.growth},
        "vectors": found.vectors,
        "participation": found.participation,
        "angles": (found.angles, found.smallest_angles),
        "paths": {name: found.path_fractions[at] for at, name in enumerate(found.paths)},
        "disagreement": found.disagreement,
        "rows": (found.effective_rows, found.by_part(), [tuple(label) for label in found.labels], found.units(0)),
        "counted": (found.first, found.count),
        "verdict": of_verdict(found.verdict) | {"of each": found.converged},
        "table": repr(found),
    }


def local_exponents(system: Any, inputs: Any = None, **given: Any) -> lyapunov.LocalExponents:
    """Growth at every step."""
    return lyapunov.local_exponents(system, inputs, **told({"progress": False} | given))


def of_local_exponents(found: lyapunov.LocalExponents, symbols: Tensor) -> Values:
    """All that they say, also by what drove each step."""
    growth = {"growth": found.growth, "exponents": found.exponents, "volume": found.volume, "first": found.first}
    return growth | {"by symbol": found.by_symbol(symbols), "verdict": of_verdict(found.verdict), "table": repr(found)}


def told(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names, and in the words, of the library."""
    said = {name: WORDS.get(value, value) if isinstance(value, str) else value for name, value in given.items()}
    return {PARAMETERS.get(name, name): value for name, value in said.items()}
