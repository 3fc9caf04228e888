"""The cells of the coverage benchmark, system by system: at most 120."""

from collections.abc import Callable
from dataclasses import replace

import torch

import _coverage_systems as systems
from _coverage_systems import Cell
from _coverage_trained import DEMO, PYTHON, SMALL, WAR

MOST = 120
FEW = 40
"""Replicates where one takes about a second or more."""


def _each(cell: Cell, *changes: dict) -> list[Cell]:
    return [replace(cell, **change) for change in changes]


def _asked(*asked: int | None) -> list[dict]:
    return [{"k": k} for k in asked]


def _products() -> list[Cell]:
    base = Cell("Gaussian products", systems.gaussian, None, 10, 150)
    given = {"settle": 0, "align": 20}
    return _each(base, *_asked(1, 4, None), {"sequences": 3, "steps": 500}, {"sequences": 1, "steps": 1500}, given)


def _rare() -> list[Cell]:
    base = Cell("rare contractions", systems.rare, None, 10, 1500)
    some = ({"k": 1}, {}, {"steps": 500}, {"sequences": 3, "steps": 2000}, {"sequences": 1, "steps": 5000, "k": 1})
    return _each(base, *some, {"sequences": 1, "steps": 15_000, "replicates": FEW}, {"settle": 0, "align": 50})


def _tanh() -> list[Cell]:
    base = Cell("driven tanh network", systems.tanh, 4, 10, 250)
    long = ({"k": 8, "steps": 3000}, {"sequences": 3, "steps": 4000}, {"sequences": 1, "steps": 2500})
    given = ({"settle": 50, "align": 50}, {"settle": 3, "align": 3})
    return _each(base, *_asked(1, 4, None), *({**shape, "replicates": FEW} for shape in long), *given)


def _float32() -> list[Cell]:
    name, options = "driven tanh network, float32", {"dtype": torch.float32}
    base = Cell(name, systems.tanh, 4, 10, 250, truth="driven tanh network", options=options)
    return _each(base, *_asked(1, 4, None), {"settle": 50, "align": 50})


def _repeated() -> list[Cell]:
    base = Cell("copies and overlap", systems.copies, 1, 10, 400, truth="driven tanh network", note="one input")
    overlap = {"build": systems.overlapping, "note": "windows that overlap by 90 %"}
    return [
        *_each(base, {}, {"k": 8}, {"sequences": 3}, {"settle": 50, "align": 50}),
        *_each(replace(base, **overlap), {}, {"k": 8}, {"sequences": 3}, {"settle": 50, "align": 50}),
    ]


def _slow(name: str, build: systems.Builder) -> list[Cell]:
    base = Cell(name, build, 1, 5, 200)
    long = {"sequences": 10, "steps": 8000, "replicates": FEW}
    given = {"sequences": 10, "steps": 2000, "settle": 1000, "align": 100, "replicates": FEW}
    return _each(base, {}, {"k": 4}, {"k": None}, {"sequences": 10, "steps": 1000}, long, given, {"settle": 50, "align": 50})


def _small(text: str) -> list[Cell]:
    base = Cell(f"{SMALL}, {text}", systems.small_lstm, 4, 10, 500)
    whole = {"k": None, "replicates": FEW}
    shapes = ({"sequences": 3, "steps": 1500}, {"sequences": 1, "steps": 2000, "replicates": FEW})
    return _each(base, *_asked(1, 4, 8), whole, *shapes, {**whole, "settle": 100, "align": 100})


def _chrono() -> list[Cell]:
    base = Cell("chrono LSTM", systems.chrono, 4, 10, 500)
    shapes = ({"sequences": 3, "steps": 1500}, {"sequences": 1, "steps": 2000, "replicates": FEW})
    given = ({"steps": 200, "settle": 30, "align": 30}, {"steps": 1000, "settle": 100, "align": 500})
    return _each(base, *_asked(1, 4, 8, None), *shapes, *given)


def _demo() -> list[Cell]:
    base = Cell(DEMO, systems.demo_lstm, 8, 10, 300, replicates=FEW)
    given = {"settle": 50, "align": 50}
    longer = ({"steps": 1000}, {"sequences": 3, "steps": 3000}, {"steps": 1000, "settle": 50, "align": 400})
    whole = {"k": None, "replicates": FEW // 2}  # ten seconds each
    return _each(base, *_asked(1, 4, 8), whole, given, {**given, **whole}, *longer)


def _integrator() -> list[Cell]:
    base = Cell("double integrator", systems.double_integrator, None, 10, 500)
    long = {"sequences": 1, "steps": 5000, "replicates": FEW}
    return _each(base, {"k": 1}, {}, {"sequences": 3}, long, {"settle": 50, "align": 50})


def _unequal() -> list[Cell]:
    base = Cell("unequal lengths", systems.unequal, 1, 10, 1000)
    three = {"sequences": 3, "note": "lengths 1000, 30, 30"}
    ten = [{"note": note} for note, lengths in systems.LENGTHS.items() if len(lengths) == 10]
    return _each(base, three, {**three, "settle": 0, "align": 0}, *ten)


def _autonomous(name: str, build: systems.Builder, every: int, replicates: int) -> list[Cell]:
    base = Cell(name, build, every, 10, 1000, replicates=replicates)
    given = {"settle": 300, "align": 100}
    return _each(
        base,
        {"k": 1},
        {},
        {"sequences": 3},
        {"sequences": 1, "steps": 5000, "replicates": FEW},
        given,
        {"settle": 20, "align": 20},
    )


def _triangular() -> list[Cell]:
    base = Cell("triangular weights", systems.triangular, 4, 10, 1000)
    given = {"steps": 1500, "settle": 50, "align": 423}
    longer, whole = {"sequences": 3, "steps": 3000, "replicates": FEW}, {"k": None, "replicates": FEW}
    return _each(base, *_asked(1, 4, 8), whole, longer, given, {**given, **whole})


def _carried() -> list[Cell]:
    base = Cell("slow carried", systems.slow_carried, 4, 10, 300, replicates=FEW)
    long = {"steps": 4000, "replicates": FEW // 2}
    given = ({"settle": 10, "align": 50}, {"steps": 3000, "settle": 2000, "align": 100})
    ring = {"note": "ring", "truth": "slow carried, ring"}
    return _each(base, {"k": 1}, {}, {"k": None}, {"sequences": 3, "steps": 1000}, long, given[0], {**given[1], **ring})


def _basins() -> list[Cell]:
    base = Cell("mixed basins", systems.mixed_basins, 4, 10, 300, replicates=FEW)
    fair: Callable[[int], str] = systems.fair_truth
    three = {"sequences": 3, "note": "fair", "truth": fair}
    return _each(base, {"k": 1}, {}, {"sequences": 3}, {**three, "k": 1}, three, {"settle": 50, "align": 50})


def cells() -> list[Cell]:
    """All, system by system."""
    return [
        *_products(),
        *_tanh(),
        *_float32(),
        *_small(WAR),
        *_small(PYTHON),
        *_chrono(),
        *_demo(),
        *_slow("gain 5", systems.gain_five),
        *_slow("gain 8", systems.gain_eight),
        *_integrator(),
        *_unequal(),
        *_repeated(),
        *_autonomous("limit cycle", systems.limit_cycle, 2, 200),
        *_autonomous("quasi-periodic", systems.quasi_periodic, 4, FEW),
        *_triangular(),
        *_carried(),
        *_basins(),
        *_rare(),
    ]
