"""rsl-rl-lib: a policy's memory that keeps its hidden state between calls, as a robot runs it."""

from typing import Any

from torch import Tensor, nn

import lyapunov
from _dense import Dense, stacked
from published._inputs import series

PACKAGE, K = "rsl-rl-lib", 4
WHAT = "`RNN` memory (GRU, 24 units), one observation a call"
HOW = "`capture` of the rollout"


class Rollout(nn.Module):
    """The loop in which the policy is called."""

    def __init__(self) -> None:
        super().__init__()
        from rsl_rl.modules import RNN

        self.memory, self.head = RNN(6, 24, type="gru"), nn.Linear(24, 2)

    def forward(self, observations: Tensor) -> list[Tensor]:
        """(batch, time, features), one time after the other."""
        self.memory.reset()
        return [self.head(self.memory(x)) for x in observations.unbind(1)]


def prepared() -> tuple[Any, ...]:
    return Rollout(), series(3, 200, 6)


def handed_over(rollout: Any, observations: Tensor, **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lyapunov.capture(rollout, observations), **settings)


def reference(rollout: Any, observations: Tensor) -> list[Dense]:
    return stacked(rollout.memory.rnn, observations)
