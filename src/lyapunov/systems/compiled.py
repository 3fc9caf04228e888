"""A system whose step and push are compiled for one run: machine code in the place of Python between its operations."""

import copy
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lyapunov._progress import progress_bar
from lyapunov._shapes import Frames, Input, State
from lyapunov._trees import tree_flatten, tree_unflatten
from lyapunov._warning import warn
from lyapunov.systems.step import AT_ONCE, Step
from lyapunov.systems.system import System

if TYPE_CHECKING:
    from torch._inductor.utils import InputType
    from torch.fx import GraphModule

Moved = tuple[State, Tensor | None]
"""The next state, and frames pushed, column by column; None where there were none."""
Code = Callable[..., Sequence[Tensor]]
PAYS_FROM = 30.0
"""Seconds that a run would take without compiling, from which on it is compiled unasked: compiling takes 5 to 20."""
LEAST_STEPS = 2000
"""Steps of a run below which that is not even measured: an operation takes as long to compile as to be made 500 times."""
LEAST_GAIN = 1.5
"""How many times as fast compiled steps must be to be used unasked: those that wait for large products are no faster."""
MOST_OPERATIONS = 10_000
"""Of a graph: more would take minutes to compile."""
ROUNDING = 1e3
"""Units in the last place of the largest entry by which compiled numbers may differ from those of the step itself."""
CHECKED_CALLS = 2
"""Calls of each graph that are compared with the step itself."""
MOST_GRAPHS = 4
"""Forms of arguments that are compiled for; others go the ordinary way."""
MOST_KEPT = 64
"""Graphs whose machine code is kept for later runs of the same operations."""
_MADE: dict[tuple[object, ...], Code] = {}
_OPTIONS = {"cpp.min_chunk_size": 2**15}
"""Entries for each thread at the least, as in PyTorch's own operations."""


def compiled(
    system: System,
    state: State,
    inputs: Sequence[Input],
    *,
    columns: int,
    steps: int,
    wanted: bool | None,
    progress: bool | None = False,
) -> System:
    """The system with `step` and `push` compiled, where that was asked for or pays; else the system itself.

    It is for one run, within `system.running()`: what its functions refer to is looked up now. `columns`: as many of a frame
    are pushed at once. `inputs`: those of the first steps, on which the numbers are compared. `steps`: of the whole run.
    `wanted`: None where it is to be found out whether compiling pays. What cannot be compiled runs as it is, and a warning
    says so if it was asked for.
    """
    if wanted is False:
        return system
    first = (inputs, columns, progress)
    if wanted is None:
        return _where_it_pays(system, state, steps, *first)
    fast, why = _tried(system, state, *first)
    if why is not None:
        warn(f"Expected a step that can be compiled, got {why}. The run goes on without; leave `compile` out.")
    return fast


def _where_it_pays(
    system: System, state: State, steps: int, inputs: Sequence[Input], columns: int, progress: bool | None
) -> System:
    """Compiled where the run is long and on the CPU, the system can be compiled, and is much faster then."""
    if steps < LEAST_STEPS or _excluded(system) is not None or torch.device(system.device).type != "cpu":
        return system
    itself = _seconds(system, state, inputs[0], columns)
    if steps * itself < PAYS_FROM or lacks_compiler():
        return system
    fast, _ = _tried(system, state, inputs, columns, progress)
    return fast if fast is not system and LEAST_GAIN * _seconds(fast, state, inputs[0], columns) < itself else system


def _tried(
    system: System, state: State, inputs: Sequence[Input], columns: int, progress: bool | None
) -> tuple[System, str | None]:
    """The compiled system; or the system itself, and what it is that cannot be compiled."""
    why = _excluded(system)
    if why is not None:
        return system, why
    graphs = Graphs(system, columns)
    with progress_bar("Compiling the step", 2, enabled=progress) as advance:
        graphs.prepare(state, inputs, advance)
    return (graphs.system(), None) if graphs.failed is None else (system, graphs.failed)


