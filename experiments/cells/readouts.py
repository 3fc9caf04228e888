"""Readouts of an untrained network of cells, as frozen by the protocol: three reach numbers (R3), exponents of layers (S7),
opponents.

A network of three layers sees 170 random symbols of 200. The reach is how far an infinitesimal change of the input at step 60
moves the top layer's output, by lag; exponents are those of each layer's own state, the first 40 steps not counted. Seeds are
run side by side.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import lyapunov
from experiments.cells.layer import CellLayer
from experiments.cells.network import CellNetwork, layers_of
from experiments.cells.recipes import Recipe
from lyapunov.estimate.quantities import kaplan_yorke_dimension

STEPS, BURN_IN, SYMBOLS, CHANGED = 170, 40, 200, 60
"""Of a sequence; not counted; in the vocabulary; the step whose input is changed."""
DIRECTIONS, LONGEST, EXPONENTS = 4, 30, 4
"""Random changes of the input, the longest lag, and leading exponents of each layer."""
SLOPE_FROM = 3
SHORT = 60
"""Steps along which the gradient of a loss is taken at initialization."""
FAR, FLAT, STEEP = 30.0, 5.0, -30.0
"""Bounds of log gains, and of exponents and slopes: what overflows stands at the upper, what is lost for good at the lower."""
R3 = ("gain_1", "gain_5_over_0", "gain_slope")
S7 = (*R3, "first_largest", "last_largest", "largest", "mean_of_four")
SATURATED = 0.97
Numbers = NDArray[np.float64]


def reach_numbers(recipe: Recipe, width: int, seeds: Sequence[int]) -> list[dict[str, float]]:
    """By seed: reach, and statistics of the outputs. Seconds of the processor are per seed, here and below."""
    start = time.process_time()
    networks, _, inputs = _networks(recipe, width, seeds)
    with torch.no_grad():
        layers = layers_of(networks)
        outputs, states = _outputs(layers, inputs)
        gains = reach(layers, inputs, states, seeds)
        return _rows(
            seeds, [{**_of_gains(own), **_statistics(seen)} for own, seen in zip(gains, outputs[-1], strict=True)], start
        )


def gradient_numbers(recipe: Recipe, width: int, seeds: Sequence[int]) -> list[dict[str, float]]:
    """By seed: the gradient norm at initialization."""
    start = time.process_time()
    networks, symbols, _ = _networks(recipe, width, seeds)
    return _rows(seeds, [{"gradient_norm": gradient_norm(*one)} for one in zip(networks, symbols, strict=True)], start)


def exponent_numbers(recipe: Recipe, width: int, seeds: Sequence[int]) -> list[dict[str, float]]:
    """By seed: the four leading exponents of each layer, and what S7 takes of them."""
    return _of_layers(recipe, width, seeds, _exponents)


def dimension_numbers(recipe: Recipe, width: int, seeds: Sequence[int]) -> list[dict[str, float]]:
    """By seed: the Kaplan-Yorke dimension of each layer's own state, in units of its size; 0 where nothing grows."""
    return _of_layers(recipe, width, seeds, _dimensions)


def reach(layers: Sequence[CellLayer], inputs: Tensor, states: Sequence[tuple[Tensor, ...]], seeds: Sequence[int]) -> Numbers:
    """(seeds, lags): ln |d output at lag / d input|, the root of the mean square over random directions of unit length.

    `states` are those before the step whose input is changed. The frames of all layers are brought back to one size after
    every step and the logarithm of that is kept, so nothing underflows.
    """
    copies, _, width = inputs.shape
    states = list(states)
    frames = [inputs.new_zeros(copies, *layer.block_sizes, DIRECTIONS) for layer in layers]
    moving: Tensor | None = torch.stack([_directions(seed, width) for seed in seeds])
    scale, found = inputs.new_zeros(copies), []
    for at in range(CHANGED, CHANGED + LONGEST + 1):
        x = inputs[:, at]
        for depth, layer in enumerate(layers):
            states[depth], tangent = layer.linearize(states[depth], x)
            frames[depth] = tangent.push_driven(frames[depth], moving)
            x, moving = states[depth][0], frames[depth][:, :width]
        found.append(scale + (frames[-1][:, :width].square().sum((1, 2)) / DIRECTIONS).log() / 2)
        size = torch.stack([frame.abs().amax((1, 2)) for frame in frames]).amax(0)
        size = torch.where(size > 0, size, torch.ones_like(size))
        frames = [frame / size[:, None, None] for frame in frames]
        scale, moving = scale + size.log(), None
    return torch.stack(found, dim=1).numpy()


