"""What a run is to do with its steps."""

from dataclasses import dataclass

DEFAULT_BURN_IN = 100
"""Steps that transients take at most, or where what they leave does not fall."""
STRETCHES = 16
"""Of a short run an interval is at most this part: errors need growth resolved in time."""


@dataclass(frozen=True)
class RolloutOptions:
    """What a run is to do with its steps. None: `settle`, `align` and `qr_every` are found in the data.

    `steps`: all there are, or, `autonomous`, those to count, besides the transients. `longest_settle`, `longest_align`: the
    most that these two take where they are left open. `volume_every`: ln |det J| is taken at every so many counted steps
    (0: never); with `whole_intervals` at all steps of one interval in that time. Of an open `qr_every`, `first`: what is tried
    first; `stretches`: into how many stretches of time growth is resolved at the least. `follow_copies`: copies of the state
    are followed also where `settle` is given.
    """

    steps: int
    settle: int | None
    align: int | None
    qr_every: int | None = None
    longest_settle: int = DEFAULT_BURN_IN
    longest_align: int = DEFAULT_BURN_IN
    autonomous: bool = False
    volume_every: int = 0
    whole_intervals: bool = False
    first: int = 1
    stretches: int = STRETCHES
    follow_copies: bool = True

    @property
    def most(self) -> int:
        """All steps that a run may make."""
        settle = self.longest_settle if self.settle is None else self.settle
        align = self.longest_align if self.align is None else self.align
        return self.steps + settle + align if self.autonomous else self.steps
