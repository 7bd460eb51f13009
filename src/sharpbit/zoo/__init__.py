"""The embedded models: files of `zoo/models`, each with its card in its own header."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import Header, ModelFile

FOLDER = Path(__file__).parent / "models"
DEFAULT = "clean"  # the family for images that nothing is known of
SIZE, DEEP = "balanced", "float"  # the size that is taken by default, and for images of more than 8 bits


def names() -> tuple[str, ...]:
    """The names of the embedded models, by scale; read from the folder alone."""
    return _names(FOLDER)


@lru_cache(maxsize=4)
def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted((path.stem for path in folder.glob("*.onnx")), key=lambda name: (scale_of(name), name)))


def scale_of(name: str) -> int:
    """The scale that the name of an embedded model begins with."""
    return int(name.partition("-")[0].removeprefix("x"))


@lru_cache(maxsize=1)
def models() -> dict[str, Header]:
    """Name to header of every embedded model, by scale."""
    known = {name: open_file(name).header for name in names()}
    return {name: header for name, header in known.items() if header is not None}


@lru_cache(maxsize=32)
def _embedded(path: Path) -> ModelFile:
    return ModelFile(path, embedded=True)


def open_file(name: str) -> ModelFile:
    """The file of an embedded model, read once in the life of the process; or that of the path `name`.

    Raises:
        UsageError: It is neither a known name nor a file.
    """
    return _embedded(FOLDER / f"{name}.onnx") if name in names() else ModelFile(path_of(name))


def path_of(name: str) -> Path:
    """The file of an embedded model or of one that was added, or `name` itself where that is a path to a file.

    Raises:
        UsageError: neither a known name nor a file.
    """
    if not name:
        raise UsageError("the name of the model is empty; 'sharpbit models' lists those that there are")
    if name in names():
        return FOLDER / f"{name}.onnx"
    path = Path(name)
    if path.exists():
        return path
    from sharpbit.zoo import added  # which a first image of an embedded model does not need

    if (own := added.path_of(name)) is not None:
        return own
    if path.suffix or len(path.parts) > 1:
        raise ModelError(f"there is no model file {name}")
    import difflib

    near = difflib.get_close_matches(name, (*names(), *added.names()), 1, 0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"there is no model {name!r}; {hint}'sharpbit models' lists them, or give the path of an ONNX file"
    )


def for_scale(scale: int, deep: bool = False, family: str = DEFAULT) -> str | None:
    """The name of the default model for a scale, if there is one.

    Args:
        scale: The upscaling factor.
        deep: Whether it is for images of more than 8 bits.
        family: The family, such as `photo`; where a scale does not have it, that for images nothing is known of.
    """
    sizes = (DEEP, SIZE) if deep else (SIZE, DEEP)
    wanted = [f"x{scale}-{kind}-{size}" for kind in (family, DEFAULT) for size in sizes]
    return next((name for name in wanted if name in names()), None)


def families(scale: int) -> tuple[str, ...]:
    """The families of models that a scale has in the default size, such as `clean` and `photo`."""
    parts = [name.split("-") for name in names() if scale_of(name) == scale]
    return tuple(family for _, family, *size in parts if size == [SIZE])


def scales() -> list[int]:
    """The scales that the default model comes in."""
    return [scale_of(name) for name in names() if name.endswith(f"-{DEFAULT}-{SIZE}")]
