"""Recipes of recurrent cells: graphs of simple nodes, as NAS-Bench-NLP writes them, and the benchmark itself.

A cell takes an input x and the previous states h_prev_0, h_prev_1, ... and gives new states h_new_0, h_new_1, ...; h_new_0 is
also its output. Source: Klyuchnikov et al. 2020 (NAS-Bench-NLP), Apache-2.0.
"""

import csv
import hashlib
import itertools
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lyapunov import InvalidInput

OPERATIONS = {
    "linear": "linear",
    "activation_tanh": "tanh",
    "activation_sigm": "sigmoid",
    "activation_leaky_relu": "leaky_relu",
    "elementwise_sum": "sum",
    "elementwise_prod": "product",
    "blend": "blend",
}
"""The benchmark's names, and ours. blend(g, a, b) = g a + (1 - g) b; only its inputs have an order that matters."""
INPUT, OLD, NEW = "x", "h_prev_", "h_new_"
ROUNDS = 16
"""Of colour refinement: more than any recipe is deep."""
CURVES, PROXIES = "nas_bench_nlp/logs_wikitext-2.zip", "nas_bench_nlp/RNN_results.csv"
Written = Mapping[str, Mapping[str, object]]


class Node(NamedTuple):
    """One node: its name, what it does, and the names of what it reads."""

    name: str
    operation: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """A cell as nodes in an order in which each comes after what it reads."""

    nodes: tuple[Node, ...]
    states: int

    @classmethod
    def of(cls, written: Written) -> "Recipe":
        """From the benchmark's own notation: {name: {"op": ..., "input": [...]}}."""
        states = sum(name.startswith(NEW) and name[len(NEW) :].isdigit() for name in written)
        known = {INPUT, *(f"{OLD}{at}" for at in range(states))}
        left = {name: Node(name, OPERATIONS[str(node["op"])], _names(node["input"])) for name, node in written.items()}
        nodes: list[Node] = []
        while left:
            ready = [node for node in left.values() if known.issuperset(node.inputs)]
            if not ready:
                raise InvalidInput(f"Expected a graph without cycles, got one at {sorted(left)}. Check what these nodes read.")
            nodes += ready
            known.update(node.name for node in ready)
            left = {name: node for name, node in left.items() if name not in known}
        return cls(tuple(nodes), states)

    def written(self) -> dict[str, dict[str, object]]:
        """In the benchmark's notation."""
        theirs = {ours: name for name, ours in OPERATIONS.items()}
        return {node.name: {"op": theirs[node.operation], "input": list(node.inputs)} for node in self.nodes}

    @cached_property
    def structure(self) -> str:
        """The same for isomorphic recipes: the names of nodes and the order of the states after the first do not matter."""
        others = range(1, self.states)
        return min(self._refined((0, *order)) for order in itertools.permutations(others))

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes there are of each kind."""
        found = Counter(node.operation for node in self.nodes)
        return {name: found[name] for name in OPERATIONS.values()}

    def parameters(self, width: int) -> int:
        """Weights and biases of one layer whose input is as wide as itself."""
        return sum(width * (width * len(node.inputs) + 1) for node in self.nodes if node.operation == "linear")

    def _refined(self, order: Sequence[int]) -> str:
        """Weisfeiler-Lehman colours of the graph, with the states named in this order."""
        colours = {INPUT: "x"} | {f"{OLD}{at}": f"old {order[at]}" for at in range(self.states)}
        reads: dict[str, list[tuple[str, str]]] = {name: [] for name in colours}
        readers: dict[str, list[tuple[str, str]]] = {name: [] for name in (*colours, *(node.name for node in self.nodes))}
        for node in self.nodes:
            new = node.name.removeprefix(NEW)
            colours[node.name] = node.operation + (f" new {order[int(new)]}" if new.isdigit() else "")
            reads[node.name] = [(str(at if node.operation == "blend" else 0), name) for at, name in enumerate(node.inputs)]
            for place, name in reads[node.name]:
                readers[name].append((place, node.name))
        for _ in range(ROUNDS):
            colours = {
                name: _hashed(
                    colours[name], *("|".join(sorted(p + colours[one] for p, one in near[name])) for near in (reads, readers))
                )
                for name in colours
            }
        return _hashed(*sorted(colours.values()))


class Trained(NamedTuple):
    """One training run of the benchmark; `losses` are validation losses after each epoch."""

    run: str
    cell: int
    recipe: Recipe
    losses: tuple[float, ...]
    parameters: int

    @property
    def best(self) -> float:
        """The least validation loss."""
        return min(self.losses)


def benchmark(data: Path) -> list[Trained]:
    """The runs that ended well, by cell and name; one cell was trained twice."""
    found = []
    with zipfile.ZipFile(data / CURVES) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".json")):
            log = json.loads(archive.read(name))
            if log["status"] == "OK":
                recipe = Recipe.of(json.loads(log["recepie"]))
                run = Path(name).stem.removeprefix("log_stats_model_")
                found.append(Trained(run, int(log["recepie_id"]), recipe, tuple(log["val_losses"]), int(log["num_params"])))
    return sorted(found, key=lambda one: (one.cell, one.run))


def proxies(data: Path) -> dict[int, dict[str, float]]:
    """By cell, the twelve published proxies and the loss on PTB. Source: Serianni and Kalita 2023, CC BY 4.0."""
    with (data / PROXIES).open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    left_out = ("log name", "perplexity", "bits per word")
    return {
        int(row["log name"].split("_")[3]): {name: float(value) for name, value in row.items() if name not in left_out}
        for row in rows
    }


def _names(inputs: object) -> tuple[str, ...]:
    if not isinstance(inputs, Sequence):
        raise InvalidInput(f"Expected the inputs of a node as a list of names, got {inputs!r}. Check the recipe.")
    return tuple(str(name) for name in inputs)


def _hashed(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]
