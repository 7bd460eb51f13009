"""The embedded models: files of `zoo/models`, each with its card in its own header."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path

from sharpbit import modelfile
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import Header

FOLDER = Path(__file__).parent / "models"
DEFAULT = "clean-balanced"
DEEP = "clean-float"  # the default for images of more than 8 bits


@lru_cache(maxsize=1)
def models() -> dict[str, Header]:
    """Name to header of every embedded model, by scale."""
    headers = {path.stem: modelfile.read(path) for path in FOLDER.glob("*.onnx")}
    known = {name: header for name, header in headers.items() if header is not None}
    return dict(sorted(known.items(), key=lambda item: (item[1].scale, item[0])))


def path_of(name: str) -> Path:
    """The file of an embedded model, or `name` itself where that is a path to a file.

    Raises:
        UsageError: neither a known name nor a file.
    """
    if not name:
        raise UsageError("the name of the model is empty; 'sharpbit models' lists those that there are")
    if name in models():
        return FOLDER / f"{name}.onnx"
    path = Path(name)
    if path.exists():
        return path
    if path.suffix or len(path.parts) > 1:
        raise ModelError(f"there is no model file {name}")
    near = difflib.get_close_matches(name, models(), 1, 0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"there is no model {name!r}; {hint}'sharpbit models' lists them, or give the path of an ONNX file"
    )


def for_scale(scale: int, deep: bool = False) -> str | None:
    """The name of the default model for a scale, if there is one.

    Args:
        scale: upscaling factor.
        deep: for images of more than 8 bits.
    """
    names = [f"x{scale}-{kind}" for kind in ((DEEP, DEFAULT) if deep else (DEFAULT, DEEP))]
    return next((name for name in names if name in models()), None)


def scales() -> list[int]:
    """The scales that the default model comes in."""
    return [header.scale for name, header in models().items() if name.endswith(f"-{DEFAULT}")]
