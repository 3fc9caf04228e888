"""What every analysis along a trajectory starts from: a system with one frame, its inputs, and a state that has settled."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import tree_map
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake import Problem, SystemInputs, recognize
from lyapunov.systems import System, TokenStep, check_contract, total_size
from lyapunov.tangent import CheckpointedTrajectory, TangentPropagator, Workers, random_frame, settled_state


@dataclass(frozen=True)
class Prepared:
    """A system on its inputs. `state`: after `settle` steps; `stop`: the step after the last one.

    `given`: whether the caller said how many steps to settle for.
    """

    problem: Problem
    state: State
    settle: int
    stop: int
    workers: Workers
    given: bool

    @property
    def system(self) -> System:
        """The system whose steps and Jacobians the analysis uses: a layer, a stack, or the user's step."""
        return self.problem.system

    @property
    def size(self) -> int:
        """Rows of the frame."""
        return total_size(self.problem.system)

    @property
    def like(self) -> Tensor:
        """Of the dtype and on the device of the run."""
        return self.system.vectors(self.state)[0].new_empty(0)

    @torch.no_grad()
    def distance(self) -> float | None:
        """How far a copy of the state from another start still is after settling, relative to where it started.

        The other start is where the state gets to, the next sequence's where there are several. None where nothing was
        discarded, because the caller said so; else nothing found is a state that need not settle.
        """
        if self.settle == 0:
            return None if self.given else 0.0
        system, start = self.system, self.problem.state
        turned = tree_map(lambda part: part.roll(1, dims=0), system.vectors(self.state))
        other = system.with_vectors(start, turned)
        first = _distance(system, start, other)
        propagator = TangentPropagator(system, self.problem.sequences, self.workers)
        for t in range(self.settle):
            other = propagator.step(other, t)
        return _distance(system, self.state, other) / first if first > 0 else 0.0

    def trajectory(self, k: int | None, seed: int, stop: int | None = None) -> CheckpointedTrajectory:
        """Of the state, and of a random frame of k columns with it (None: of the state alone), to `stop` (None: the last)."""
        inputs, frame = self.problem.sequences, None
        seed = _checks.whole_number(seed, "seed", least=0, most=2**62)
        if k is not None:
            frame = random_frame(self.size, k, batch=inputs.batch, seed=seed, block=0, like=self.like)
        return CheckpointedTrajectory(self.system, inputs, self.state, range(self.settle, stop or self.stop), frame=frame)

    def aligned(self, align: int | None, name: str = "align", *, most: int | None = None) -> int:
        """Steps for a frame to align in, checked, with at least one left to count.

        None: a quarter of the steps there are after settling, `most` at the most.
        """
        there = self.stop - self.settle
        found = min(there // 4, there if most is None else most) if align is None else align
        found = _checks.whole_number(found, name, least=0)
        if found < there:
            return found
        raise InvalidInput(
            f"Expected `inputs` longer than settle + {name} = {self.settle} + {found}, got {self.stop} steps: none is left to "
            f"count. Pass longer sequences, or a smaller settle and {name}."
        )


@contextmanager
def prepared(
    system: object, system_inputs: SystemInputs, *, settle: int | None, check: bool, equal: bool = False, graph: bool = False
) -> Generator[Prepared, None, None]:
    """Within it, the system is running. `settle` None: found in the data, within a quarter of the inputs.

    `equal`: sequences must be of one length. `graph`: weights keep their way to the user's parameters.
    Raises InvalidInput, Unsupported, BadSystem.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(graph):
        problem = recognize(system, system_inputs)
        _one_frame(problem)
        if equal and problem.sequences.lengths is not None:
            raise InvalidInput("Expected sequences of one length here, got `lengths`. Pass those of one length, or cut them.")
        running = problem.system.running()
        threads = Workers.suited_to(problem.system, problem.sequences.batch)
        with running, torch.autocast(problem.system.device.type, enabled=False), threads as workers:
            with torch.no_grad():
                if _checks.flag(check, "check"):
                    check_contract(problem.system, problem.state, problem.sequences.at(0), problem.sequences.at(1))
                settled, state = _settled(problem, settle, workers)
            steps = problem.sequences.steps + (settled if problem.sequences.values is None else 0)
            yield Prepared(problem, state, settled, steps, workers, settle is not None)


def _distance(system: System, one: State, other: State) -> float:
    parts = zip(system.vectors(one), system.vectors(other), strict=True)
    return sum(float((a - b).double().square().sum()) for a, b in parts) ** 0.5


def _one_frame(problem: Problem) -> None:
    if isinstance(problem.system, TokenStep):
        raise Unsupported(
            "Expected a Loop as a whole here, got one by token. Leave by_token out; `lyapunov.spectrum` takes it by token."
        )
    if len(problem.system.block_sizes) > 1:
        raise Unsupported(
            "Expected one core whose layers drive each other as they are, got several with something between them. Pick one: "
            "captured.core(name); or write a step of all of them as step(state, x), and pass that."
        )


def _settled(problem: Problem, settle: int | None, workers: Workers) -> tuple[int, State]:
    inputs = problem.sequences
    steps = inputs.steps if inputs.lengths is None else int(inputs.lengths.median())
    given = None if settle is None else _checks.whole_number(settle, "settle", least=0)
    if given is not None and inputs.values is not None and given >= inputs.steps:
        raise InvalidInput(
            f"Expected `inputs` longer than settle = {given}, got {inputs.steps} steps. Pass longer sequences, or a smaller "
            "settle."
        )
    return settled_state(problem.system, inputs, problem.state, given, steps // 4, workers)
