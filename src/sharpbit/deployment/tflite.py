"""TensorFlow Lite files with a program of a few lines, for LiteRT alone: on phones, or in Python to try them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from sharpbit.deployment.texts import TEMPLATES, example, fill
from sharpbit.errors import UsageError
from sharpbit.modelfile import Header, ModelFile
from sharpbit.system.extras import need

REQUIREMENTS = ("ai-edge-litert", "numpy", "pillow")
SAMPLES = {"float32": "float32, RGB from 0 to 1", "int8": "int8, RGB less 128"}


def for_phones(files: Sequence[ModelFile], folder: Path) -> None:
    """A folder for LiteRT.

    Args:
        files: The model, and the same in another precision where there is one.
        folder: The folder to write into.

    Raises:
        UsageError: no model was named, or it is no plain chain.
        MissingExtra: what writes these files is not installed.
    """
    if not files:
        raise UsageError("--to tflite takes a model: a file, or a name that 'sharpbit models' lists")
    need("train", "writing TensorFlow Lite files", "torch")
    headers = [_written(file, folder) for file in files]
    shutil.copyfile(TEMPLATES / "tflite" / "upscale.py", folder / "upscale.py")
    (folder / "requirements.txt").write_text("".join(f"{name}\n" for name in REQUIREMENTS))
    example(folder / "example.ppm")
    rows = "\n".join(_row(folder / _name(header), header) for header in headers)
    first, licence = headers[0], headers[0].licence or "not known"
    values = {"name": first.name, "scale": str(first.scale), "files": rows, "first": _name(first), "licence": licence}
    fill("tflite/README.md", folder / "README.md", **values)


def _written(file: ModelFile, folder: Path) -> Header:
    from sharpbit import model as models  # only here, as torch is slow to load
    from sharpbit.export import EXPORTS

    model = models.load(file.path)
    return EXPORTS["tflite"](model, folder / _name(model.header()))


def _name(header: Header) -> str:
    return f"model_{header.precision.removesuffix('32')}.tflite"


def _row(path: Path, header: Header) -> str:
    return f"| `{path.name}` | {header.precision} | {SAMPLES[header.precision]} | {path.stat().st_size:,} |"
