"""Formats that a model can be written in, one file each: `EXPORT(model, path, overwrite=...) -> Header`.

The package can be called: `sharpbit.export(model, "model.onnx")` is `write`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from torch import nn

from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.model.foreign import of_module
from sharpbit.modelfile import Header
from sharpbit.system.catalog import Catalog


class Export(Protocol):
    """Writes a model to a file that an engine opens."""

    def __call__(self, model: Model, path: Path, *, overwrite: bool = False) -> Header:
        """Write `path` and return the header in it."""


EXPORTS: Mapping[str, Export] = Catalog("sharpbit.export", "EXPORT")
AUTHORS = "authors"
SUFFIXES = {"onnx": ".onnx", "native": ".sharpbit", "tflite": ".tflite", AUTHORS: ".pth"}


def write(model: Model | nn.Module, path: str | Path, *, overwrite: bool = False) -> Header:
    """Write a model for engines, in the format that the ending of the file says.

    Args:
        model: A model, or any network in PyTorch, which is traced first.
        path: The file: `.onnx`, `.sharpbit` for networks in integers, `.tflite` for plain chains, or `.pth` for the
            programs of its authors.
        overwrite: Whether to replace a file of this name; False by default.

    Returns:
        The header of the file.

    Raises:
        UsageError: The ending is none of these, or the format does not take the model.
        ModelError: A network has an operator that is not known.
        OutputExists: The file exists and `overwrite` is false.

    Examples:
        >>> import sharpbit, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     header = sharpbit.export(sharpbit.build("espcn", scale=2), f"{folder}/espcn.onnx")
        >>> header.architecture
        'espcn'
    """
    suffix = Path(path).suffix.lower()
    form = next((name for name, ending in SUFFIXES.items() if ending == suffix), None)
    if form is None:
        raise UsageError(f"the result can be {' or '.join(SUFFIXES.values())}, not {Path(path).name!r}")
    return EXPORTS[form](of_module(model) if isinstance(model, nn.Module) else model, Path(path), overwrite=overwrite)


class _Callable(ModuleType):
    """A package that is called as its main function."""

    def __call__(self, *given: Any, **more: Any) -> Header:
        """See `write`."""
        return write(*given, **more)


sys.modules[__name__].__class__ = _Callable
