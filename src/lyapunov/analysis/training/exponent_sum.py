"""Sums of leading exponents that one can differentiate."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov.analysis.training.adjoint import Adjoint, Sensitivity, leaves_of
from lyapunov.analysis.trajectory import Trajectory, settled
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake import problem, require_full
from lyapunov.systems import System
from lyapunov.tangent import CheckpointedTrajectory, Segment, Workers


def exponent_sum(
    system: object,
    inputs: object = None,
    k: int | Sequence[int] | None = None,
    *,
    state: object = None,
    carried: object = None,
    steps: int | None = None,
    lengths: object = None,
    settle: int = 0,
    align: int = 0,
    fixed_trajectory: bool = False,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    check: bool = True,
) -> Tensor:
    """The sum of the k leading exponents, nats per step, as a scalar that one can differentiate by the weights.

    With P = J_T ... J_1 Q_0, Lambda = 1/2 ln det P^T P is the growth of the volume that the frame spans; this is Lambda / T,
    over all steps of all sequences. Its gradient is exact, and needs no derivative of a QR factorization: with Q_t what a QR
    makes of J_t Q_(t-1) on the way forwards and, back again, C_T = Q_T and C_(t-1) what it makes of J_t^T C_t,

        d Lambda = sum_t tr [(C_t^T J_t Q_(t-1))^-1 C_t^T dJ_t Q_(t-1)],

    dJ_t by the weights and through the state. Frames are kept at every sqrt(T)-th step and computed again in between.

    There is no verdict: a second state and a second frame at every training step would cost more than the gradient. With settle
    and align left at 0 the value is finite-time: of these steps, from this state and these frames. To know whether it is that
    of the exponents, ask `lyapunov.spectrum(system, inputs, k=k, coupled=True)` once: it has a verdict, and finds settle and
    align.

    Args:
        system, inputs, state, carried, steps, lengths: as for `lyapunov.spectrum`. Layers of a stack are one frame.
        k: how many leading exponents. Several numbers, ascending, give as many sums from the same sweeps: the second exponent
            is the sum of two less that of one. None: all of them, from ln |det J| where the system has it.
        settle: steps that the state makes first; the state that they reach is held fixed.
        align: steps that state and frame make then. They are not counted, but have their part in the gradient.
        fixed_trajectory: all states are held fixed, and only the Jacobians' own dependence on the weights is differentiated.
            Where the largest exponent is positive, the trajectory's part grows like exp(lambda T).
        dtype: of the computation.
        seed: of the random frames.
        check: test the system's promises first.

    Returns:
        A scalar tensor, or (len(k),). Gradients reach what the weights were made from (parametrizations, other networks), and
        what the injected input of a `lyapunov.Loop` was made from; not inputs nor state. There are no second derivatives.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: as `lyapunov.spectrum`.

    Example:
        >>> rnn = torch.nn.RNN(2, 6, batch_first=True)
        >>> lyapunov.exponent_sum(rnn, torch.randn(3, 20, 2), k=2).backward()
        >>> rnn.weight_hh_l0.grad is not None
        True

    References:
        docs/theory.md, from the derivative of ln det.
    """
    asked = require_full(problem(system, inputs, state=state, carried=carried, steps=steps, lengths=lengths))
    _checks.flag(fixed_trajectory, "fixed_trajectory")
    differentiated = torch.is_grad_enabled()
    with settled(asked, dtype, settle=settle, check=check, graph=True) as along:
        run = _Run.of(along, _sums(k, along.size), along.aligned(align), seed, fixed=fixed_trajectory)
        weights = run.weights() if differentiated else []
        if weights and not along.system.differentiable:
            raise Unsupported(
                f"Expected a system that reverse mode can follow, got {along.system.name}, whose step writes into its caches. "
                "Take the value alone, within torch.no_grad()."
            )
        with torch.no_grad():
            value = run.value()
    if weights and not bool(torch.isfinite(value).all()):
        raise InvalidInput(
            f"Expected sums of exponents that have a derivative, got {value.tolist()} for k = {list(run.sums)}: a direction "
            "collapses, or is too small to compute next to the others. Pass a smaller k."
        )
    if weights:
        value = _Grown.apply(run, value, *weights)
    return value if isinstance(k, Sequence) else value[0]


def _sums(k: int | Sequence[int] | None, size: int) -> tuple[int, ...]:
    asked = tuple(k) if isinstance(k, Sequence) else (size if k is None else k,)
    _checks.require_nonempty(asked, "numbers of exponents as `k`", "k=(1, 2, 4)")
    why = f" (the system has {size} exponents)"
    return _checks.ascending([_checks.whole_number(one, "k", least=1, most=size, why=why) for one in asked], "k")


class _Grown(torch.autograd.Function):
    """The value as it was computed; its gradient by a sweep backwards, once it is asked for."""

    @staticmethod
    def forward(ctx: Any, run: "_Run", value: Tensor, *weights: Tensor) -> Tensor:
        ctx.run, ctx.weights, ctx.versions = run, weights, [weight._version for weight in weights]
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore[bad-override]
        if [weight._version for weight in ctx.weights] != ctx.versions:
            raise RuntimeError(
                "Expected weights as they were when `exponent_sum` was computed, got changed ones. Call backward() before the "
                "optimizer's step."
            )
        return None, None, *ctx.run.gradient(grad_outputs[0], ctx.weights)


@dataclass
class _Run:
    """The trajectory of state and frame, and what of it is counted: sums over `sums` columns, from step `start` on."""

    along: Trajectory
    trajectory: CheckpointedTrajectory
    sums: tuple[int, ...]
    start: int
    fixed: bool
    counted: float
    by_volume: bool
    """From ln |det J|, without a frame."""
    aligned: Tensor | None = None
    last_frame: Tensor | None = None
    """The frames before the first counted step, and after the last one."""

    @classmethod
    def of(cls, along: Trajectory, sums: tuple[int, ...], align: int, seed: int, *, fixed: bool) -> "_Run":
        inputs, start = along.inputs, along.start + align
        by_volume = along.system.volume_cost != "none" and sums == (along.size,)
        stops = torch.full((inputs.batch,), along.stop) if inputs.lengths is None else inputs.lengths
        trajectory = along.checkpointed(None if by_volume else sums[-1], seed)
        return cls(along, trajectory, sums, start, fixed, float((stops - start).clamp(min=0).sum()), by_volume)

    def weights(self) -> list[Tensor]:
        """The leaves that the first step depends on, and the parameters of all modules that the system calls upon."""
        frame = torch.ones(self.along.inputs.batch, self.along.size, 1).to(self.along.like)
        met = leaves_of(self.along.system.push(self.along.state, self.along.inputs.at(self.along.start), (frame,)))
        held = [weight for module in self.along.system.modules for weight in module.parameters() if weight.requires_grad]
        return list({id(weight): weight for weight in (*met, *held)}.values())

    def value(self) -> Tensor:
        """(sums,), by a sweep forwards."""
        total = self.along.like.new_zeros(len(self.sums))
        for segment in self.trajectory.forward():
            total = total + self._grown(segment)
            for frame in segment.frames_at(self.start):
                self.aligned = frame
            self.last_frame = segment.frames[-1] if segment.frames else None
        return total / self.counted

    def gradient(self, cotangents: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        """By the weights, of the sums times `cotangents` (sums,): a sweep backwards."""
        system, inputs = self.along.system, self.along.inputs
        shares = cotangents / self.counted
        with ExitStack() as around:
            without_autocast = torch.autocast(system.device.type, enabled=False)
            for context in (torch.inference_mode(False), torch.enable_grad(), without_autocast, system.running()):
                around.enter_context(context)
            around.enter_context(Workers.suited_to(system, inputs.batch))
            adjoint = Adjoint(system, inputs, weights, fixed=self.fixed)
            for segment, sensitivity in self._backwards(shares):
                volumes = self._counted(segment) * shares[0] if self.by_volume else None
                adjoint.pull_back(segment, sensitivity, volumes)
        return adjoint.gradients

    def _backwards(self, shares: Tensor) -> Iterator[tuple[Segment, Tensor | None]]:
        """Segments, the last one first, and how the growth depends on every J_t Q_(t-1) of theirs: (steps x batch, n, k)."""
        ahead = [] if self.last_frame is None else [(self.along.stop, Sensitivity(self.last_frame, self.sums, shares))]
        if self.aligned is not None and self.start > self.along.start:
            ahead.append((self.start, Sensitivity(self.aligned, self.sums, -shares)))
        for segment in self.trajectory.backward():
            found = None
            for stop, one in ahead:
                steps = min(stop - segment.first, segment.steps)
                if steps > 0:
                    with torch.no_grad():
                        part = one.pull_back(segment, steps)
                    found = part if found is None else torch.cat([found[: len(part)] + part, found[len(part) :]])
            made = torch.cat([self.trajectory.running(t) for t in range(segment.first, segment.stop)])
            yield segment, None if found is None else found * made.view(-1, 1, 1)

    def _grown(self, segment: Segment) -> Tensor:
        """(sums,): over the counted steps of all sequences."""
        counted = self._counted(segment)
        if self.by_volume:
            return torch.where(counted > 0, _volumes(self.along.system, segment), 0.0).sum().unsqueeze(0)
        grown = torch.stack([factor.diagonal(dim1=-2, dim2=-1).log() for factor in segment.factors])
        grown = grown.masked_fill(segment.vanished, -math.inf).flatten(0, 1)
        columns = [one - 1 for one in self.sums]
        return torch.where(counted.unsqueeze(-1) > 0, grown.cumsum(-1), 0.0).sum(0)[columns]

    def _counted(self, segment: Segment) -> Tensor:
        """(steps x batch,): 1 for steps that are counted and made, else 0."""
        made = [self.trajectory.running(t) & (t >= self.start) for t in range(segment.first, segment.stop)]
        return torch.cat(made).to(self.along.like)


def _volumes(system: System, segment: Segment) -> Tensor:
    """(steps x batch,): ln |det J|."""
    volumes = (system.log_volume(state, x) for state, x in zip(segment.states, segment.inputs, strict=False))
    return torch.cat([volume for volume in volumes if volume is not None])
