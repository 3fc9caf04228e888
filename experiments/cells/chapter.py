"""The chapter on untrained cells in findings.md: tables of what the commands left, and the marks, reached or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.association import Estimate
from experiments.cells import confirmation, opponents, search, use
from experiments.commands import RECORDED
from experiments.records import Rows, known

WEAK = "weak hold-out, R3"


@dataclass(frozen=True)
class Mark:
    """One mark of the protocol: what it asks, what was found, and whether that is enough; None where it was not measured."""

    name: str
    asked: str
    found: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return "not measured" if self.reached is None else "reached" if self.reached else "**not reached**"


def marks(results: Path = RECORDED) -> list[Mark]:
    """All four, in order; a later one counts only if those before hold."""
    return [_reproduced(results), _held_out(results), _confirmed(results), _used(results)]


def paragraphs(results: Path = RECORDED) -> Iterator[str]:
    """The marks, then the tables behind them."""
    found = marks(results)
    yield "| mark | asked | found | |\n|---|---|---|---|"
    for at, mark in enumerate(found, start=1):
        fallen = any(not before.reached for before in found[: at - 1])
        yield f"| {at}. {mark.name} | {mark.asked} | {mark.found} | {mark.verdict}{'; does not count' if fallen else ''} |"
    yield from _opponents(known(results / opponents.NAME))
    yield from _fresh(known(results / confirmation.NAME))
    yield from _saved(known(results / use.NAME))
    yield from search.paragraphs(results)


def _reproduced(results: Path) -> Mark:
    rows = {row["set"]: row for row in known(results / opponents.NAME)}
    asked = (
        f"at least {opponents.LEAST:.2f}; ahead of the proxies by {opponents.AHEAD:.2f}, clear of 0; "
        f"the gradient norm {opponents.GRADIENT_BEHIND:.2f} behind"
    )
    if opponents.PRIMARY not in rows:
        return Mark("Reproduction", asked, "-", None)
    own, ahead = rows[opponents.PRIMARY], _ahead(rows[opponents.PROXIES])
    behind = _ahead(rows[opponents.GRADIENT]) if opponents.GRADIENT in rows else None
    reached: bool | None = float(own["both"]) >= opponents.LEAST and ahead.value >= opponents.AHEAD and ahead.low > 0
    if reached:
        reached = None if behind is None else behind.value >= opponents.GRADIENT_BEHIND
    found = f"{_both(own)}; ahead of the proxies by {ahead}, of the gradient norm by {behind or '(not measured)'}"
    return Mark("Reproduction", asked, found, reached)


def _held_out(results: Path) -> Mark:
    row = next((row for row in known(results / opponents.NAME) if row["set"] == WEAK), None)
    found = None if row is None else _both(row)
    return Mark("Weak hold-out", "interval beyond 0", str(found or "-"), None if found is None else found.low > 0)


def _confirmed(results: Path) -> Mark:
    asked = f"interval beyond {confirmation.LEAST:.2f}; given the early loss beyond 0; at least {confirmation.ENOUGH} cells"
    rows = [row for row in known(results / confirmation.NAME) if (row["task"], row["which"]) == ("text", "random cells")]
    row = next((row for row in rows if row["prediction"] == "both"), None)
    if row is None:
        return Mark("Fresh cells", asked, "-", None)
    alone, given = _estimate(row, "alone", "low", "high"), _estimate(row, "given_early", "given_low", "given_high")
    enough = int(row["cells"]) >= confirmation.ENOUGH
    reached = alone.low > confirmation.LEAST and given.low > 0
    found = f"{alone}; given the early loss {given}; {row['cells']} cells"
    return Mark("Fresh cells", asked, found, reached if enough else (False if not reached else None))


def _used(results: Path) -> Mark:
    row = next((row for row in known(results / use.NAME) if row["pool"] == "both"), None)
    asked = "regret saved at equal cost, interval beyond 0"
    if row is None:
        return Mark("Use", asked, "-", None)
    found = _estimate(row, "saved", "low", "high")
    return Mark("Use", asked, f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] of rank", found.low > 0)


def _opponents(rows: Rows) -> Iterator[str]:
    if not rows:
        return
    sizes = f"{rows[0]['cells']} runs of {rows[0]['structures']} structures"
    yield f"\n**The benchmark: {sizes}; rank correlation with the least validation loss**\n"
    heads = ("predictor", "columns", "neighbours", "ridge", "mean of both ranks", "R3 is ahead by", "bounded ridge")
    yield f"| {' | '.join(heads)} | mean with it | boosted trees |\n{'|---' * 9}|"
    for row in rows:
        if row["set"] == WEAK:
            continue
        ahead = "-" if row["set"] == opponents.PRIMARY else str(_ahead(row))
        if row["set"].startswith(f"{opponents.FIRST} and"):
            ahead = f"(ahead of the loss alone by {ahead})"
        near, ridge, bounded, trees = (
            f"{float(row[name]):+.2f}" for name in ("nearest_neighbours", "quadratic_ridge", "bounded_ridge", "boosted_trees")
        )
        robust = _estimate(row, "bounded", "bounded_low", "bounded_high")
        told = (row["set"], row["columns"], near, ridge, str(_both(row)), ahead, bounded, str(robust), trees)
        yield f"| {' | '.join(told)} |"
    weak = next(row for row in rows if row["set"] == WEAK)
    yield f"\nThe {weak['cells']} runs without proxies, fitted on the others: {_both(weak)}."


def _fresh(rows: Rows) -> Iterator[str]:
    cells = [row for row in rows if row["which"] != "two seeds"]
    if not cells:
        return
    yield "\n**Fresh cells: rank correlation of what was predicted before training with the least validation loss**\n"
    yield (
        "| task | which | cells | broke | predicted by | alone | given the early loss | early loss alone |\n" + "|---" * 8 + "|"
    )
    for row in cells:
        parts = (_estimate(row, *names) for names in (("alone", "low", "high"), ("given_early", "given_low", "given_high")))
        early = _estimate(row, "early", "early_low", "early_high")
        numbers = " | ".join(str(one) for one in (*parts, early))
        yield f"| {row['task']} | {row['which']} | {row['cells']} | {row['broken']} | {row['prediction']} | {numbers} |"
    for row in rows:
        if row["which"] == "two seeds":
            same = _estimate(row, "alone", "low", "high")
            yield f"\nTwo seeds of {row['cells']} cells agree in the least loss with a rank correlation of {same}."


def _saved(rows: Rows) -> Iterator[str]:
    if not rows:
        return
    yield "\n**Regret (rank of the cell that is found, 0 best) at equal cost: halving, and two simpler searches**\n"
    yield "| cells | number | a screen costs | after a screen | alone | saved | best early loss | random |\n" + "|---" * 8 + "|"
    for row in rows:
        saved = _estimate(row, "saved", "low", "high")
        shown = f"{saved.value:+.3f} [{saved.low:+.3f}, {saved.high:+.3f}]"
        parts = [f"{float(row[name]):.3f}" if row["alone"] else "-" for name in use.Found._fields]
        cost = f"{float(row['screen_cost']):.2g} trainings" if row["alone"] else "-"
        yield f"| {row['pool']} | {row['cells']} | {cost} | {' | '.join([*parts[:2], shown, *parts[2:]])} |"
    yield "\n**Cost, in full trainings, until a cell of the best tenth is found, such searches being repeated**\n"
    yield "| cells | halving after a screen | alone | best early loss | random |\n" + "|---" * 5 + "|"
    for row in rows:
        if row["alone"]:
            costs = (f"{float(row[f'tenth_{name}']):.1f}" for name in use.Found._fields)
            yield f"| {row['pool']} | {' | '.join(costs)} |"


def _both(row: dict[str, str]) -> Estimate:
    return _estimate(row, "both", "low", "high")


def _ahead(row: dict[str, str]) -> Estimate:
    return _estimate(row, "ahead", "ahead_low", "ahead_high")


def _estimate(row: dict[str, str], value: str, low: str, high: str) -> Estimate:
    return Estimate(float(row[value]), float(row[low]), float(row[high]))