class Graphs:
    """Step and push of a system as graphs of tensor operations, each compiled for the form of the arguments it first meets.

    The first calls are compared with the system itself. Where anything fails or differs, the system itself does the rest.
    """

    def __init__(self, system: System, columns: int) -> None:
        self._system = system
        self._columns = columns
        self._weights = system.call.weights if isinstance(system, Step) else {}
        self._made: dict[tuple[object, ...], _Graph] = {}
        self.failed: str | None = None
        self._twin: System | None = None

    def system(self) -> System:
        """The same system with these as its methods; its `compiled` is False again once one of them fails."""
        self._twin = copy.copy(self._system)
        vars(self._twin).update(step=self.step, push=self.push, compiled=True)
        return self._twin

    def prepare(self, state: State, inputs: Sequence[Input], advance: Callable[[int], None]) -> None:
        """Compiles both along the first steps."""
        vector = self._system.vectors(state)[0]
        self._columns = min(self._columns, max(1, AT_ONCE // max(vector.numel(), 1)))
        generator = torch.Generator().manual_seed(20203)
        shape = (len(vector), self._columns, vector.shape[-1])
        columns = torch.randn(shape, dtype=torch.float64, generator=generator).to(vector)
        for x in inputs:
            new = self.step(state, x)
            advance(1)
            self.push(state, x, (columns.mT,))
            advance(2)
            state = new

    def step(self, state: State, x: Input) -> State:
        """The next state, by machine code."""
        return self._moved(state, x, None)[0]

    def push(self, state: State, x: Input, frames: Frames) -> tuple[State, Frames]:
        """The next state and J @ frame: always the same number of columns, for which there is one graph; zeros are added."""
        if not self._usable():
            return self._system.push(state, x, frames)
        columns, new, moved = frames[0].mT, state, []
        for part in columns.split(self._columns, dim=1):
            missing = self._columns - part.shape[1]
            filled = torch.cat([part, part.new_zeros(len(part), missing, part.shape[2])], dim=1) if missing else part
            new, pushed = self._moved(state, x, filled)
            moved += [] if pushed is None else [pushed[:, : part.shape[1]] if missing else pushed]
        return new, ((moved[0] if len(moved) == 1 else torch.cat(moved, dim=1)).mT,)

    def _usable(self) -> bool:
        """Not where something differentiates through it: a graph is of plain numbers."""
        active = torch._C._functorch.peek_interpreter_stack
        return self.failed is None and not torch.is_grad_enabled() and active() is None

    def _moved(self, state: State, x: Input, columns: Tensor | None) -> Moved:
        if self._usable():
            try:
                return self._compiled(state, x, columns)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # of whatever kind: the system itself raises what is the user's
                self._fail(f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0].rstrip(' .')}")
        return self._plain(state, x, columns)

    def _plain(self, state: State, x: Input, columns: Tensor | None) -> Moved:
        if columns is None:
            return self._system.step(state, x), None
        new, (moved,) = self._system.push(state, x, (columns.mT,))
        return new, moved.mT

    def _compiled(self, state: State, x: Input, columns: Tensor | None) -> Moved:
        leaves = [*_leaves(state), *_leaves(x), columns]
        key = tuple(leaf.shape if isinstance(leaf, Tensor) else None for leaf in leaves)
        graph = self._made.get(key)
        if graph is None:
            if len(self._made) == MOST_GRAPHS:
                return self._plain(state, x, columns)
            graph = self._made[key] = _Graph(self._with_weights, state, x, columns, self._weights)
        found = graph(leaves)
        if graph.calls > CHECKED_CALLS:
            return found
        expected = self._plain(state, x, columns)
        if not _agree(found, expected, state):
            self._fail("one whose compiled form gives other numbers than it does itself")
        return expected

    def _fail(self, why: str) -> None:
        self.failed = why
        self._made.clear()
        if self._twin is not None:
            vars(self._twin)["compiled"] = False

    def _with_weights(self, weights: dict[str, Tensor], state: State, x: Input, columns: Tensor | None) -> Moved:
        lent = self._system.call.lending(weights) if isinstance(self._system, Step) and weights else nullcontext()
        with lent:
            return self._plain(state, x, columns)


class _Graph:
    """`function(weights, state, x, columns)`, compiled for tensors of one form: whatever else is among them is fixed."""

    def __init__(
        self, function: Callable[..., Moved], state: State, x: Input, columns: Tensor | None, weights: dict[str, Tensor]
    ) -> None:
        self.calls, self._form = 0, None if isinstance(state, Tensor) else tree_flatten(state)[1]
        self._weights = [_plainly_laid_out(weight) for weight in weights.values()]
        leaves, form = tree_flatten((state, x, columns))

        def flat(*tensors: Tensor) -> list[object]:
            given = iter(tensors)
            filled = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            new, moved = function(dict(zip(weights, given, strict=True)), *tree_unflatten(filled, form))
            if tree_flatten(new)[1] != tree_flatten(state)[1]:
                raise ValueError("a state of another structure")
            return [*_leaves(new), *([] if moved is None else [moved])]

        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            self._run = _machine_code(flat, self._given(leaves))

    def _given(self, leaves: Sequence[object]) -> list[Tensor]:
        return [*(_plainly_laid_out(leaf) for leaf in leaves if isinstance(leaf, Tensor)), *self._weights]

    def __call__(self, leaves: Sequence[object]) -> Moved:
        self.calls += 1
        found = list(self._run(*self._given(leaves)))
        moved = None if leaves[-1] is None else found.pop()
        return found[0] if self._form is None else tree_unflatten(found, self._form), moved


def _leaves(tree: object) -> list[object]:
    """Of a tensor quickly: this is done at every step."""
    return [tree] if tree is None or isinstance(tree, Tensor) else tree_flatten(tree)[0]


def _plainly_laid_out(tensor: Tensor) -> Tensor:
    """In the one order of its entries in memory for which machine code is made."""
    return (tensor.detach() if tensor.requires_grad else tensor).contiguous()


def _machine_code(function: Callable[..., list[object]], tensors: list[Tensor]) -> Code:
    """The operations that the function makes with such tensors, whose values it must not ask for, by PyTorch's compiler."""
    import torch._inductor as inductor  # takes seconds, and nothing else needs it
    from torch.fx.experimental.proxy_tensor import make_fx

    traced = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
    if len(traced.graph.nodes) > MOST_OPERATIONS:
        raise ValueError(f"a step of {len(traced.graph.nodes)} operations, which would take minutes to compile")
    others = _as_arguments(traced)
    given = [*tensors, *others]
    key = traced.code, *((one.shape, one.stride(), one.dtype, one.device) for one in given), torch.get_num_threads()
    made = _MADE.get(key)
    if made is None:
        options = _OPTIONS if tensors[0].device.type == "cpu" else {}
        examples: list[InputType] = [*given]
        made = inductor.compile(traced, examples, options=options)
        if len(_MADE) == MOST_KEPT:
            _MADE.clear()
        _MADE[key] = made
    return partial(_with_others, made, others)


def _with_others(made: Code, others: list[Tensor], *given: Tensor) -> Sequence[Tensor]:
    return made(*given, *others)


def _as_arguments(traced: "GraphModule") -> list[Tensor]:
    """Tensors that a function refers to become arguments of its graph, which then says by itself what is computed."""
    found = {}
    last = [node for node in traced.graph.nodes if node.op == "placeholder"][-1]
    for node in [node for node in traced.graph.nodes if node.op == "get_attr"]:
        if node.target not in found:
            with traced.graph.inserting_after(last):
                last = traced.graph.placeholder(f"other_{len(found)}")
            last.meta.update(node.meta)
            found[node.target] = last
        node.replace_all_uses_with(found[node.target])
        traced.graph.erase_node(node)
    traced.recompile()
    others = [getattr(traced, name) for name in found]
    if not all(type(one) in (Tensor, torch.nn.Parameter) for one in others):
        raise TypeError("a step that refers to more than tensors and numbers")
    return [one.detach() for one in others]


def _agree(found: Moved, expected: Moved, state: State) -> bool:
    """To rounding, relative to the largest entry of each tensor; a state's own entries count, as it may nearly cancel."""
    one, two = tree_flatten(found), tree_flatten(expected)
    if one[1] != two[1]:
        return False
    size = max((_largest(leaf) for leaf in tree_flatten(state)[0]), default=0.0)
    return all(_same(*pair, size) for pair in zip(one[0], two[0], strict=True) if pair[0] is not None)


def _same(found: Tensor, expected: Tensor, size: float) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if not (found.is_floating_point() or found.is_complex()):
        return torch.equal(found, expected)
    near = ROUNDING * torch.finfo(found.dtype).eps * max(_largest(expected), size)
    return torch.allclose(found, expected, rtol=0, atol=near, equal_nan=True)


def _largest(leaf: Tensor) -> float:
    return float(leaf.abs().nan_to_num(0.0, 0.0, 0.0).max()) if leaf.numel() else 0.0


def _excluded(system: System) -> str | None:
    """What speaks against compiling a system at all, whatever its operations are."""
    if type(system).trace is not System.trace or system.triangular:
        return f"{system.name}, whose closed form is fast as it is"
    if len(system.block_sizes) > 1 or system.grows:
        return f"{system.name}, whose frames or state are not of one size"
    if torch.device(system.device).type not in ("cpu", "cuda"):
        return f"{system.name} on {system.device}"
    return None


def _seconds(system: System, state: State, x: Input, columns: int) -> float:
    """What a step takes with a frame of so many columns."""
    (vector,) = system.vectors(state)
    frame = torch.ones(len(vector), columns, vector.shape[-1], dtype=vector.dtype, device=vector.device).mT
    took = []
    for _ in range(3):
        start = time.perf_counter()
        system.push(state, x, (frame,))
        took.append(time.perf_counter() - start)
    return min(took)


def lacks_compiler() -> bool:
    """Whether nothing is there that turns graphs into machine code for the CPU."""
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
    except Exception:  # releases of PyTorch differ in what they raise
        return True
    return False
