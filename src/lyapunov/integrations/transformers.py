"""Hugging Face's Trainer: a callback."""
# ruff: noqa: ARG002  the arguments are the Trainer's

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lyapunov._optional import import_optional
from lyapunov.training import Monitor

if TYPE_CHECKING:
    from transformers import TrainerCallback
    from transformers import TrainerControl as Control
    from transformers import TrainerState as State
    from transformers import TrainingArguments as Arguments


def transformers_callback(monitor: Monitor) -> "TrainerCallback":
    """A `TrainerCallback` that passes losses on, adds the latest numbers to the logs, stops, and is kept with checkpoints.

    The verdict in words is in `trainer.state.log_history` only: the Trainer's own trackers take numbers. They (`report_to`) are
    told before callbacks of the user. Put this one first where they should see the numbers too:
    `trainer.callback_handler.callbacks.insert(0, callback)`.

    Args:
        monitor: the monitor to ask.

    Returns:
        A callback for `Trainer(callbacks=[...])`.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 60, 2))
        >>> callback = lyapunov.integrations.transformers_callback(monitor)  # doctest: +SKIP
    """
    base = import_optional("transformers", "transformers").TrainerCallback

    class LyapunovCallback(base):
        def on_train_begin(self, args: "Arguments", state: "State", control: "Control", **_: object) -> None:
            kept = _beside(args, state)
            if state.global_step and kept.is_file():
                monitor.load_state_dict(torch.load(kept, weights_only=True))
            monitor.observe(state.global_step, epoch=int(state.epoch or 0))

        def on_step_end(self, args: "Arguments", state: "State", control: "Control", **_: object) -> None:
            monitor.observe(state.global_step, epoch=int(state.epoch or 0))
            control.should_training_stop = control.should_training_stop or monitor.should_stop

        def on_log(self, args: "Arguments", state: "State", control: "Control", logs: dict[str, float], **_: object) -> None:
            monitor.note(**{name: logs[name] for name in ("loss", "eval_loss") if name in logs})
            numbers = monitor.readings[-1].numbers() if monitor.readings else {}
            logs.update(numbers)
            said = monitor.readings[-1].texts() if numbers else {}
            state.log_history[-1].update(numbers | said)  # pyrefly: ignore  annotated as numbers alone

        def on_save(self, args: "Arguments", state: "State", control: "Control", **_: object) -> None:
            if state.is_world_process_zero:
                torch.save(monitor.state_dict(), _beside(args, state))

        def on_train_end(self, args: "Arguments", state: "State", control: "Control", **_: object) -> None:
            monitor.finish(state.global_step, epoch=int(state.epoch or 0))

    return LyapunovCallback()


def _beside(args: "Arguments", state: "State") -> Path:
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}" / "lyapunov.pt"
