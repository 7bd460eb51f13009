"""Folders that work on their own: a model with what runs it, an example and a README."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sharpbit.deployment import native, onnx, web
from sharpbit.errors import OutputExists, UsageError
from sharpbit.modelfile import ModelFile

Writer = Callable[[ModelFile, Path], None]
TARGETS: Mapping[str, Writer] = {
    "c": native.in_c,
    "cpp": native.in_cpp,
    "onnx": onnx.for_runtime,
    "web": lambda file, folder: web.page([file], folder),
    "docker": lambda file, folder: (native.container if native.runs(file) else onnx.container)(file, folder),
}


def write(model: ModelFile | Sequence[ModelFile], target: str, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the folder; it appears complete or not at all.

    Args:
        model: The model file, with a header of ours; `web` takes several, too.
        target: A name of `TARGETS`.
        folder: The folder to make.
        overwrite: Whether to replace a folder that is there; False by default.

    Returns:
        The files in it, sorted.

    Raises:
        UsageError: There is no such target, or the model does not run there.
        OutputExists: The folder exists, holds something and `overwrite` is false.
    """
    if target not in TARGETS:
        raise UsageError(f"there is no target {target!r}; known are {', '.join(TARGETS)}")
    if target != "web" and not isinstance(model, ModelFile):
        raise UsageError(f"--to {target} takes one model: a file, or a name that 'sharpbit models' lists")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not overwrite)):
        raise OutputExists(f"{folder} exists; choose another folder, or --overwrite replaces it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as made:
        inner = Path(made) / folder.name
        inner.mkdir()
        if isinstance(model, ModelFile):
            TARGETS[target](model, inner)
        else:
            web.page(model, inner)
        if folder.exists():
            shutil.rmtree(folder)
        inner.replace(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
