"""The command `lyapunov data`, which brings the data of the experiments to this machine."""

from typing import Literal

from lyapunov.cli import Loading


def data(action: Literal["fetch"], /) -> None:
    """Fetch the data of the experiments, or say where it is.

    War and Peace (3.2 million characters) and 24 recordings of human motion from CMU, 18 MB, from pinned addresses, each
    checked by its sha256. They go into the folder that LYAPUNOV_DATA_DIR names, else into the cache; what is there is left.

    Parameters
    ----------
    action
        "fetch".
    """
    with Loading():
        from lyapunov.tasks import DATA_DIR, data_directory, fetch

    found = fetch(lambda name: print(name, flush=True))
    print(f"{action}: {len(found)} files in {data_directory()} (the folder is {DATA_DIR}, where that is set)")
