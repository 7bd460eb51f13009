"""Formats that a model can be written in, one file each: `EXPORT(model, path, overwrite=...) -> Header`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from sharpbit.model import Model
from sharpbit.modelfile import Header
from sharpbit.system.catalog import Catalog


class Export(Protocol):
    """Writes a model to a file that an engine opens."""

    def __call__(self, model: Model, path: Path, *, overwrite: bool = False) -> Header:
        """Write `path` and return the header in it."""


EXPORTS: Mapping[str, Export] = Catalog("sharpbit.export", "EXPORT")
SUFFIXES = {"onnx": ".onnx", "native": ".sharpbit"}