def gradient_norm(network: CellNetwork, symbols: Tensor) -> float:
    """Logarithm of the norm of the gradient of the loss of a first prediction, with respect to all weights."""
    outputs, _ = network(symbols[None, :SHORT])
    loss = torch.nn.functional.cross_entropy(outputs[0], symbols[1 : SHORT + 1])
    network.zero_grad()
    loss.backward()
    square = sum(float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None)
    return _bounded(math.log(square) / 2 if 0 < square < math.inf else (math.inf if square else -math.inf), -FAR, FAR)


def _of_gains(gains: Numbers) -> dict[str, float]:
    lags = np.arange(SLOPE_FROM, LONGEST + 1)
    tail = gains[SLOPE_FROM:]
    if np.isnan(tail).any() or np.isposinf(tail).any():
        slope = FLAT
    else:
        known = np.isfinite(tail)
        slope = float(np.polyfit(lags[known], tail[known], 1)[0]) if known.sum() > 1 else STEEP
    bounded = [_bounded(float(gain), -FAR, FAR) for gain in gains]
    numbers = {f"gain_{lag}": bounded[lag] for lag in (0, 1, 2, 5, 10, 20, 30)}
    difference = float(gains[5] - gains[0]) if np.isfinite(gains[[0, 5]]).all() else bounded[5] - bounded[0]
    return {**numbers, "gain_5_over_0": _bounded(difference, -FAR, FAR), "gain_slope": _bounded(slope, STEEP, FLAT)}


def _statistics(outputs: Tensor) -> dict[str, float]:
    """Of the top layer's outputs, (time, width), after the burn-in."""
    kept = outputs[BURN_IN:].nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).clamp(-1e6, 1e6)
    return {
        "output_mean": float(kept.mean()),
        "output_size": float(kept.square().mean().sqrt()),
        "output_change": float(kept.std(0).mean()),
        "saturation": float((kept.abs() > SATURATED).double().mean()),
    }


def _exponents(layers: Sequence[CellLayer], inputs: Sequence[Tensor]) -> list[dict[str, float]]:
    found = [_leading(layer, driven) for layer, driven in zip(layers, inputs, strict=True)]
    rows = []
    for own in zip(*found, strict=True):
        numbers = {f"exponent_{depth}_{at}": value for depth, leading in enumerate(own) for at, value in enumerate(leading)}
        largest = [leading[0] for leading in own]
        means = [sum(leading) / EXPONENTS for leading in own]
        numbers |= {
            "first_largest": largest[0],
            "last_largest": largest[-1],
            "largest": max(largest),
            "mean_of_four": sum(means) / len(means),
        }
        rows.append(numbers)
    return rows


def _dimensions(layers: Sequence[CellLayer], inputs: Sequence[Tensor]) -> list[dict[str, float]]:
    found = [dimensions(layer, driven) for layer, driven in zip(layers, inputs, strict=True)]
    return [{f"dimension_{depth}": value for depth, value in enumerate(own)} for own in zip(*found, strict=True)]


