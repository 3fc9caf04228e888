"""What can speak against a result."""

from typing import Literal, NamedTuple

Kind = Literal["too short", "drifting", "unbounded", "groups", "unreliable tail", "finite-time"]


class Finding(NamedTuple):
    """Something that keeps a result from being converged, in one kind of word and in one sentence."""

    kind: Kind
    message: str
