"""Covariant Lyapunov vectors: the directions that belong to the exponents, their angles, and what carries them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov._shapes import Exponents, Frame
from lyapunov._shown import ExponentSequence, Parts, Shown
from lyapunov.analysis.directions.ginelli import Combinations, Stretch, require_directions, subspaces_apart
from lyapunov.analysis.trajectory import Trajectory, settled
from lyapunov.analysis.verdicts import too_few, unsettled
from lyapunov.errors import InvalidInput
from lyapunov.estimate import Finding, Verdict, number, standard_errors
from lyapunov.intake import problem
from lyapunov.systems import Label, Linearization, System
from lyapunov.tangent import MAX_BINS, Segment

CONVERGED = 1e-3
"""Sine of the angle that the transients may leave a vector uncertain by."""
_SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class CovariantVectors(ExponentSequence, Shown):
    """k covariant directions per state, J_t v_i(t) = e^growth v_i(t+1), and what carries them over the counted steps.

    Attributes:
        exponents, standard_errors: (k,), nats per step, as the frames grow, in their order.
        growth_rates: (k,), nats per step, as the vectors themselves grow.
        participation: (n, k), mean squared component of each vector by row of the state; every column adds up to 1.
        angles, smallest_angles: (k, k), mean and smallest angle between pairs of vectors, in radians from 0 to pi / 2.
        paths: the names of the gates or terms that a step consists of.
        path_fractions: (paths, k), the fraction of a vector's growth factor that goes through each path, mean of
            v(t+1)^T J_path v(t) e^-growth. The fractions of a vector add up to 1; a negative one works against the others.
        disagreement: (k,), the sine of the angle by which other random starts would have turned a vector, at the most. It is
            large where exponents are equal: single vectors are then undetermined.
        vectors: (kept + 1, batch, n, k), the vectors of the first counted steps, as many as were to be kept.
        growth: (kept, batch, k), nats, their growth in each of these steps.
        first, count: how many steps were made before counting, and how many were counted.
        labels: the unit, layer and part of the state of each row.
        system: what was analysed.
        verdict: what speaks against the vectors as a whole.

    Example:
        >>> cat = lyapunov.known.cat_map()
        >>> vectors = lyapunov.covariant_vectors(cat.system, state=cat.start(4), steps=60)
        >>> round(vectors.angles[0, 1].item(), 3)  # the Jacobian is symmetric: its directions are orthogonal
        1.571
    """

    exponents: Exponents
    standard_errors: Exponents
    growth_rates: Exponents
    participation: Tensor
    angles: Tensor
    smallest_angles: Tensor
    paths: tuple[str, ...]
    path_fractions: Tensor
    disagreement: Exponents
    vectors: Tensor
    growth: Tensor
    first: int
    count: int
    labels: tuple[Label, ...]
    system: str
    verdict: Verdict

    @property
    def converged(self) -> Tensor:
        """(k,): whether each vector is determined to CONVERGED."""
        return self.disagreement <= CONVERGED

    @property
    def effective_rows(self) -> Tensor:
        """(k,): over how many rows a vector is spread, 1 / sum of squared participations."""
        return 1 / self.participation.square().sum(0)

    def by_part(self) -> dict[str, Tensor]:
        """Share of each layer and part of the state ("layer 0 h", "layer 0 c", ...) in every vector, (k,) each."""
        names = [f"layer {label.layer} {label.part}" for label in self.labels]
        return {name: self.participation[torch.tensor([one == name for one in names])].sum(0) for name in dict.fromkeys(names)}

    def units(self, vector: int = 0, count: int = 5) -> tuple[tuple[Label, float], ...]:
        """The rows of the state that carry most of one vector.

        Args:
            vector: which vector, 0 for that of the largest exponent.
            count: how many rows.

        Returns:
            Labels with their participation, the largest first.
        """
        at = _checks.whole_number(vector, "vector", least=0, most=len(self.exponents) - 1)
        top = self.participation[:, at].topk(_checks.whole_number(min(count, len(self.labels)), "count", least=1))
        return tuple((self.labels[row], value) for row, value in zip(top.indices.tolist(), top.values.tolist(), strict=True))

    def _parts(self) -> Parts:
        parts = self.by_part()
        rows = [("i", "exponent", "± error", "rows", *parts, "carried by", "")]
        for at in range(min(len(self.exponents), _SHOWN)):
            strongest = int(self.path_fractions[:, at].argmax())
            rows.append(
                (
                    str(at + 1),
                    number(float(self.exponents[at])),
                    number(float(self.standard_errors[at])),
                    number(float(self.effective_rows[at]), 1),
                    *(f"{float(fraction[at]):.0%}" for fraction in parts.values()),
                    f"{self.paths[strongest]} {float(self.path_fractions[strongest, at]):.0%}",
                    "" if bool(self.converged[at]) else "not converged",
                )
            )
        title = f"Covariant vectors of {self.system}: {len(self.exponents)} of {len(self.labels)}, {self.count} steps counted"
        return Parts([title], rows, [f"verdict: {self.verdict}"])


def covariant_vectors(
    system: object,
    inputs: object = None,
    *,
    k: int | None = None,
    state: object = None,
    carried: object = None,
    steps: int | None = None,
    linearization: Linearization = "full",
    settle: int | None = None,
    align: int | None = None,
    align_back: int | None = None,
    keep: int = 0,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    check: bool = True,
    progress: bool | None = None,
) -> CovariantVectors:
    """The k leading covariant Lyapunov vectors: directions that grow or decay at exactly their exponent's rate.

    Forwards, J_t Q_t = Q_(t+1) R_t. Back again, C_t = R_t^-1 C_(t+1) D_t with columns of length 1. Then V_t = Q_t C_t. Frames
    are kept at every sqrt(T)-th step and computed again in between, which saves memory.

    Args:
        system, inputs, state, carried, steps, linearization, settle, dtype, seed, check, progress: as for `lyapunov.spectrum`,
            with sequences of one length. Layers of a stack are one frame.
        k: how many vectors; None: all.
        align, align_back: steps at the start, and at the end, in which frames and combinations find their directions. None: a
            quarter of the steps after settling. Vectors of close exponents need more steps: see `disagreement`.
        keep: of how many counted steps the vectors themselves are kept.

    Returns:
        `CovariantVectors`.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: as `lyapunov.spectrum`, and for k beyond the directions that are not
            lost.

    Example:
        >>> gru = torch.nn.GRU(2, 6, batch_first=True)
        >>> vectors = lyapunov.covariant_vectors(gru, torch.randn(3, 80, 2), k=2, settle=10)
        >>> round(vectors.participation.sum(0)[0].item(), 6)
        1.0

    References:
        Ginelli et al. 2007.
    """
    asked = problem(system, inputs, state=state, carried=carried, steps=steps, linearization=linearization)
    with settled(asked, dtype, settle=settle, check=check, equal=True) as along:
        why = f" (the system has {along.size} exponents)"
        count = _checks.whole_number(along.size if k is None else k, "k", least=1, most=along.size, why=why)
        first = along.start + along.aligned(align)
        last = along.stop - along.aligned(align_back, "align_back")
        if first >= last:
            raise InvalidInput(
                f"Expected `inputs` longer than settle + align + align_back, got {along.stop} steps for {along.start} + "
                f"{first - along.start} + {along.stop - last}. Pass longer sequences, or smaller transients."
            )
        kept = _checks.whole_number(keep, "keep", least=0, most=last - first, why=" (the counted steps)")
        with progress_bar("Covariant vectors", 2 * (along.stop - along.start), enabled=progress) as advance:
            return _found(along, count, range(first, last), kept, seed, advance)


def _found(along: Trajectory, k: int, counted: range, kept: int, seed: int, advance: Callable[[int], None]) -> CovariantVectors:
    """Sweep forward to store frames and triangles, then back through the triangles to the vectors."""
    batch, there = along.inputs.batch, along.stop - along.start
    trajectory = along.checkpointed(k, seed)
    history, end = _History(counted, batch, k), along.like
    met: list[Frame] = []
    for segment in require_directions(trajectory.forward()):
        history.add(segment)
        met += segment.frames_at(counted.start)
        end = segment.frames[-1]
        advance(segment.stop - along.start)
    other = along.checkpointed(k, seed + 1).forward()
    before = subspaces_apart(met[0], next(frame for segment in other for frame in segment.frames_at(counted.start)))
    del other
    combinations, sums = Combinations(end, seed), _Sums(along, counted, kept)
    for segment in trajectory.backward():
        combinations.converge(segment, counted.stop)
        steps = range(max(counted.start - segment.first, 0), min(counted.stop - segment.first, segment.steps))
        if len(steps):
            sums.add(combinations.pull_back(segment, steps), steps)
        advance(there + along.stop - segment.first)
        if segment.first <= counted.start:
            break
    return sums.result(history, torch.maximum(before, combinations.disagreement))


class _History:
    """Growth of the frames over the counted steps, in a bounded number of bins."""

    def __init__(self, counted: range, batch: int, k: int) -> None:
        self._counted, self._bins = counted, min(len(counted), MAX_BINS)
        self.growth = torch.zeros(self._bins, batch, k, dtype=torch.float64)
        self.steps = torch.zeros(self._bins, batch, dtype=torch.float64)

    def add(self, segment: Segment) -> None:
        for t, factor in enumerate(segment.factors, segment.first):
            if t in self._counted:
                at = (t - self._counted.start) * self._bins // len(self._counted)
                self.growth[at] += factor.diagonal(dim1=-2, dim2=-1).log().double().cpu()
                self.steps[at] += 1


class _Sums:
    """What is asked of the vectors, summed over the counted steps of all sequences as they come, the last first."""

    def __init__(self, along: Trajectory, counted: range, kept: int) -> None:
        self._along, self._counted, self._kept = along, counted, kept
        self._growth, self._participation, self._angles = (along.like.new_zeros(()) for _ in range(3))
        self._smallest = along.like.new_tensor(torch.pi / 2)
        self._path_fractions: dict[str, Tensor] = {}
        self._vectors: list[Tensor] = []
        self._kept_growth: list[Tensor] = []

    def add(self, stretch: Stretch, steps: range) -> None:
        """Of some steps of a segment, each with the state before it; one at a time, for frames may be large."""
        for at, growth, before, after in zip(steps, stretch.growth, stretch.vectors[:-1], stretch.vectors[1:], strict=True):
            angles = (before.mT @ before).abs().clamp(max=1.0).acos()
            self._growth = self._growth + growth.sum(0)
            self._participation = self._participation + before.square().sum(0)
            self._angles = self._angles + angles.sum(0)
            self._smallest = torch.minimum(self._smallest, angles.amin(0))
            for name, fraction in self._shared(stretch.segment, at, before, after, growth).items():
                self._path_fractions[name] = self._path_fractions[name] + fraction if name in self._path_fractions else fraction
        self._keep(stretch, stretch.segment.first + steps.start)

    def _shared(self, segment: Segment, at: int, before: Frame, after: Frame, growth: Tensor) -> dict[str, Tensor]:
        """(k,) of every path, summed over sequences."""
        system = self._along.system
        if type(system).paths is System.paths:  # one path, which carries all
            return {"recurrence": torch.full_like(growth[0], len(growth))}
        moved = system.paths(segment.states[at], segment.inputs[at], (before,))
        return {name: ((after * part).sum(1) * (-growth).exp()).sum(0) for name, (part,) in moved.items()}

    def _keep(self, stretch: Stretch, first: int) -> None:
        """The vectors of the first steps that are counted; those of a later segment are already there."""
        there = min(max(self._counted.start + self._kept - first, 0), len(stretch.growth))
        if there or (not self._vectors and first == self._counted.start):
            ends = stretch.vectors[: there + (0 if self._vectors else 1)]
            self._vectors.insert(0, ends)
            self._kept_growth.insert(0, stretch.growth[:there])

    def result(self, history: _History, disagreement: Tensor) -> CovariantVectors:
        """Means over all that was added."""
        total, system = len(self._counted) * self._along.inputs.batch, self._along.system
        found, exponents = standard_errors(history.growth, history.steps), history.growth.sum((0, 1)) / history.steps.sum()
        state = unsettled(self._along.start, self._along.distance(), float(exponents[0]))
        return CovariantVectors(
            exponents=exponents,
            standard_errors=found.standard_errors,
            growth_rates=_on_cpu(self._growth / total),
            participation=_on_cpu(self._participation / total),
            angles=_on_cpu(self._angles / total),
            smallest_angles=_on_cpu(self._smallest),
            paths=tuple(self._path_fractions),
            path_fractions=_on_cpu(torch.stack(list(self._path_fractions.values())) / total),
            disagreement=_on_cpu(disagreement),
            vectors=_on_cpu(torch.cat(self._vectors)),
            growth=_on_cpu(torch.cat(self._kept_growth)),
            first=self._counted.start,
            count=len(self._counted),
            labels=system.labels,
            system=system.name,
            verdict=Verdict((*state, *_undetermined(_on_cpu(disagreement)), *too_few(history.growth, history.steps))),
        )


def _undetermined(disagreement: Exponents) -> list[Finding]:
    """Vectors that other random starts would have turned."""
    wrong = (torch.nonzero(~(disagreement <= CONVERGED)).flatten() + 1).tolist()
    if not wrong:
        return []
    named = ", ".join(map(str, wrong[:_SHOWN])) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
    remedy = "Pass longer align and align_back; where exponents are equal, nothing determines single vectors."
    message = f"other random starts turn vector{'s' * (len(wrong) > 1)} {named} by up to {float(disagreement.max()):.2g}."
    return [Finding("too short", f"{message} {remedy}")]


def _on_cpu(values: Tensor) -> Tensor:
    return values.double().cpu()