def dimensions(layer: CellLayer, inputs: Tensor) -> list[float]:
    """By copy, the Kaplan-Yorke dimension of one layer over its size. What overflows has the whole one."""
    if all(own[0] <= 0 for own in _leading(layer, inputs, 1)):
        return [0.0] * layer.copies
    size = sum(layer.block_sizes)
    found = (kaplan_yorke_dimension(torch.tensor(own), total=size) for own in _leading(layer, inputs, size))
    return [(size if one is None else one) / size for one in found]


def _leading(layer: CellLayer, inputs: Tensor, k: int = EXPONENTS) -> list[list[float]]:
    """By copy, the leading exponents of one layer along the inputs that it receives; +FLAT where its state overflows."""
    sound = [bool(own.isfinite().all()) and float(own.abs().max()) < 1e100 for own in inputs]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not all(sound):
                raise lyapunov.Diverged("Expected finite inputs, got others.")
            spectrum = lyapunov.spectrum(layer, inputs, k=k, settle=0, align=BURN_IN, check=False, progress=False)
        return [sorted((_bounded(float(value), STEEP, FLAT) for value in own), reverse=True) for own in spectrum.per_sequence]
    except lyapunov.Diverged:
        if layer.copies == 1:
            return [[FLAT] * k]
        return [_leading(_copy(layer, at), inputs[at : at + 1], k)[0] for at in range(layer.copies)]


def _copy(layer: CellLayer, at: int) -> CellLayer:
    weights = {
        name: type(own)(tuple(w[at : at + 1] for w in own.weights), own.bias[at : at + 1])
        for name, own in layer.weights.items()
    }
    return CellLayer(layer.recipe, weights, layer.index)


def _of_layers(
    recipe: Recipe,
    width: int,
    seeds: Sequence[int],
    read: Callable[[Sequence[CellLayer], Sequence[Tensor]], list[dict[str, float]]],
) -> list[dict[str, float]]:
    """What is read off all layers, each with the inputs that it receives."""
    start = time.process_time()
    networks, _, inputs = _networks(recipe, width, seeds)
    with torch.no_grad():
        layers = layers_of(networks)
        outputs, _ = _outputs(layers, inputs)
        return _rows(seeds, read(layers, [inputs, *outputs[:-1]]), start)


def _rows(seeds: Sequence[int], found: Sequence[dict[str, float]], start: float) -> list[dict[str, float]]:
    seconds = (time.process_time() - start) / len(seeds)
    return [{"seed": float(seed), **numbers, "seconds": seconds} for seed, numbers in zip(seeds, found, strict=True)]


def _networks(recipe: Recipe, width: int, seeds: Sequence[int]) -> tuple[list[CellNetwork], Tensor, Tensor]:
    networks = [CellNetwork(recipe, width, SYMBOLS, SYMBOLS, seed=seed) for seed in seeds]
    symbols = torch.stack([_symbols(seed) for seed in seeds])
    inputs = torch.stack([network.embedding.detach()[own] for network, own in zip(networks, symbols, strict=True)])
    return networks, symbols, inputs


def _outputs(layers: Sequence[CellLayer], inputs: Tensor) -> tuple[list[Tensor], list[tuple[Tensor, ...]]]:
    """Of every layer its outputs, (copies, time, width), and its state before the step whose input is changed."""
    found, states = [], []
    for layer in layers:
        state, own = layer.initial_state(len(inputs), inputs), []
        for at, x in enumerate(inputs.unbind(1)):
            if at == CHANGED:
                states.append(state)
            state = layer.step(state, x)
            own.append(state[0])
        inputs = torch.stack(own, dim=1)
        found.append(inputs)
    return found, states


def _symbols(seed: int) -> Tensor:
    return torch.randint(SYMBOLS, (STEPS,), generator=torch.Generator().manual_seed(10_000 + seed))


def _directions(seed: int, width: int) -> Tensor:
    drawn = torch.randn(width, DIRECTIONS, generator=torch.Generator().manual_seed(20_000 + seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=0)


def _bounded(value: float, low: float, high: float) -> float:
    return high if math.isnan(value) else min(max(value, low), high)
