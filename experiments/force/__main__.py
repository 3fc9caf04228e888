"""The paper's last open remark, from training to figure: `python -m experiments.force --preset small`.

Full-FORCE, FORCE and back-propagation train the same random rate networks on two tasks. Networks that are in the results
already are not trained again.
"""

from experiments.commands import scratch_of
from experiments.figures.outputs import RESULTS, Outcome, command
from experiments.force.figure import make
from experiments.sweeps.presets import Preset


def made(preset: Preset, *, record: bool) -> Outcome:
    """The figure, from the recorded networks; further ones are recorded only on request."""
    return make(preset, RESULTS if record else scratch_of(f"force-{preset}"))


if __name__ == "__main__":
    command("force", "Full-FORCE", made, __doc__, keeps_results=True)
