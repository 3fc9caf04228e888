"""PyTorch's own layer or cell around weights that something else holds."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lyapunov.errors import Unsupported
from lyapunov.intake.kinds import kind_of, known_kind
from lyapunov.systems import eval_mode


def rebuilt(
    kind: type[nn.Module],
    weights: Mapping[str, Tensor],
    *,
    batch_first: bool = False,
    nonlinearity: str | None = None,
    like: nn.Module,
) -> nn.Module:
    """A layer or cell of PyTorch's with these very tensors as its weights: nothing is copied, and their graph is kept.

    weights: by PyTorch's names; all sizes are read off them. nonlinearity: for an RNN. like: what the weights are from; its
    forward pre-hooks come along, so that they are seen, but for those that only gather its weights.
    Raises Unsupported where the weights are not those of such a layer.
    """
    layered = issubclass(kind, nn.RNNBase)
    last = "_l0" if layered else ""
    try:
        hidden, features = (
            weights[f"weight_hh{last}"].shape[0] // known_kind(kind).system.gates,
            weights[f"weight_ih{last}"].shape[1],
        )
        options: dict[str, Any] = {"bias": f"bias_ih{last}" in weights, "device": "meta"}
    except (KeyError, IndexError):
        raise _no_weights(kind, weights, like) from None
    if nonlinearity is not None:
        options["nonlinearity"] = nonlinearity
    if layered:
        options |= _of_layers(weights, batch_first)
    module = kind(features, hidden, **options)
    wanted = {name: weight.shape for name, weight in module.named_parameters()}
    if wanted != {name: weight.shape for name, weight in weights.items()}:
        raise _no_weights(kind, weights, like)
    for name, weight in weights.items():
        delattr(module, name)  # a tensor that is no parameter cannot take the place of one
        setattr(module, name, weight)
    hooks = {at: hook for at, hook in like._forward_pre_hooks.items() if not gathers(hook)}
    module._forward_pre_hooks.update(hooks)
    return module.train(like.training)


def plain(module: Any) -> nn.Module:
    """The layer or cell that a module is derived from, around its very weights (whole, where they are sharded)."""
    layered = isinstance(module, nn.RNNBase)
    names = module._flat_weights_names if layered else ["weight_ih", "weight_hh", *["bias_ih", "bias_hh"][: 2 * module.bias]]
    with eval_mode(module):
        weights = {name: getattr(module, name) for name in names}
    weights = {name: weight.full_tensor() if hasattr(weight, "full_tensor") else weight for name, weight in weights.items()}
    batch_first, nonlinearity = getattr(module, "batch_first", False), getattr(module, "nonlinearity", None)
    return rebuilt(kind_of(module), weights, batch_first=batch_first, nonlinearity=nonlinearity, like=module)


def first_weight(module: Any) -> Tensor:
    """That of the inputs of a layer's lowest one, or of a cell."""
    weight: Any = module.weight_ih_l0 if isinstance(module, nn.RNNBase) else module.weight_ih
    return weight


def gathers(hook: object) -> bool:
    """Whether a hook is one of `fully_shard`, which gathers a module's weights before it runs."""
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.fsdp")


def _of_layers(weights: Mapping[str, Tensor], batch_first: bool) -> dict[str, Any]:
    """What a layer has and a cell has not."""
    options: dict[str, Any] = {
        "num_layers": sum(name.startswith("weight_ih") and not name.endswith("_reverse") for name in weights),
        "bidirectional": "weight_ih_l0_reverse" in weights,
        "batch_first": batch_first,
    }
    return options | ({"proj_size": weights["weight_hr_l0"].shape[0]} if "weight_hr_l0" in weights else {})


def _no_weights(kind: type[nn.Module], weights: Mapping[str, Tensor], like: nn.Module) -> Unsupported:
    found = ", ".join(f"{name} {tuple(weight.shape)}" for name, weight in weights.items()) or "none"
    return Unsupported(
        f"Expected {type(like).__name__} with the weights of nn.{kind.__name__}, got {found}. Pass the module that it was made "
        "from, or one step of it as step(state, x)."
    )
