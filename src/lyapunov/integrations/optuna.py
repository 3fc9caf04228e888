"""Optuna: a pruner that reads spectra beside losses, and the one line that reports both."""

import math
from typing import TYPE_CHECKING

from lyapunov._optional import import_optional
from lyapunov.training import Reading
from lyapunov.tuning import PRUNED, Record, SpectrumRule, numbers_of

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

PREFIX = "lyapunov/"
"""Of user attributes: "lyapunov/3" holds the numbers of step 3, by name."""


def optuna_report(trial: "Trial", step: int, loss: float, reading: Reading | None = None) -> None:
    """Report the value that is optimized, and what a Monitor read, if it did.

    Spectra are numbers in the trial's user attributes, written before the value so that a pruner sees both.

    Args:
        trial: Optuna's trial.
        step: the step of the training.
        loss: the value that is optimized.
        reading: what `monitor.observe(...)` returned.

    Example:
        >>> optuna = __import__("optuna")
        >>> trial = optuna.create_study().ask()
        >>> lyapunov.integrations.optuna_report(trial, 0, 1.5)
    """
    numbers = numbers_of(reading)
    if numbers:
        trial.set_user_attr(f"{PREFIX}{step}", numbers)
    trial.report(float(loss), step)


def spectrum_pruner(wrapped: "BasePruner | None" = None, rule: SpectrumRule | None = None) -> "BasePruner":
    """A pruner for `optuna.create_study(pruner=...)`, around another one.

    It prunes what cannot train at once. It uses spectra once they have been seen to predict the ends of trials better than
    losses alone; until then it does what the wrapped pruner does. See `lyapunov.tuning.SpectrumRule`.

    Args:
        wrapped: the other pruner; None: optuna.pruners.MedianPruner(n_warmup_steps=1), as a loss at step 0, before training, is
            no reason to prune.
        rule: what it decides by; None: the defaults.

    Returns:
        A pruner.

    Example:
        >>> optuna = __import__("optuna")
        >>> study = optuna.create_study(pruner=lyapunov.integrations.spectrum_pruner())
    """
    optuna = import_optional("optuna", "tune")
    inner, asked = wrapped or optuna.pruners.MedianPruner(n_warmup_steps=1), rule or SpectrumRule()

    class SpectrumPruner(optuna.pruners.BasePruner):
        def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
            if trial.last_step is None:
                return False
            sign, known = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0, []
            if asked.spectra:
                finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
                known = [_record(one, sign) for one in finished]
            says = bool(inner.prune(study, trial))
            decision = asked.decide(_record(trial, sign), trial.last_step, known, wrapped=says)
            if decision.prune:
                study.set_user_attr(f"{PRUNED}{trial.number}", decision.why)
            return decision.prune

    return SpectrumPruner()


def _record(trial: "FrozenTrial", sign: float) -> Record:
    """Of an Optuna trial; where more is better, losses are negative values."""
    named = {name.removeprefix(PREFIX): value for name, value in trial.user_attrs.items() if name.startswith(PREFIX)}
    spectra = {int(step): value for step, value in named.items() if step.isdecimal()}
    losses = {step: sign * value for step, value in trial.intermediate_values.items()}
    final = trial.value if trial.state.is_finished() and trial.value is not None else math.nan
    return Record(trial.number, losses, spectra, sign * final if math.isfinite(final) else None)
