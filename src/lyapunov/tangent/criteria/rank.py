"""The exact rank of a product of Jacobians: floating-point numbers are m 2^e, so they have exact images modulo a prime."""

from functools import lru_cache

import torch
from torch import Tensor

PRIMES = (1930021, 1719989, 1618039)
"""Primes well apart from a power of two: multiples of the largest ones below 2^21 include float32 numbers just below 1, where
saturated gates crowd, and up to 77 in a million of those would pass for zero instead of 1 / p = 0.6."""
LARGEST = 2048
"""The largest size: n p^2 <= 2^53, so float64 products of residues are exact in whatever order they are summed."""
_PANEL = 32
_AT_ONCE = 2**20
"""Entries eliminated together: many small matrices share the cost of a call, large ones go one by one."""
_MANTISSA = 53
_LOWEST, _HIGHEST = -1073 - _MANTISSA, 1024 - _MANTISSA
"""Exponents e of m 2^e with a whole 53-bit m, from the smallest subnormal of float64 to its largest number."""


def residues(values: Tensor, prime: int) -> Tensor:
    """Finite floats modulo an odd prime, exactly: whole numbers in [0, prime) as float64, on the CPU."""
    mantissa, exponent = torch.frexp(values.detach().cpu().double())
    whole = (mantissa * 2.0**_MANTISSA).long()
    powers = _powers_of_two(prime)[exponent.long() - _MANTISSA - _LOWEST]
    return (whole.remainder(prime) * powers).remainder(prime).double()


@lru_cache
def _powers_of_two(prime: int) -> Tensor:
    powers = [pow(2, _LOWEST, prime)]
    for _ in range(_LOWEST, _HIGHEST):
        powers.append(2 * powers[-1] % prime)
    return torch.tensor(powers)


class ProductRank:
    """The exact rank of a growing product of Jacobians, one per sequence, as if their entries were known without error.

    An entry m 2^e is mapped to the field F_p of an odd prime p, where 2 has an inverse. The map respects sums and products,
    so a minor of the product that is zero stays zero:

        rank over F_p of J_w ... J_1  <=  rank of J_w ... J_1

    with equality unless p divides the minors that count: as far as numbers are spread evenly modulo p, with probability n / p
    for a factor whose rows are scaled by numbers of their own, 1 / p where not. The ranks for all primes are lower bounds, and
    the largest is taken; over w factors it is too small with probability about (w n / p)^3, 1e-7 for n = 512 and a window of
    16 steps. Neither grading nor precision matters. Of the product only columns
    that span its column space are kept, for the rank of J P depends on nothing else of P. Everything happens on the CPU.

    Entries must be finite. The size n is at most LARGEST.
    """

    def __init__(self, batch: int, size: int) -> None:
        if size > LARGEST:
            raise ValueError(
                f"Expected at most {LARGEST} rows, got {size}: beyond that arithmetic modulo a prime is not exact."
            )
        copies = len(PRIMES) * batch
        self._batch = batch
        self._modulus = torch.tensor(PRIMES, dtype=torch.float64).repeat_interleave(batch)[:, None, None]
        self._product = torch.eye(size, dtype=torch.float64).expand(copies, -1, -1)
        """(primes x batch, n, columns): residues, the sequences of the first prime before those of the next."""

    def multiply(self, jacobians: Tensor, running: Tensor | None = None) -> None:
        """`jacobians` (batch, n, n) from the left onto the product; where `running` (batch,) is False it stays as it was."""
        factors = torch.cat([residues(jacobians, prime) for prime in PRIMES])
        product = torch.bmm(factors, self._product).remainder_(self._modulus)
        if running is not None:
            product = torch.where(running.cpu().repeat(len(PRIMES))[:, None, None], product, self._product)
        self._product = product

    def ranks(self) -> Tensor:
        """The rank (batch,) of each product, int64: the largest over the primes, for each gives a lower bound."""
        self._product = _front(self._product, (self._product != 0).any(1), 2)
        at_once = max(1, _AT_ONCE // max(1, self._product[0].numel()))
        parts = zip(self._product.split(at_once), self._modulus.split(at_once), strict=True)
        pivotal = torch.cat([_pivotal(*part) for part in parts])
        self._product = _front(self._product, pivotal, 2)
        return pivotal.sum(1).unflatten(0, (len(PRIMES), self._batch)).amax(0)


def _front(matrices: Tensor, wanted: Tensor, dim: int) -> Tensor:
    """Matrices (batch, rows, columns) with the wanted rows (dim 1) or columns (dim 2) in front, few others behind."""
    most = int(wanted.sum(1).max())
    if most == matrices.shape[dim]:
        return matrices
    order = wanted.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    return torch.take_along_dim(matrices, order.unsqueeze(3 - dim), dim)


def _pivotal(matrices: Tensor, modulus: Tensor) -> Tensor:
    """Which columns (batch, columns) are independent of those before them, by elimination in panels of columns."""
    pivotal = torch.zeros(matrices.shape[0], matrices.shape[2], dtype=torch.bool)
    for start in range(0, matrices.shape[2], _PANEL):
        matrices = _front(matrices, (matrices != 0).any(2), 1)
        if not matrices.shape[1]:
            break
        panel, matrices = matrices[..., :_PANEL], matrices[..., _PANEL:]
        changes, places, found = _eliminate(panel, modulus)
        pivotal[:, start : start + _PANEL] = found
        if matrices.shape[2]:
            pivots = torch.take_along_dim(matrices, places.unsqueeze(2), 1)
            matrices = torch.baddbmm(matrices, changes, pivots).remainder_(modulus)
    return pivotal


def _eliminate(panel: Tensor, modulus: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What makes a panel (batch, rows, width) zero: `changes` times its pivot rows added to it, which spends those rows too.

    Returns the changes (batch, rows, width), the places of the pivot rows (batch, width), and for which columns there is one
    (batch, width). The changes are written down beside the panel: row i is at any time what it was at first plus row i of the
    changes times the pivot rows as they were at first. A pivot is subtracted from its own row as well, which becomes zero and
    is never found again.
    """
    width = panel.shape[2]
    work = torch.cat([panel, torch.zeros_like(panel)], 2)
    places = torch.zeros(len(panel), width, dtype=torch.long)
    found = torch.zeros(len(panel), width, dtype=torch.bool)
    every = torch.arange(len(panel))
    for j in range(width):
        pivot, place = work[:, :, j].max(1)
        places[:, j], found[:, j] = place, pivot > 0
        part = work[:, :, j : width + j + 1]
        row = part[every, place].unsqueeze(1)
        row[:, :, -1] = 1
        multiples = (part[:, :, :1] * _inverses(pivot, modulus)).remainder_(modulus)
        part.baddbmm_(multiples, row, alpha=-1).remainder_(modulus)
    return work[:, :, width:], places, found


def _inverses(pivots: Tensor, modulus: Tensor) -> Tensor:
    """1 / pivot (batch,) in the field, (batch, 1, 1); 0 for 0."""
    pairs = zip(pivots.long().tolist(), modulus.flatten().long().tolist(), strict=True)
    inverses = [pow(pivot, -1, prime) if pivot else 0 for pivot, prime in pairs]
    return torch.tensor(inverses, dtype=torch.float64)[:, None, None]
