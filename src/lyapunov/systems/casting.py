"""A user's function with the weights it calls upon cast to the run's dtype, and its modules as they were afterwards."""

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from lyapunov._trees import tree_map
from lyapunov.systems.faults import changed_in_place, in_new_containers, tensors_of, versions_of


def modules_reached(function: object) -> tuple[nn.Module, ...]:
    """The outermost modules that a function calls upon, each once.

    Those are: the function itself where it is a module or a method of one, and what a plain function finds in its closure,
    its defaults and the globals that it names, an object in its attributes, a `partial` in its arguments; in lists and
    dictionaries as well, and through functions of the same file that are found there.
    """
    return tuple(_modules(function, set()))


class CastCall:
    """`function(*args)` with the weights of every module it reaches cast for the time of the call.

    The function gets containers of its own (lists, dictionaries, what a pytree may hold), which it may refill. The tensors in
    them are not its own: changing one in place raises `BadSystem`. The first call in a run, which finds that, gets copies.
    """

    def __init__(self, function: Callable[..., object], dtype: torch.dtype, device: torch.device) -> None:
        function = getattr(function, "_torchdynamo_orig_callable", function)
        self.modules = modules_reached(function)
        self._held, self._dtype, self._device = _Held(function, self.modules), dtype, device
        self._cast: dict[str, Tensor] | None = None
        self._tried = False

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Around a run: the weights as they are now, cast once for all its calls; see `preserving_modules`."""
        with preserving_modules(*self.modules):
            self._cast, self._tried = self._as_they_are(), False
            try:
                yield
            finally:
                self._cast = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """Those that calls of the run in progress use, cast, by their names; none outside of a run."""
        return {} if self._cast is None or not self.modules else self._cast

    @contextmanager
    def lending(self, weights: dict[str, Tensor]) -> Generator[None, None, None]:
        """Within it, calls use these in the place of `weights`."""
        before, self._cast = self._cast, weights
        try:
            yield
        finally:
            self._cast = before

    def _as_they_are(self) -> dict[str, Tensor]:
        weights = {name: cast_tensor(weight, self._dtype, self._device) for name, weight in self._held.named_parameters()}
        # A step may write into its buffers: into copies, then.
        buffers = {name: cast_tensor(buffer, self._dtype, self._device).clone() for name, buffer in self._held.named_buffers()}
        return {**weights, **buffers}

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """The function's own result."""
        args = tuple(map(in_new_containers, args)) if self._tried else tree_map(_cloned, args)
        self._tried = True
        given = [tensor for value in args for tensor in tensors_of(value)]
        before = versions_of(given)
        if self.modules:
            cast = self._as_they_are() if self._cast is None else self._cast
            new = functional_call(self._held, cast, args, kwargs)
        else:
            new = self._held.forward(*args, **kwargs)
        if versions_of(given) != before:
            raise changed_in_place(args, before)
        return new


def _cloned(leaf: object) -> object:
    return leaf.clone() if isinstance(leaf, Tensor) else leaf


class Widened(TorchFunctionMode):
    """Within it, float32 that a model asks for by name (`.float()`, `dtype=torch.float32`) is `dtype`."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The call with that dtype in the place of float32."""
        kwargs = dict(kwargs or {})
        if func is Tensor.float:
            return args[0].to(self._dtype)
        if kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = self._dtype
        return func(*(self._dtype if value is torch.float32 else value for value in args), **kwargs)


