"""Known cells and variants of them, as recipes: trained beside the random ones and reported apart."""

from experiments.cells.recipes import Recipe


def variants() -> dict[str, Recipe]:
    """By name."""
    gate = {name: _gate(name, "sigm") for name in ("forget", "input", "output", "reset")}
    candidate = _gate("candidate", "tanh")
    cell = {
        "kept": _node("elementwise_prod", "forget_act", "h_prev_1"),
        "added": _node("elementwise_prod", "input_act", "candidate_act"),
        "h_new_1": _node("elementwise_sum", "kept", "added"),
        "seen": _node("activation_tanh", "h_new_1"),
    }
    gated = {"h_new_0": _node("elementwise_prod", "seen", "output_act")}
    reset = {"known": _node("elementwise_prod", "reset_act", "h_prev_0"), **_gate("candidate", "tanh", "known")}
    forgotten = {"known": _node("elementwise_prod", "forget_act", "h_prev_0"), **_gate("candidate", "tanh", "known")}
    kept_or_new = _node("blend", "forget_act", "h_prev_0", "candidate_act")
    new_or_kept = _node("blend", "forget_act", "candidate_act", "h_prev_0")
    shortcut = _node("elementwise_sum", "seen", "candidate_act")
    coupled = {"h_new_1": _node("blend", "forget_act", "h_prev_1", "candidate_act"), "seen": cell["seen"]}
    written = {
        "rnn": {"linear": _node("linear", "x", "h_prev_0"), "h_new_0": _node("activation_tanh", "linear")},
        "lstm": {**gate["forget"], **gate["input"], **gate["output"], **candidate, **cell, **gated},
        "gru": {**gate["forget"], **gate["reset"], **reset, "h_new_0": kept_or_new},
        "lstm-shortcut": {**gate["forget"], **gate["input"], **candidate, **cell, "h_new_0": shortcut},
        "lstm-coupled": {**gate["forget"], **gate["output"], **candidate, **coupled, **gated},
        "minimal-gated": {**gate["forget"], **forgotten, "h_new_0": new_or_kept},
    }
    return {name: Recipe.of(recipe) for name, recipe in written.items()}


def _node(operation: str, *inputs: str) -> dict[str, object]:
    return {"op": operation, "input": list(inputs)}


def _gate(name: str, activation: str, hidden: str = "h_prev_0") -> dict[str, dict[str, object]]:
    return {name: _node("linear", "x", hidden), f"{name}_act": _node(f"activation_{activation}", name)}
