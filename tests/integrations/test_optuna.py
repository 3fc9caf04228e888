"""Optuna's side: what is reported arrives, and the pruner asks spectra where they tell."""

import optuna
import pytest

from lyapunov.integrations import optuna_report, spectrum_pruner
from lyapunov.training import Reading
from lyapunov.tuning import SpectrumRule

optuna.logging.set_verbosity(optuna.logging.WARNING)


def reading(largest: float) -> Reading:
    return Reading(1, None, {}, (largest, largest - 0.1), (0.01, 0.01), mean=-1.0)


def study_of(pruner, direction: str = "minimize", sign: float = 1.0) -> optuna.Study:
    """Losses at step 1 are all alike; the largest exponent says how a trial ends."""
    study = optuna.create_study(direction=direction, pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        optuna_report(trial, 1, sign * 1.0, reading(-x))
        if trial.number >= 20 and trial.should_prune():
            raise optuna.TrialPruned
        return sign * x

    study.optimize(objective, n_trials=40)
    return study


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_spectra_prune_what_losses_cannot_tell(direction: str, sign: float) -> None:
    study = study_of(spectrum_pruner(rule=SpectrumRule(unpruned_fraction=0.0)), direction, sign)
    pruned = [trial for trial in study.trials if trial.state.name == "PRUNED"]
    kept = [trial for trial in study.trials[20:] if trial.state.name == "COMPLETE"]
    assert len(pruned) > 5
    assert max(trial.params["x"] for trial in kept) < min(trial.params["x"] for trial in pruned) + 0.1
    assert "loss and spectrum predict" in study.user_attrs[f"lyapunov/pruned/{pruned[0].number}"]


def test_without_spectra_it_is_the_wrapped_pruner() -> None:
    """Which sees the same losses."""
    study = optuna.create_study(
        pruner=spectrum_pruner(optuna.pruners.ThresholdPruner(upper=0.5), SpectrumRule(unpruned_fraction=0.0))
    )

    def objective(trial: optuna.Trial) -> float:
        assert not trial.should_prune()  # nothing reported
        optuna_report(trial, 0, 0.1 * trial.number)
        if trial.should_prune():
            raise optuna.TrialPruned
        return 0.0

    study.optimize(objective, n_trials=10)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6 + ["PRUNED"] * 4


def test_numbers_are_attributes_that_are_there_before_the_value() -> None:
    study = optuna.create_study()
    trial = study.ask()
    optuna_report(trial, 3, 0.5, reading(-0.2))
    seen = study.trials[0]
    assert seen.intermediate_values == {3: 0.5}
    assert seen.user_attrs["lyapunov/3"]["max"] == -0.2
    assert len(seen.user_attrs["lyapunov/3"]) <= 8
