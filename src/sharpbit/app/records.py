"""Results that were measured, kept in a folder, so that a long table goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sharpbit._version import __version__
from sharpbit.errors import UsageError
from sharpbit.measure.benchmarks import Benchmark
from sharpbit.verbs.kept import digest, facts, identity

FILE = "results.jsonl"


class Records:
    """One line of JSON for each model, appended when it has been measured.

    A result counts for exactly the bytes of the model file, the names and sizes of the image files, the engine, and
    this version of sharpbit: what changed is measured again.

    Args:
        folder: where `results.jsonl` lies; it is made.
        sets: the images that are measured on.
        how: what else the numbers depend on, such as the engine that was asked for.
    """

    def __init__(self, folder: Path, sets: Sequence[Benchmark], how: Sequence[str | None] = ()) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"tables cannot be written to {folder}: {error.strerror}") from None
        self.folder = folder
        self._data = digest(json.dumps([__version__, *how, *map(facts, sets)]).encode())
        self._known: dict[str, dict[str, Any]] = {}
        path = folder / FILE
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                self._known[entry.pop("key")] = entry
            except (ValueError, KeyError, AttributeError):
                continue  # the last line of a run that was killed

    def get(self, model: str, scale: int | None) -> dict[str, Any] | None:
        """What was measured of this model on these images, if it was."""
        return self._known.get(self._key(model, scale))

    def add(self, model: str, scale: int | None, entry: dict[str, Any]) -> None:
        """Keep a result."""
        line = json.dumps({"key": self._key(model, scale), **entry}, ensure_ascii=False)
        path = self.folder / FILE
        try:
            half = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")  # a run was killed while it wrote
            with path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n" if half else f"{line}\n")
        except OSError as error:
            raise UsageError(f"tables cannot be written to {self.folder}: {error.strerror}") from None

    def _key(self, model: str, scale: int | None) -> str:
        return f"{identity(model)}-{scale}-{self._data}"
