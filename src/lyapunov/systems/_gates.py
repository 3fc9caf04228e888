"""Derivatives of the usual nonlinearities, written so that saturated units keep their tiny slopes instead of losing them."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

SATURATED = 0.98
"""|tanh a| from which on its slope is below 0.04: small changes of a then hardly show."""


def tanh_slope(a: Tensor) -> Tensor:
    """tanh'(a) = 4 e^(-2|a|) / (1 + e^(-2|a|))^2. (1 - tanh^2 is exactly zero in float64 from |a| = 19 on.)"""
    small = torch.exp(-2 * a.abs())
    return 4 * small / (1 + small) ** 2


def log_tanh_slope(a: Tensor) -> Tensor:
    """ln tanh'(a), finite however saturated the unit."""
    a = a.abs()
    return 2 * (math.log(2) - a - softplus(-2 * a))


def sigmoid_slope(a: Tensor) -> Tensor:
    """sigma'(a) = sigma(a) sigma(-a)."""
    return torch.sigmoid(a) * torch.sigmoid(-a)


def log_sigmoid_slope(a: Tensor) -> Tensor:
    """ln sigma'(a) as ln sigma(a) + ln sigma(-a), which stays finite where sigma' underflows."""
    return logsigmoid(a) + logsigmoid(-a)


def combine_biases(bias_ih: Tensor | None, bias_hh: Tensor | None) -> Tensor | None:
    """The two biases that PyTorch adds at the same place, as they are now, as one; None where there are none."""
    if bias_ih is None or bias_hh is None:
        return bias_hh if bias_ih is None else bias_ih
    return bias_ih + bias_hh
