"""What is trained: tasks, rules, seeds and lengths at three sizes.

`tiny` takes seconds and is what the tests run; `small` is 256 units and ten seeds; `paper` is Sussillo and Abbott's 1000 units.
"""

from dataclasses import asdict, dataclass, field, replace

from experiments.force.rules import Descent
from experiments.force.tasks import DelayedResponse, Sines, Task
from experiments.sweeps.presets import Preset

RULES = ("untrained", "full-force", "force", "back-propagation", "full-force from W0")
"""In the order in which a seed's networks are trained. The last is a control: the same rule, begun at the random weights."""
LONGER = ", over more steps"
"""Behind a rule: the same network once more, its spectrum over `Plan.longer`."""
GAIN = 1.5


@dataclass(frozen=True)
class Plan:
    """One preset. `length`: steps of recursive least squares. `counted`, `settle`, `align`, `sequences`: of every spectrum."""

    size: int
    seeds: int
    length: int
    descent: Descent
    settle: int
    align: int
    counted: int
    sequences: int
    trials: int
    noise: tuple[float, float] = (0.01, 0.03)
    """Standard deviation of what tests add to every unit at every step: the level of the claims, and a stronger one."""
    tasks: tuple[Task, ...] = field(default=(Sines(), DelayedResponse()))

    @property
    def longer(self) -> "Plan":
        """The same with three times the burn-in and alignment, and four times as many steps counted."""
        return replace(self, settle=3 * self.settle, align=3 * self.align, counted=4 * self.counted)

    @property
    def settings(self) -> str:
        """Everything but the number of seeds, as it stands in each row: rows made otherwise are not continued."""
        named = {name: value for name, value in asdict(self).items() if name not in ("seeds", "descent", "tasks")}
        return " ".join(f"{name}={value}".replace(" ", "") for name, value in (named | asdict(self.descent)).items())


def plan(preset: Preset) -> Plan:
    """One of the three."""
    return {
        "tiny": Plan(16, 2, 800, Descent(8, 50, 2), settle=20, align=20, counted=80, sequences=2, trials=1),
        "small": Plan(256, 10, 60_000, Descent(), settle=100, align=100, counted=600, sequences=2, trials=8),
        "paper": Plan(1000, 10, 120_000, Descent(2000, 400, 16), settle=200, align=400, counted=4000, sequences=4, trials=50),
    }[preset]
