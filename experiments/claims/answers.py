"""The open questions' answers in words, with the numbers that `experiments.claims.questions` and others left."""

from collections.abc import Iterator

from experiments.claims.questions import ASKED
from experiments.rows import read
from experiments.sweeps.presets import Preset
from experiments.sweeps.table import RESULTS

Rows = list[dict[str, str]]


def paragraphs(preset: Preset) -> Iterator[str]:
    """One per question; none where questions have not been asked at that size."""
    file = RESULTS / f"questions-{preset}.csv"
    rows = read(file) if file.exists() else []
    for name in (ask.__name__ for ask in ASKED):
        mine = [row for row in rows if row["question"] == name]
        if mine:
            yield f"- {ANSWERS[name](mine)}"
    yield from _published_estimator(preset)


def _strength(rows: Rows) -> str:
    mine = [row for row in rows if row["what"] == "inputs"]
    weights = [row for row in rows if row["what"] == "input weights"]
    same = all(one["largest"] == other["largest"] for one, other in zip(mine, weights, strict=True))
    listed = ", ".join(f"{_signed(row)} at {row['x']}" for row in mine)
    return (
        f"**Input strength and input weights.** The largest exponent of a vanilla RNN of gain 2 driven by noise: {listed} "
        f"times the strength. Scaling the input weights instead gives {'the same' if same else 'other'} numbers: W (a x) is "
        "(a W) x. Inputs push units into saturation and so quench chaos."
    )


def _division(rows: Rows) -> str:
    listed = ", ".join(f"{row['what']}: {_signed(row)} ± {float(row['error']):.3f}" for row in rows)
    values = [float(row["largest"]) for row in rows]
    widest = max(float(row["error"]) for row in rows)
    apart = (max(values) - min(values)) / (2**0.5 * widest)
    return (
        f"**How to divide the steps.** {listed}. The furthest apart differ by {apart:.1f} standard errors of a difference: "
        f"{'no difference is seen, as ergodicity would have it' if apart < 2 else 'more than chance explains'}."
    )


def _sizes(rows: Rows) -> str:
    by_size = {what: [float(row["largest"]) for row in rows if row["what"] == what] for what in _kinds(rows)}
    tops = ", ".join(f"{values[0]:+.3f} ({what})" for what, values in by_size.items())
    middles = ", ".join(f"{values[len(values) // 2]:+.3f}" for values in by_size.values())
    return (
        f"**Many units.** lambda(i / N) of driven vanilla RNNs of gain 2: the first {tops}; half-way down {middles}. Each "
        "network is one draw of its weights."
    )


def _linearizations(rows: Rows) -> str:
    biases = ("0", "1", "2", "4")
    both = [[row for row in rows if row["what"] == what] for what in ("full", "hidden")]
    listed = ", ".join(
        f"{_signed(full)} and {_signed(hidden)} at {bias}" for bias, full, hidden in zip(biases, *both, strict=True)
    )
    return (
        f"**Hidden against full state.** The largest exponent of LSTMs, full (h, c) and hidden h alone, by the bias added to "
        f"the forget gate: {listed}. What the cell remembers, the hidden state's Jacobian does not see."
    )


def _redrawn(rows: Rows) -> str:
    both = [[row for row in rows if row["what"] == what] for what in ("stay", "drawn anew")]
    listed = ", ".join(
        f"{_signed(stay)} and {_signed(drawn)} at gain {float(stay['x']):g}" for stay, drawn in zip(*both, strict=True)
    )
    return f"**Tied against re-drawn weights.** The largest exponent with weights that stay, and drawn at each step: {listed}."


ANSWERS = {
    "strength": _strength,
    "division": _division,
    "sizes": _sizes,
    "linearizations": _linearizations,
    "redrawn": _redrawn,
}


def _published_estimator(preset: Preset) -> Iterator[str]:
    file = RESULTS / f"estimator-{preset}.csv"
    if file.exists():
        listed = ", ".join(
            f"{float(row['published_nats']):+.3f} for {float(row['right']):+.3f} ({row['system']})" for row in read(file)
        )
        yield f"- **The published estimator**, largest exponent, converted to nats, beside the right one: {listed}."


def _kinds(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["what"] for row in rows))


def _signed(row: dict[str, str]) -> str:
    return f"{float(row['largest']):+.3f}"
