"""Maps, products, flows and networks whose spectrum is known, each with its source: what to test an estimator on.

    case = known.henon()
    lyapunov.spectrum(case.system, state=case.start(batch=8), steps=5000)   # against case.exponents

Driven systems bring their inputs: `case.inputs(batch, steps)`. Exponents are in nats per step, for flows in nats per unit of
time (pass `dt=case.dt`); `case.precision` is how far the stated value itself can be trusted (0: closed form).
"""

import math

import numpy as np
import torch
from torch import Tensor

from lyapunov._shapes import Input, State
from lyapunov.systems.extended import kuramoto_sivashinsky, lorenz96, mackey_glass
from lyapunov.systems.flows import chen, halvorsen, lorenz, rossler, thomas, windmi
from lyapunov.systems.known_case import DTYPE, Known, case, uniform, zeros
from lyapunov.systems.rnn import RNN

__all__ = [
    "Known",
    "bernoulli_ring",
    "cat_map",
    "chen",
    "gaussian_products",
    "gaussian_tanh",
    "halvorsen",
    "henon",
    "ikeda",
    "kuramoto_sivashinsky",
    "logistic",
    "lorenz",
    "lorenz96",
    "mackey_glass",
    "mean_field_exponents",
    "period_three_product",
    "random_fibonacci",
    "rossler",
    "thomas",
    "triangular_products",
    "windmi",
]


def logistic() -> Known:
    """x' = 4 x (1 - x): ln 2.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.logistic()
        >>> case.start(2).shape[0]
        2
    """
    return case(
        "logistic map",
        lambda x, _: 4 * x - 4 * x**2,
        [math.log(2)],
        "conjugate to the tent map; Ulam & von Neumann 1947",
        uniform(0.1, 0.9, 1),
    )


def henon() -> Known:
    """x' = 1 - 1.4 x^2 + y, y' = 0.3 x: 0.41922 and ln 0.3 - 0.41922.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.henon()
        >>> case.start(2).shape[0]
        2
    """

    def step(state: State, _: Input) -> State:
        x, y = state.unbind(-1)
        return torch.stack([y - 1.4 * x**2 + 1, 0.3 * x], dim=-1)

    source = "Henon 1976; largest exponent numerically, sum ln 0.3 exactly"
    return case("Henon map", step, [0.41922, math.log(0.3) - 0.41922], source, uniform(-0.1, 0.1, 2), precision=5e-5)


def cat_map() -> Known:
    """(x, y)' = (2x + y, x + y) mod 1: +-ln((3 + sqrt 5) / 2).

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.cat_map()
        >>> case.start(2).shape[0]
        2
    """
    matrix = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=DTYPE)
    top = math.log((3 + math.sqrt(5)) / 2)
    return case(
        "cat map", lambda s, _: torch.remainder(s @ matrix.to(s).mT, 1.0), [top, -top], "Arnold's cat map", uniform(0, 1, 2)
    )


def bernoulli_ring(size: int = 8, coupling: float = 0.3) -> Known:
    """A ring of doubling maps with diffusive coupling e: ln 2 + ln |1 - e + e cos(2 pi k / size)|.

    Args:
        size: how many maps.
        coupling: the diffusive coupling e.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.bernoulli_ring()
        >>> case.start(2).shape[0]
        2
    """

    def step(state: State, _: Input) -> State:
        doubled = torch.remainder(2 * state, 1.0)
        around = doubled.roll(1, dims=-1) + doubled.roll(-1, dims=-1)
        return (1 - coupling) * doubled + coupling / 2 * around

    modes = torch.arange(size, dtype=DTYPE) * (2 * math.pi / size)
    exponents = math.log(2) + (1 - coupling + coupling * modes.cos()).abs().log()
    return case("ring of doubling maps", step, exponents, "circulant Jacobian; its eigenvalues", uniform(0, 1, size))


def ikeda(u: float = 0.9) -> Known:
    """z' = 1 + u z exp(i tau), tau = 0.4 - 6 / (1 + |z|^2), at u = 0.9: 0.507, sum 2 ln u exactly.

    Args:
        u: the dissipation; exponents are stated for 0.9.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.ikeda()
        >>> case.start(2).shape[0]
        2
    """

    def step(state: State, _: Input) -> State:
        x, y = state.unbind(-1)
        tau = -6 / (x**2 + y**2 + 1) + 0.4
        cos, sin = tau.cos(), tau.sin()
        return torch.stack([u * (x * cos - y * sin) + 1, u * (x * sin + y * cos)], dim=-1)

    source = "Ikeda 1979; largest exponent numerically, sum 2 ln u exactly"
    return case("Ikeda map", step, [0.507, 2 * math.log(u) - 0.507], source, uniform(-0.2, 0.2, 2), precision=5e-4)


def period_three_product() -> Known:
    """A = [[1,1],[0,1]], B = [[1,0],[1,1]], C = diag(2, 1/2) applied in turn: +-ln((3 + sqrt 5) / 2) / 3.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.period_three_product()
        >>> case.start(2).shape[0]
        2
    """
    factors = torch.tensor([[[1, 1], [0, 1]], [[1, 0], [1, 1]], [[2, 0], [0, 0.5]]], dtype=DTYPE)
    top = math.log((3 + math.sqrt(5)) / 2) / 3

    def inputs(batch: int, steps: int, _: torch.Generator) -> Tensor:
        return factors[torch.arange(steps) % 3].expand(batch, -1, -1, -1)

    return case("period-three product", _apply, [top, -top], "eigenvalues of C B A", zeros(2), inputs=inputs)


