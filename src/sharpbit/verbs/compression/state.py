"""What was tried and measured before, in a folder beside the result: a run that was ended goes on from there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sharpbit.errors import OutputExists
from sharpbit.system.atomic import open_atomic

NAME = "tried.json"


class State:
    """The ways that were tried, by name. Each is a table that is written when its file is complete and measured.

    Args:
        folder: the folder; it is made, or read where it lies there already.
        key: all that the measurements depend on. What was found with another key is removed.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder = folder
        self._key = _digest(key)
        self.tried: dict[str, dict[str, Any]] = self._read()
        if not self.tried:
            remove(folder)
        folder.mkdir(parents=True, exist_ok=True)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads((self.folder / NAME).read_text())
            same = found["key"] == self._key
            tried = dict(found["tried"]) if same else {}
        except (OSError, ValueError, LookupError, TypeError):
            return {}
        return {name: table for name, table in tried.items() if self.path(table) is None or self._whole(table)}

    def _whole(self, table: Mapping[str, Any]) -> bool:
        path = self.path(table)
        return path is not None and path.is_file() and _sha256(path) == table.get("sha256")

    def path(self, table: Mapping[str, Any]) -> Path | None:
        """The file of a way; None where it failed."""
        return self.folder / table["file"] if table.get("file") else None

    def add(self, name: str, table: Mapping[str, Any], path: Path | None) -> None:
        """Keep what was found of a way, and its file."""
        extra = {"file": path.name, "sha256": _sha256(path)} if path is not None else {}
        self.tried[name] = {**table, **extra}
        with open_atomic(self.folder / NAME, overwrite=True) as file:
            file.write(json.dumps({"key": self._key, "tried": self.tried}).encode())


def check_same(folder: Path, key: Mapping[str, Any], *, overwrite: bool) -> None:
    """See whether what a folder holds was found with this key, or nothing is there.

    Raises:
        OutputExists: it was found with another one, and `overwrite` is false.
    """
    try:
        found = json.loads((folder / NAME).read_text())
        same = isinstance(found, dict) and found.get("key") == _digest(key)
    except (OSError, ValueError):
        same = not folder.is_dir() or not any(folder.iterdir())
    if not same and not overwrite:
        raise OutputExists(
            f"{folder} holds results of other images or sizes, or other files; choose another folder, or --overwrite"
            " replaces the results"
        )


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def remove(folder: Path) -> None:
    """Remove the folder and what `compress` wrote there; a folder with other things in it stays."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_file() and (path.name == NAME or path.suffix in (".onnx", ".sharpbit", ".part")):
            path.unlink()
    if not any(folder.iterdir()):
        shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
