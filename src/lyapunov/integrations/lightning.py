"""PyTorch Lightning: a callback, for whichever of its two packages is used."""
# ruff: noqa: ARG002  the arguments are those of Lightning

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lyapunov._optional import import_optional
from lyapunov.training import Monitor

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.utilities.types import STEP_OUTPUT


def lightning_callback(monitor: Monitor) -> "Callback":
    """A `Callback` that passes training and validation losses on, logs to the trainer's loggers, stops and is checkpointed.

    `lightning.pytorch` and `pytorch_lightning` have callbacks of their own, and each refuses the other's: this one belongs to
    the package that is already imported (`lightning.pytorch`, where neither is).

    Args:
        monitor: the monitor to ask.

    Returns:
        A callback for `Trainer(callbacks=[...])`.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 60, 2))
        >>> callback = lyapunov.integrations.lightning_callback(monitor)  # doctest: +SKIP
    """
    imported = [sys.modules[name].Callback for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules]
    bases = imported or [import_optional("lightning.pytorch", "interop").Callback]

    class LyapunovCallback(*bases):  # pyrefly: ignore
        loggers: "Sequence[Logger]" = ()

        def on_train_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
            self.loggers = trainer.loggers
            monitor.observe(trainer.global_step, epoch=trainer.current_epoch)

        def on_train_batch_end(
            self, trainer: "Trainer", pl_module: "LightningModule", outputs: "STEP_OUTPUT", *_: object
        ) -> None:
            loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
            monitor.observe(trainer.global_step, epoch=trainer.current_epoch, train=loss)
            trainer.should_stop = trainer.should_stop or monitor.should_stop

        def on_validation_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
            if not trainer.sanity_checking:
                monitor.note(**{name: value for name, value in trainer.callback_metrics.items() if name.startswith("val")})

        def on_train_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
            monitor.finish(trainer.global_step, epoch=trainer.current_epoch)

        def state_dict(self) -> dict[str, Any]:
            return monitor.state_dict()

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            monitor.load_state_dict(state_dict)

    callback = LyapunovCallback()
    monitor.sinks.append(lambda step, numbers: [one.log_metrics(dict(numbers), step=step) for one in callback.loggers])
    return callback
