"""What the rows of the coverage benchmark say: how often intervals hold the truth, by cell and by system."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

LEAST_HELD = 0.93
"""Of nominal 95 % intervals, over all cells of a system."""
LEVEL, BEYOND, BEYOND_LEVEL = 0.01, 0.001, 0.001
"""A cell fails at this level over all cells; 99.9 % intervals miss that often; more misses than that level explains fail."""
APART = 1e-3
"""A value outside its 99.9 % interval counts where it is this far off, in nats per step."""
KNOWN = 5.0
"""A truth counts as known when its own error is this many times smaller than the errors that it judges."""
SMOOTH = (0.75, 1.1)
"""Where sampling dominates, the spread of the estimates over the error that they report lies between these."""
REPORTED = ("largest", "last", "mean")
Row = dict[str, Any]
Value = tuple[float, float]
"""A true value and its standard error."""


@dataclass(frozen=True)
class Judged:
    """One quantity in one cell, over its converged replicates.

    held: 95 % intervals with the truth in them. beyond: values outside their 99.9 % interval and APART off. ratio: spread of
    the estimates over the root mean square of the reported errors. width: median of the 95 % intervals. known: whether the
    truth is sharp enough; where it is not, nothing is held against the cell.
    """

    quantity: str
    count: int
    held: int
    beyond: int
    bias: float
    ratio: float
    width: float
    known: bool

    @property
    def misses(self) -> int:
        """Intervals without the truth."""
        return self.count - self.held


@dataclass(frozen=True)
class Line:
    """One cell: how many replicates there are, how many converged, what kept the others, and the quantities judged."""

    system: str
    setting: str
    replicates: int
    converged: int
    kinds: tuple[tuple[str, int], ...]
    judged: tuple[Judged, ...]
    seconds: float

    @property
    def reported(self) -> tuple[Judged, ...]:
        """The largest, the last and the mean, as far as there are such and their truth is known."""
        return tuple(found for found in self.judged if found.known and found.quantity in REPORTED)

    def failures(self, tests: int) -> list[str]:
        """The quantities whose misses are improbable under 93 %, at 0.01 over the number of quantities tested in all cells."""
        return [found.quantity for found in self.reported if found.misses > most_misses(found.count, LEVEL / tests)]


def most_misses(count: int, level: float, share: float = 1 - LEAST_HELD) -> int:
    """As many misses as are not yet improbable: P(more than that many) < level, of `count` with this chance each."""
    return int(binom.isf(level, count, share))


def improbable(beyond: int, count: int) -> bool:
    """Whether so many values outside their 99.9 % intervals are more than 0.1 % explains."""
    return beyond > most_misses(count, BEYOND_LEVEL, BEYOND)


def judged(quantity: str, values: np.ndarray, truth: np.ndarray, truth_error: float) -> Judged | None:
    """values (replicates, 6): estimate, standard error, low and high end at 95 %, at 99.9 %. None where there is nothing."""
    whole = np.isfinite(values[:, :2]).all(1)
    if not whole.any():
        return None
    estimate, error, low, high, lowest, highest = values[whole].T
    truth, told = truth[whole], bool(np.isfinite(truth[whole]).all())
    off = estimate - truth if told else estimate
    held = (low <= truth) & (truth <= high)
    beyond = ~((lowest <= truth) & (truth <= highest)) & (np.abs(off) > APART) & told
    reported = math.sqrt(np.mean(error**2))
    spread = float(off.std(ddof=1)) if len(off) > 1 else math.nan
    return Judged(
        quantity=quantity,
        count=len(off),
        held=int(held.sum()),
        beyond=int(beyond.sum()),
        bias=float(off.mean()) if told else math.nan,
        ratio=spread / reported if reported > 0 else math.nan,
        width=float(np.median(high - low)),
        known=told and truth_error * KNOWN <= max(float(np.median(error)), math.sqrt(np.mean(off**2))),
    )


def line(system: str, setting: str, rows: Sequence[Row], truth: Callable[[int, int | None], Value]) -> Line:
    """One cell. `truth(seed, rank)`: the value and error of an exponent, from 0; of the mean for None."""
    converged = [row for row in rows if row["converged"]]
    kinds = Counter(kind for row in rows for kind in row["kinds"])
    found = [_quantity(name, converged, truth) for name in ("largest", "last", "mean", "every listed")]
    return Line(
        system=system,
        setting=setting,
        replicates=len(rows),
        converged=len(converged),
        kinds=tuple(kinds.most_common()),
        judged=tuple(one for one in found if one is not None),
        seconds=float(np.median([row["seconds"] for row in rows])) if rows else math.nan,
    )


def _quantity(name: str, rows: Sequence[Row], truth: Callable[[int, int | None], Value]) -> Judged | None:
    values, truths, errors = [], [], []
    for row in rows:
        for rank, numbers in _numbers(name, row):
            value, error = truth(row["seed"], rank)
            values.append([math.nan if number is None else number for number in numbers])
            truths.append(value)
            errors.append(error)
    if not values:
        return None
    return judged(name, np.array(values), np.array(truths), float(np.nanmax([*errors, 0.0])))


def _numbers(name: str, row: Row) -> list[tuple[int | None, list[float | None]]]:
    """(rank, numbers) of a quantity in a row; "last" and "mean" only where they are not the largest too."""
    if name == "mean":
        return [(None, row["mean"])] if row["mean"] and row["size"] > 1 else []
    listed = list(zip(row["ranks"], row["exponents"], strict=True))
    if name == "every listed":
        return listed if len(listed) > 2 else []
    at = 0 if name == "largest" else -1
    return listed[at:][:1] if name == "largest" or len(listed) > 1 else []


@dataclass(frozen=True)
class Summary:
    """One system: intervals and how many hold the truth, of its largest, last and mean exponents in all cells."""

    system: str
    count: int
    held: int
    beyond: int
    failing: tuple[str, ...]
    unknown: int

    @property
    def share(self) -> float:
        """Of intervals that hold the truth; NaN where none was converged."""
        return self.held / self.count if self.count else math.nan

    @property
    def fails(self) -> bool:
        """Too few intervals, a failing cell, or too many values beyond."""
        return self.share < LEAST_HELD or bool(self.failing) or improbable(self.beyond, self.count)


def tests_in(lines: Sequence[Line]) -> int:
    """Quantities that are tested, in all cells."""
    return max(1, sum(len(one.reported) for one in lines))


def summaries(lines: Sequence[Line]) -> list[Summary]:
    """System by system."""
    found, tests = [], tests_in(lines)
    for system in dict.fromkeys(one.system for one in lines):
        mine = [one for one in lines if one.system == system]
        listed = [value for one in mine for value in one.judged if value.quantity in REPORTED]
        known = [value for one in mine for value in one.reported]
        failing = tuple(f"{one.setting} ({', '.join(wrong)})" for one in mine if (wrong := one.failures(tests)))
        totals = [sum(getattr(value, name) for value in known) for name in ("count", "held", "beyond")]
        found.append(Summary(system, *totals, failing, len(listed) - len(known)))
    return found


def table(lines: Sequence[Line]) -> str:
    """Markdown: a line for each system and one for each of its cells."""
    head = (
        "| system, cell | converged | 95 % held: largest, last, mean | every listed | beyond 99.9 % | bias | spread / error |"
    )
    rows = [f"{head} median width |  |", "|---|---|---|---|---|---|---|---|---|"]
    for summary in summaries(lines):
        mine = [one for one in lines if one.system == summary.system]
        converged, made = sum(one.converged for one in mine), sum(one.replicates for one in mine)
        held = f"{100 * summary.share:.1f} % of {summary.count}" if summary.count else "-"
        verdict = "**fails**" if summary.fails else "holds" if summary.count else "-"
        rows.append(f"| **{summary.system}** | {_share(converged, made)} | {held} |  | {summary.beyond} |  |  |  | {verdict} |")
        rows += [_table_line(one, tests_in(lines)) for one in mine]
    return "\n".join(rows)


def _table_line(one: Line, tests: int) -> str:
    if not one.converged:
        kinds = ", ".join(f"{kind} {count}" for kind, count in one.kinds)
        return f"| {one.setting} | none of {one.replicates} ({kinds}) |  |  |  |  |  |  |  |"
    shown = [found for found in one.judged if found.quantity in REPORTED]
    every = next((found for found in one.judged if found.quantity == "every listed"), None)
    columns = (
        _share(one.converged, one.replicates),
        ", ".join(_held(found) for found in shown),
        _held(every) if every else "",
        str(sum(found.beyond for found in shown if found.known)),
        ", ".join(_number(found.bias, "+.2g") for found in shown),
        ", ".join(_number(found.ratio, ".2f") for found in shown),
        ", ".join(f"{found.width:.2g}" for found in shown),
        "fails" if one.failures(tests) else "",
    )
    return f"| {one.setting} | {' | '.join(columns)} |"


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} % of {whole}" if whole else "-"


def _held(found: Judged) -> str:
    return f"{100 * found.held / found.count:.1f} %" if found.known else "unknown"


def verdicts(lines: Sequence[Line]) -> str:
    """What the proof asks for, in words."""
    found = summaries(lines)
    below = [f"{one.system} ({100 * one.share:.1f} %)" for one in found if one.share < LEAST_HELD]
    failing = [f"{one.system}, {cell}" for one in found for cell in one.failing]
    count, beyond = sum(one.count for one in found), sum(one.beyond for one in found)
    allowed = most_misses(count, BEYOND_LEVEL, BEYOND)
    known = [value for one in lines for value in one.reported]
    uneven = sum(not SMOOTH[0] <= value.ratio <= SMOOTH[1] for value in known if value.count >= 20)
    return "\n".join(
        [
            f"Systems below {100 * LEAST_HELD:.0f} %: {len(below)} of {len(found)}. {'; '.join(below)}",
            f"Cells with too many misses: {len(failing)} of {len(lines)}. {'; '.join(failing)}",
            f"Outside the own 99.9 % interval and more than {APART} off: {beyond} of {count} (0.1 % explains {allowed}).",
            f"Spread / reported error outside {SMOOTH[0]} to {SMOOTH[1]}: {uneven} of {len(known)}.",
            f"Truth not sharp enough to judge: {sum(one.unknown for one in found)} quantities.",
            f"Cells without a converged replicate: {sum(not one.converged for one in lines)}.",
        ]
    )


def widths(lines: Sequence[Line], before: Sequence[Line]) -> str:
    """Median widths over those of another version, where the other's intervals hold the truth."""
    old, tests, ratios = {(one.system, one.setting): one for one in before}, tests_in(before), []
    for one in lines:
        other = old.get((one.system, one.setting))
        known = {} if other is None else {found.quantity: found for found in other.reported}
        wrong = [] if other is None else other.failures(tests)
        for found in one.judged:
            earlier = known.get(found.quantity)
            if earlier and found.quantity not in wrong and earlier.width > 0:
                ratios.append((found.width / earlier.width, f"{one.system}, {one.setting} ({found.quantity})"))
    wide = [f"{name}: {ratio:.2f}" for ratio, name in sorted(ratios, reverse=True) if ratio > 1.3]
    middle = float(np.median([ratio for ratio, _ in ratios])) if ratios else math.nan
    return "\n".join(
        [f"Median width over the other version's: {middle:.2f}; above 1.3 in {len(wide)} of {len(ratios)}:", *wide]
    )
