"""Run trackers as sinks: each function returns what `lyapunov.Monitor(sinks=[...])` calls with a step and numbers by name."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from lyapunov.errors import InvalidInput
from lyapunov.training import Sink


@runtime_checkable
class _Writer(Protocol):
    """What a `SummaryWriter` does, of PyTorch's package and of tensorboardX."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """A number at a step."""

    def add_text(self, tag: str, text_string: str, global_step: int) -> object:
        """Words at a step."""

    def flush(self) -> object:
        """What was added is on the disk."""


@runtime_checkable
class _Run(Protocol):
    """What a run of Trackio does, and of W&B."""

    def log(self, data: dict[str, float | str], step: int | None = None) -> object:
        """Numbers and words by name."""


@runtime_checkable
class _WandbRun(_Run, Protocol):
    """What a run of W&B does besides."""

    def define_metric(self, name: str, step_metric: str | None = None) -> object:
        """The step axis of a metric."""


def tensorboard(writer: _Writer) -> Sink:
    """A sink for a `SummaryWriter` of torch.utils.tensorboard or of tensorboardX.

    Args:
        writer: the writer.

    Returns:
        A sink for `Monitor(sinks=...)`.

    Example:
        >>> sink = lyapunov.integrations.tensorboard(SummaryWriter("runs"))  # doctest: +SKIP
    """

    def sink(step: int, numbers: Mapping[str, float], texts: Mapping[str, str] | None = None) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        for name, text in (texts or {}).items():
            writer.add_text(name, text, step)
        writer.flush()

    return _taking_texts(sink)


def wandb(run: _WandbRun) -> Sink:
    """A sink for the run that `wandb.init` returned.

    The numbers have a step axis of their own, `lyapunov/step`, because W&B's own axis counts logs.

    Args:
        run: the run.

    Returns:
        A sink for `Monitor(sinks=...)`.

    Example:
        >>> sink = lyapunov.integrations.wandb(wandb.init(project="memory"))  # doctest: +SKIP
    """
    run.define_metric("lyapunov/step")
    run.define_metric("lyapunov/*", step_metric="lyapunov/step")
    return _taking_texts(lambda step, numbers, texts=None: run.log({**numbers, **(texts or {}), "lyapunov/step": step}))


def mlflow(run_id: str | None = None) -> Sink:
    """A sink for an MLflow run. The store is wherever MLflow's tracking URI points; the latest verdict is a tag of the run.

    Args:
        run_id: the run; None: the one that is active now.

    Returns:
        A sink for `Monitor(sinks=...)`.

    Example:
        >>> sink = lyapunov.integrations.mlflow()  # doctest: +SKIP
    """
    import mlflow as package  # pyrefly: ignore

    active = package.active_run() if run_id is None else None
    if run_id is None and active is None:
        raise InvalidInput("Expected an active MLflow run, or the id of one, got neither. Call mlflow.start_run() first.")
    chosen = run_id if active is None else active.info.run_id

    def sink(step: int, numbers: Mapping[str, float], texts: Mapping[str, str] | None = None) -> None:
        package.log_metrics(dict(numbers), step=step, run_id=chosen)
        for name, text in (texts or {}).items():
            package.MlflowClient().set_tag(chosen, name, text)

    return _taking_texts(sink)


def trackio(run: _Run) -> Sink:
    """A sink for the run that `trackio.init` returned.

    Args:
        run: the run.

    Returns:
        A sink for `Monitor(sinks=...)`.

    Example:
        >>> sink = lyapunov.integrations.trackio(trackio.init(project="memory"))  # doctest: +SKIP
    """
    return _taking_texts(lambda step, numbers, texts=None: run.log({**numbers, **(texts or {})}, step=step))


def _taking_texts(sink: Callable[..., object]) -> Sink:
    """Marked as one that receives words as well: the verdict stands beside the numbers."""
    sink.takes_texts = True  # pyrefly: ignore
    return sink
