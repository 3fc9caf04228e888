"""What a count finds."""

from typing import NamedTuple

from counts.tree import Place


class Found(NamedTuple):
    """A count, the places behind it, and what a reader should know besides."""

    count: int
    places: list[Place]
    notes: tuple[str, ...] = ()


def all_of(places: list[Place], *notes: str) -> Found:
    """A count of places."""
    return Found(len(places), sorted(places), notes)


def files_of(places: list[Place], *notes: str) -> Found:
    """A count of the files that the places are in."""
    return Found(len({place.file for place in places}), places, notes)
