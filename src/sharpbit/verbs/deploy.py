"""A model as a folder that works on its own."""

from __future__ import annotations

from pathlib import Path

from sharpbit import deployment, zoo


def deploy(model: str | Path | None, to: str, output: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write a folder that works on its own: the model, what runs it, an example and a README.

    Args:
        model: a model file (`.sharpbit`, `.onnx`, for `tflite` also `.safetensors`), or an embedded name; None: for
            `web` all families and scales of embedded models, of which the page chooses.
        to: `c` or `cpp` (the native engine as sources, for a compiler alone), `onnx` (for ONNX Runtime alone),
            `tflite` (for LiteRT alone), `docker` (a container file around one of these), or `web` (a page that upscales
            on the visitor's own device).
        output: the folder to make; it appears complete or not at all.
        overwrite: replace a folder that is there; False by default.

    Returns:
        The files that were written, sorted.

    Raises:
        UsageError: there is no such target, or the model does not run there.
        OutputExists: the folder holds something and `overwrite` is false.
        ModelError: the file is damaged.

    Examples:
        >>> import sharpbit
        >>> files = sharpbit.deploy("x2-clean-balanced", "c", "upscaler")
        >>> {"Makefile", "README.md", "example.c", "model.c"} < {path.name for path in files}
        True
    """
    return deployment.write([zoo.open_file(name) for name in _names(model, to)], to, Path(output), overwrite=overwrite)


def _names(model: str | Path | None, to: str) -> list[str]:
    """The files that go into a folder: embedded models bring those along that belong to them."""
    if model is None:
        found = (zoo.for_scale(scale, False, kind) for scale in zoo.scales() for kind in zoo.families(scale))
        return [name for name in found if name] if to == "web" else []
    name = str(model)
    stem, _, size = name.rpartition("-")
    other = f"{stem}-{zoo.DEEP if size == zoo.SIZE else zoo.SIZE}"
    pair = to == "tflite" and {name, other} <= set(zoo.names()) and size in (zoo.SIZE, zoo.DEEP)
    return [name, other] if pair else [name]
