"""The data files of the experiments: where they are, and how they are fetched. They never lie in the project's own tree."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from lyapunov._optional import import_optional
from lyapunov.errors import InvalidInput

DATA_DIR = "LYAPUNOV_DATA_DIR"
"""Names the folder of the data; without it, the user's cache."""
REGISTRY = Path(__file__).with_name("registry.txt")
"""A line per file: its name, sha256, and an address pinned to a commit."""


@cache
def registry() -> dict[str, tuple[str, str]]:
    """Name -> (sha256, address)."""
    lines = (line.split() for line in REGISTRY.read_text().splitlines())
    return {name: (digest, address) for name, digest, address in lines}


def data_file(name: str) -> Path:
    """The path of a data file that is there. Raises InvalidInput with how to get it."""
    place = data_directory() / name
    if place.is_file():
        return place
    raise InvalidInput(
        f"Expected the data file {name} in {data_directory()}, got no such file. Fetch it with `lyapunov data fetch`, or set "
        f"{DATA_DIR} to a folder that has it."
    )


def fetch(say: Callable[[str], None]) -> list[Path]:
    """Every data file, checked by its sha256; those that are there and right are not fetched again.

    `say` is told each name. Raises InvalidInput where a file cannot be had, or is another than it should be.
    """
    pooch = import_optional("pooch", "tasks")
    known = registry()
    hashes, addresses = ({name: entry[at] for name, entry in known.items()} for at in (0, 1))
    store = pooch.create(path=data_directory(), base_url="", registry=hashes, urls=addresses)
    pooch.get_logger().setLevel("WARNING")
    found = []
    for name in known:
        say(name)
        try:
            found.append(Path(store.fetch(name)))
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"Expected to fetch {name} from {addresses[name]}, got: {error}. Check the network, or put the file into "
                f"{data_directory()} by hand."
            ) from error
    return found


def data_directory() -> Path:
    """Where data files are: what LYAPUNOV_DATA_DIR names, else the user's cache."""
    chosen = os.environ.get(DATA_DIR)
    if chosen:
        return Path(chosen)
    return Path(import_optional("pooch", "tasks").os_cache("lyapunov"))
