"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    """Write next to `path`, then replace it, so that no reader and no kill ever finds half a file there.

    The file being written carries the process's number, for two processes may write the same one, and ends in ".partial",
    which every reader of the package passes over. An error removes it and leaves what was at `path` before.

    Args:
        path: where the file belongs; its folder must exist.
        content: text (UTF-8), bytes, or a function that writes to the path it receives.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        if isinstance(content, str):
            partial.write_text(content, encoding="utf-8")
        elif isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            content(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):  # the error that matters is the one above
            partial.unlink(missing_ok=True)
        raise
