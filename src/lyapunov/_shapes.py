"""The shape vocabulary of annotations. Checked at run time under pytest only, by jaxtyping's import hook."""

from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor

State: TypeAlias = Any
"""A pytree of tensors, batch first."""
Input: TypeAlias = Any
"""What drives one step: a pytree of tensors, batch first, or None for an autonomous system."""

if TYPE_CHECKING:
    Frame: TypeAlias = Tensor
    InputFrame: TypeAlias = Tensor
    Rows: TypeAlias = Tensor
    Units: TypeAlias = Tensor
    PerSequence: TypeAlias = Tensor
    PerColumn: TypeAlias = Tensor
    Exponents: TypeAlias = Tensor
else:
    try:
        from jaxtyping import Float
    except ImportError:
        Frame = InputFrame = Rows = Units = PerSequence = PerColumn = Exponents = Tensor
    else:
        Frame = Float[Tensor, "batch n k"]
        InputFrame = Float[Tensor, "batch _ k"]
        Rows = Float[Tensor, "batch n"]
        Units = Float[Tensor, "batch _"]
        PerSequence = Float[Tensor, "batch"]
        PerColumn = Float[Tensor, "batch k"]
        Exponents = Float[Tensor, "k"]

Frames: TypeAlias = tuple[Tensor, ...]
"""One frame (batch, n, k) per independent block of a system."""
Vectors: TypeAlias = tuple[Tensor, ...]
"""The differentiated coordinates of a state, (batch, n) per independent block."""