def gaussian_products(size: int = 4, scale: float = 1.0) -> Known:
    """Products of independent N(0, scale^2) matrices: (ln 2 + psi((N - k + 1) / 2)) / 2 + ln scale, k = 1..N.

    Args:
        size: N, the size of the matrices.
        scale: the standard deviation of their entries.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.gaussian_products()
        >>> case.start(2).shape[0]
        2
    """
    ranks = torch.arange(1, size + 1, dtype=DTYPE)
    exponents = 0.5 * (math.log(2) + torch.digamma((size - ranks + 1) / 2)) + math.log(scale)

    def inputs(batch: int, steps: int, generator: torch.Generator) -> Tensor:
        return scale * torch.randn(batch, steps, size, size, dtype=DTYPE, generator=generator)

    return case("Gaussian products", _apply, exponents, "Newman 1986", zeros(size), inputs=inputs)


def random_fibonacci() -> Known:
    """x'' = +-x' +-x with fair signs: +-0.1239756.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.random_fibonacci()
        >>> case.start(2).shape[0]
        2
    """

    def inputs(batch: int, steps: int, generator: torch.Generator) -> Tensor:
        matrices = torch.zeros(batch, steps, 2, 2, dtype=DTYPE)
        matrices[..., 0, :] = 2.0 * torch.randint(0, 2, (batch, steps, 2), generator=generator) - 1
        matrices[..., 1, 0] = 1
        return matrices

    return case("random Fibonacci", _apply, [0.1239756, -0.1239756], "Viswanath 2000", zeros(2), inputs=inputs, precision=5e-8)


def triangular_products(size: int = 5) -> Known:
    """Products of independent upper-triangular matrices: E ln |a_ii|, sorted; here ln a_ii ~ N(m_i, 1/4), m_i of no order.

    Args:
        size: the size of the matrices.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.triangular_products()
        >>> case.start(2).shape[0]
        2
    """
    means = torch.linspace(-1.0, 0.5, size, dtype=DTYPE)[torch.arange(size) * 2 % size if size % 2 else slice(None)]

    def inputs(batch: int, steps: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(batch, steps, size, size, dtype=DTYPE, generator=generator)
        diagonal = (means + 0.5 * noise.diagonal(dim1=-2, dim2=-1)).exp()
        return noise.triu(1) + torch.diag_embed(diagonal)

    return case("triangular products", _apply, means, "triangular products keep their diagonal", zeros(size), inputs=inputs)


def gaussian_tanh(size: int = 300, gain: float = 2.0, noise: float = 0.0, *, seed: int = 0) -> Known:
    """h' = tanh(W h + noise xi), W ~ N(0, gain^2 / N): exact for N -> infinity, at finite N about 0.01 off.

    Rank fraction u has exponent lambda with < g^2 phi'^2 / (e^(2 lambda) + u g^2 phi'^2) > = 1 over x ~ N(0, q),
    q = g^2 <tanh^2> + noise^2, and phi' = 1 - tanh^2 x. The weights are drawn with the seed.

    Args:
        size: N, how many units.
        gain: g, the size of the weights.
        noise: the standard deviation of the inputs.
        seed: of the weights.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.gaussian_tanh(size=20)
        >>> case.start(2).shape[0]
        2
    """
    weight = torch.randn(size, size, dtype=DTYPE, generator=torch.Generator().manual_seed(seed)) * gain / math.sqrt(size)
    system = RNN(torch.eye(size, dtype=DTYPE), weight)

    def inputs(batch: int, steps: int, generator: torch.Generator) -> Tensor:
        return noise * torch.randn(batch, steps, size, dtype=DTYPE, generator=generator)

    exponents = mean_field_exponents(size, gain, noise)
    source = "mean-field theory of driven Gaussian networks, solved numerically"
    return Known(system, exponents, source, uniform(-0.5, 0.5, size), inputs, precision=0.01)


def mean_field_exponents(size: int, gain: float, noise: float) -> Tensor:
    """The theory behind `gaussian_tanh` at the rank fractions (i - 1/2) / size.

    Args:
        size: how many units.
        gain: g, the size of the weights.
        noise: the standard deviation of the inputs.

    Returns:
        (size,), exponents in descending order.

    Example:
        >>> lyapunov.known.mean_field_exponents(4, 2.0, 0.5).shape
        torch.Size([4])
    """
    fractions = (np.arange(size) + 0.5) / size
    nodes = np.linspace(-12.0, 12.0, 2001)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    q = gain**2 + noise**2
    for _ in range(2000):
        q = gain**2 * float(weights @ np.tanh(math.sqrt(q) * nodes) ** 2) + noise**2
    power = (gain / np.cosh(math.sqrt(q) * nodes) ** 2) ** 2

    def excess(log_growth: np.ndarray) -> np.ndarray:
        return (power / (np.exp(2 * log_growth)[:, None] + fractions[:, None] * power)) @ weights - 1

    low, high = np.full_like(fractions, -60.0), np.full_like(fractions, 5.0)
    for _ in range(80):
        middle = (low + high) / 2
        above = excess(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return torch.from_numpy((low + high) / 2)


def _apply(state: State, matrix: Input) -> State:
    return (matrix @ state.unsqueeze(-1)).squeeze(-1)
