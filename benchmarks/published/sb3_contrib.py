"""sb3-contrib: RecurrentPPO, whose policy has an LSTM for the actor and one for the critic."""

from typing import Any

import torch

import lyapunov
from _dense import Dense, layer_step
from published._inputs import series

PACKAGE, K = "sb3-contrib", 4
WHAT = "RecurrentPPO's policy, actor, two environments with resets"
HOW = "`capture` of `evaluate_actions`"
STEPS, RESETS = 200, ((0, 0), (0, 90), (1, 0), (1, 140))


def prepared() -> tuple[Any, ...]:
    import gymnasium
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
    from sb3_contrib.common.recurrent.type_aliases import RNNStates

    box = gymnasium.spaces.Box(-1, 1, (4,)), gymnasium.spaces.Discrete(3)
    policy = RecurrentActorCriticPolicy(*box, lambda _: 3e-4, lstm_hidden_size=24)
    starts = torch.zeros(2, STEPS)
    for environment, at in RESETS:
        starts[environment, at] = 1
    zeros = torch.zeros(1, 2, 24), torch.zeros(1, 2, 24)
    rollout = series(2, STEPS, 4).flatten(0, 1), torch.zeros(2 * STEPS), RNNStates(zeros, zeros), starts.flatten()
    return policy, rollout


def handed_over(policy: Any, rollout: tuple[Any, ...], **settings: Any) -> lyapunov.Spectrum:
    captured = lyapunov.capture(policy.evaluate_actions, *rollout)
    return lyapunov.spectrum(captured.core("lstm_actor"), **settings)


def reference(policy: Any, rollout: tuple[Any, ...]) -> list[Dense]:
    observed = rollout[0].double().view(2, STEPS, 4)
    episodes = [observed[0, :90], observed[1, :140], observed[0, 90:], observed[1, 140:]]
    return [Dense(layer_step(policy.lstm_actor), torch.zeros(4, 48), episodes)]
