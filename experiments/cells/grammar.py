"""Fresh random cells, by the benchmark's own grammar, as many states and nodes as its recipes have.

The grammar is that of the published generator (Klyuchnikov et al. 2020, search_space.py, Apache-2.0): linear nodes of two or
three inputs, each followed by an activation; sums, products and blends of what there is; nodes of which some become the new
states; what reaches none of them is taken away; every input is used, and no old state enters a node that is a new one.
"""

import random
from collections.abc import Iterator, Sequence

from experiments.cells.recipes import INPUT, NEW, OLD, Recipe

OPERATIONS, OPERATION_WEIGHTS = ("linear", "blend", "elementwise_prod", "elementwise_sum"), (3, 1, 1, 1)
ACTIVATIONS = ("activation_tanh", "activation_sigm", "activation_leaky_relu")
LEAST, MOST = 1, 14
"""Nodes that are drawn beyond the states, before those that reach nothing are taken away."""
Drawn = dict[str, dict[str, object]]


def fresh(like: Sequence[Recipe], count: int, seed: int) -> list[Recipe]:
    """`count` recipes of structures that are neither among `like` nor twice; sizes are drawn from those of `like`.

    A recipe of `like` is drawn, with its numbers of states and nodes; the grammar is asked until it gives a cell of that size.
    """
    source = random.Random(seed)
    met = {recipe.structure for recipe in like}
    found: list[Recipe] = []
    while len(found) < count:
        size = source.choice(like)
        recipe = next(one for one in _cells(source, size.states) if len(one.nodes) == len(size.nodes))
        if recipe.structure not in met:
            met.add(recipe.structure)
            found.append(recipe)
    return found


def _cells(source: random.Random, states: int) -> Iterator[Recipe]:
    """Cells that the benchmark would have kept, one after the other."""
    while True:
        drawn = _graph(source, states, states + source.randint(LEAST, MOST))
        if len(drawn) < states:
            continue
        renamed = {name: f"{NEW}{at}" for at, name in enumerate(source.sample(list(drawn), states))}
        named = {
            renamed.get(name, name): {"op": node["op"], "input": [renamed.get(one, one) for one in _read(node)]}
            for name, node in drawn.items()
        }
        used = _reached(named, states)
        old = {f"{OLD}{at}" for at in range(states)}
        direct = any(old & set(named[f"{NEW}{at}"]["input"]) for at in range(states))
        if used >= {INPUT, *old} and not direct:
            yield Recipe.of({name: node for name, node in named.items() if name in used})


def _graph(source: random.Random, states: int, nodes: int) -> Drawn:
    base = [INPUT, *(f"{OLD}{at}" for at in range(states))]
    drawn: Drawn = {}
    activated: list[str] = []
    while len(drawn) < nodes:
        name, operation = f"node_{len(drawn)}", source.choices(OPERATIONS, OPERATION_WEIGHTS)[0]
        if operation == "linear":
            candidates = base + activated
            drawn[name] = {
                "op": operation,
                "input": source.sample(candidates, min(source.choices((2, 3), (4, 1))[0], len(candidates))),
            }
            activation = f"node_{len(drawn)}"
            drawn[activation] = {"op": source.choices(ACTIVATIONS)[0], "input": [name]}
            activated.append(activation)
        else:
            candidates, wanted = base[1:] + list(drawn), 3 if operation == "blend" else 2
            if wanted <= len(candidates):
                drawn[name] = {"op": operation, "input": source.sample(candidates, wanted)}
    return drawn


def _reached(named: Drawn, states: int) -> set[str]:
    waiting = [f"{NEW}{at}" for at in range(states)]
    used = set(waiting)
    while waiting:
        for one in _read(named.get(waiting.pop(), {"input": []})):
            if one not in used:
                used.add(one)
                waiting.append(one)
    return used


def _read(node: dict[str, object]) -> list[str]:
    inputs = node["input"]
    assert isinstance(inputs, list)
    return inputs
