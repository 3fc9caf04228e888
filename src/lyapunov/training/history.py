"""What happened in a run, on disk: an append-only history.jsonl and one safetensors file per spectrum."""

import json
import os
from pathlib import Path
from typing import Any

from lyapunov._plain import plain
from lyapunov.estimate import Spectrum


class History:
    """A run's directory. A kill at any moment loses at most the record being written and harms none before it."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file = self.directory / "history.jsonl"
        self._drop_torn_line()

    def append(self, record: dict[str, Any]) -> None:
        """One line, on disk when this returns."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(record), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _drop_torn_line(self) -> None:
        """What a kill in the middle of writing left at the end, so that the next record starts a line of its own."""
        if not self.file.exists():
            return
        content = self.file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.file.open("r+b") as file:
                file.truncate(whole)

    def save_spectrum(self, spectrum: Spectrum, step: int) -> Path:
        """spectra/000012.safetensors for step 12."""
        path = self.directory / "spectra" / f"{step:06d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        spectrum.save(path)
        return path

    def spectra(self) -> dict[int, Spectrum]:
        """Every saved spectrum, by step."""
        files = sorted((self.directory / "spectra").glob("[0-9]*.safetensors"))
        return {int(file.stem): Spectrum.load(file) for file in files}


def read_history(path: str | Path) -> list[dict[str, Any]]:
    """The records of a history file; a last line that a kill cut short is passed over."""
    records = []
    for line in Path(path).read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            records.append(json.loads(line))
    return records
