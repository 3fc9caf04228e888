"""TensorBoard's own reader finds what tensorboardX and PyTorch's writer were told."""

import numpy as np
import pytest

from lyapunov.integrations import tensorboard
from trackers.watched import reported

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("kind", ["tensorboardX", "torch.utils.tensorboard"])
def test_scalars_are_read_back(kind: str, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = __import__(kind, fromlist=["SummaryWriter"]).SummaryWriter(str(tmp_path / "logs"))
    expected = reported(tmp_path / "run", tensorboard(writer))
    writer.close()
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert set(events.Tags()["scalars"]) == set(expected)
    for name, pairs in expected.items():
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(step, float(np.float32(value))) for step, value in pairs]
