"""Your own training loop, tuned: python examples/tuned.py [--spectra], or lyapunov tune tuned:objective."""

import sys

import optuna
import torch

from lyapunov import Monitor
from lyapunov.integrations import optuna_report, spectrum_pruner


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Signs, and the products of those 4 and 2 steps ago."""
    x = torch.randint(2, (64, 24, 1), generator=torch.Generator().manual_seed(seed)).float() * 2 - 1
    return x, x.roll(4, 1) * x.roll(2, 1)


def objective(trial: optuna.Trial) -> float:
    """The loss after 300 steps."""
    core, readout = torch.nn.RNN(1, 32, batch_first=True), torch.nn.Linear(32, 1)
    weights, rate = [*core.parameters(), *readout.parameters()], trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    optimizer, monitor, loss = torch.optim.Adam(weights, rate), Monitor(core, batch(0)[0], k=4), torch.ones(())
    for step in range(301):
        if step % 50 == 0:
            optuna_report(trial, step, loss.item(), monitor.read(step, loss=loss.item()))  # the one line
            if trial.should_prune():
                raise optuna.TrialPruned
        x, y = batch(1 + 1000 * trial.number + step)
        loss = (readout(core(x)[0]) - y)[:, 4:].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    study = optuna.create_study(pruner=spectrum_pruner() if "--spectra" in sys.argv else None)
    study.optimize(objective, n_trials=20)
    print(f"best loss {study.best_value:.2g} with {study.best_params}")