def cast_tensor(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Real floating tensors in `dtype`, complex ones in the complex dtype of that width, others as they are; on `device`."""
    if tensor.is_complex():
        return tensor.to(device, dtype.to_complex())
    return tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)


def as_complex(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Real rows (batch, 2 n), real and imaginary parts in turn, as complex (batch, *shape), wherever they lie in memory."""
    return torch.complex(*rows.reshape(rows.shape[0], *shape, 2).unbind(-1))


@contextmanager
def eval_mode(*modules: nn.Module) -> Generator[None, None, None]:
    """Modules in evaluation mode, and every training flag back afterwards."""
    flags = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for part, _ in flags:
            part.training = False
        yield
    finally:
        for part, training in flags:
            part.training = training


@contextmanager
def preserving_modules(*modules: nn.Module) -> Generator[None, None, None]:
    """Modules in evaluation mode; afterwards flags, attributes, and what their lists and dictionaries hold, as they were."""
    with ExitStack() as back:
        for module in modules:
            for part in module.modules():
                back.callback(attribute_restorer(part))
        back.enter_context(eval_mode(*modules))
        yield


def attribute_restorer(module: nn.Module) -> Callable[[], None]:
    """A function that puts a module's attributes back, and what its dictionaries, lists and sets contain.

    It goes key by key: another thread of the user's that reads the module meanwhile finds every attribute that was there.
    """
    held = vars(module)
    before = dict(held)
    filled = [content_restorer(value) for value in held.values() if isinstance(value, dict | list | set)]

    def restore() -> None:
        for one in filled:
            one()
        _put_back(held, before)

    return restore


def content_restorer(value: Any) -> Callable[[], None]:
    """A function that puts back what a dictionary, list or set contains, without emptying it on the way."""
    before = _content(value)

    def restore() -> None:
        now = _content(value)
        if len(now) == len(before) and all(one is two for one, two in zip(now, before, strict=True)):
            return  # some dictionaries (outputs of models) cannot be filled at all
        if isinstance(value, dict):
            _put_back_in_order(value, dict(zip(before[::2], before[1::2], strict=True)))
        elif isinstance(value, list):
            value[:] = before
        else:
            value.intersection_update(before)
            value.update(before)

    return restore


_MISSING = object()


def _put_back(value: dict[Any, Any], before: dict[Any, Any]) -> None:
    """Remove the keys that came, and set those that changed or went: no other key is touched."""
    for key in [key for key in list(value) if key not in before]:
        del value[key]
    for key, one in before.items():
        if value.get(key, _MISSING) is not one:
            value[key] = one


def _put_back_in_order(value: dict[Any, Any], before: dict[Any, Any]) -> None:
    """`_put_back`, and the order of the keys where that changed: it is the order of layers in `nn.Sequential`, for example."""
    _put_back(value, before)
    if list(value) != list(before):
        for key in before:
            value[key] = value.pop(key)


def _content(value: Any) -> list[Any]:
    """Entry by entry; of a dictionary, keys and values in turn."""
    return [part for item in value.items() for part in item] if isinstance(value, dict) else list(value)


class _Held(nn.Module):
    """A function as the `forward` of a module that holds all others, so that `functional_call` can reach them."""

    def __init__(self, function: Callable[..., object], modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.held = nn.ModuleList(modules)
        self._function = (function,)  # in a tuple: a module would be held twice

    def forward(self, *args: object, **kwargs: object) -> Any:
        return self._function[0](*args, **kwargs)


def _modules(value: object, seen: set[int]) -> list[nn.Module]:
    """The outermost modules within reach of a value, each once."""
    if id(value) in seen or isinstance(value, Tensor | type):
        return []
    seen.add(id(value))
    if isinstance(value, nn.Module):
        return [value]
    return [module for part in _parts(value) for module in _modules(part, seen)]


def _parts(value: object) -> list[Any]:
    """What a container, a function or a callable object refers to."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        owner = value.__self__
        return [value.__func__, *([owner] if isinstance(owner, nn.Module) else getattr(owner, "__dict__", {}).values())]
    if isinstance(value, FunctionType):
        cells = [_cell_content(cell) for cell in value.__closure__ or ()]
        named = [value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__]
        near = [found for found in named if getattr(found, "__globals__", value.__globals__) is value.__globals__]
        return [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *near]
    own = not type(value).__module__.startswith(("builtins", "torch", "numpy"))
    return list(vars(value).values()) if own and callable(value) and hasattr(value, "__dict__") else []


def _cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that was never given a value
        return None


def _names(code: CodeType) -> set[str]:
    """Names that a function's code looks up, those of functions within it included."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)
