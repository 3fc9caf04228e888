"""Hugging Face's Trainer: a callback."""

from pathlib import Path
from typing import Any

import torch

from lyapunov._optional import import_optional
from lyapunov.training import Monitor


def transformers_callback(monitor: Monitor) -> Any:
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
    base: Any = import_optional("transformers", "transformers").TrainerCallback

    class LyapunovCallback(base):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            kept = _beside(args, state)
            if state.global_step and kept.is_file():
                monitor.load_state_dict(torch.load(kept, weights_only=True))
            monitor.observe(state.global_step, epoch=int(state.epoch or 0))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            monitor.observe(state.global_step, epoch=int(state.epoch or 0))
            control.should_training_stop = control.should_training_stop or monitor.should_stop

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:  # noqa: ARG002
            monitor.note(**{name: logs[name] for name in ("loss", "eval_loss") if name in logs})
            numbers = monitor.readings[-1].numbers() if monitor.readings else {}
            logs.update(numbers)
            state.log_history[-1].update(numbers | (monitor.readings[-1].texts() if numbers else {}))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if state.is_world_process_zero:
                torch.save(monitor.state_dict(), _beside(args, state))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            monitor.finish(state.global_step, epoch=int(state.epoch or 0))

    return LyapunovCallback()


def _beside(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / "lyapunov.pt"
