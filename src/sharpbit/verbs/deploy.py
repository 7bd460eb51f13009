"""A model as a folder that works on its own."""

from __future__ import annotations

from pathlib import Path

from sharpbit import deployment, zoo


def deploy(model: str | Path | None, to: str, output: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write a folder that works on its own: the model, what runs it, an example and a README.

    Args:
        model: a model file (`.sharpbit` or `.onnx`), or an embedded name; None: for `web` all families and scales of
            embedded models, of which the page chooses.
        to: `c` or `cpp` (the native engine as sources, for a compiler alone), `onnx` (for ONNX Runtime alone), `docker`
            (a container file around one of these), or `web` (a page that upscales on the visitor's own device).
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
    names = [
        name
        for scale in zoo.scales()
        for family in zoo.families(scale)
        if (name := zoo.for_scale(scale, False, family))
    ]
    file = [zoo.open_file(name) for name in names] if model is None else zoo.open_file(str(model))
    return deployment.write(file, to, Path(output), overwrite=overwrite)
