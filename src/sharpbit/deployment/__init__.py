"""Folders that work on their own: a model with what runs it, an example and a README."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sharpbit.deployment import native, onnx, tflite, web
from sharpbit.errors import OutputExists, UsageError
from sharpbit.modelfile import ModelFile

One = Callable[[ModelFile, Path], None]
ONE: Mapping[str, One] = {
    "c": native.in_c,
    "cpp": native.in_cpp,
    "onnx": onnx.for_runtime,
    "docker": lambda file, folder: (native.container if native.runs(file) else onnx.container)(file, folder),
}
SEVERAL: Mapping[str, Callable[[Sequence[ModelFile], Path], None]] = {"web": web.page, "tflite": tflite.for_phones}
TARGETS = ("c", "cpp", "onnx", "web", "tflite", "docker")


def write(models: Sequence[ModelFile], target: str, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the folder; it appears complete or not at all.

    Args:
        models: The model files, with a header of ours; only `web` and `tflite` take several.
        target: A name of `TARGETS`.
        folder: The folder to make.
        overwrite: Whether to replace a folder that is there; False by default.

    Returns:
        The files in it, sorted.

    Raises:
        UsageError: There is no such target, the model does not run there, or the folder holds the working folder.
        OutputExists: The folder exists, holds something and `overwrite` is false.
    """
    if target not in TARGETS:
        raise UsageError(f"there is no target {target!r}; known are {', '.join(TARGETS)}")
    if target in ONE and len(models) != 1:
        raise UsageError(f"--to {target} takes one model: a file, or a name that 'sharpbit models' lists")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not overwrite)):
        raise OutputExists(f"{folder} exists; choose another folder, or --overwrite replaces it")
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise UsageError(f"{folder} holds the working folder, which cannot be replaced; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent) as made:
        inner = Path(made) / folder.name
        try:
            inner.mkdir()
            if target in ONE:
                ONE[target](models[0], inner)
            else:
                SEVERAL[target](models, inner)
        except OSError as error:  # which names what stands for the folder until then
            if error.errno is None or not str(error.filename2 or error.filename or made).startswith(made):
                raise
            raise OSError(error.errno, error.strerror, str(folder)) from None
        if folder.exists():
            shutil.rmtree(folder)
        inner.replace(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
