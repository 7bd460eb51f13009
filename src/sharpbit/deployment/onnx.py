"""An ONNX file with a program of a few lines, for ONNX Runtime alone or in a container."""

from __future__ import annotations

import shutil
from pathlib import Path

from sharpbit.deployment.texts import TEMPLATES, example, readme
from sharpbit.errors import UsageError
from sharpbit.modelfile import Header, ModelFile, several

REQUIREMENTS = ("numpy", "onnxruntime", "pillow")
FLOATS = "`(1, 3, height, width)` float32, RGB from 0 to 1, and gives the same, larger"
BYTES = "`(1, height, width, 3)` uint8, RGB, and gives the same, larger"


def for_runtime(file: ModelFile, folder: Path) -> None:
    """A folder for ONNX Runtime.

    Raises:
        UsageError: it is no ONNX file of ours with one graph.
    """
    header = _checked(file)
    shutil.copyfile(file.path, folder / "model.onnx")
    shutil.copyfile(TEMPLATES / "onnx" / "upscale.py", folder / "upscale.py")
    (folder / "requirements.txt").write_text("".join(f"{name}\n" for name in REQUIREMENTS))
    example(folder / "example.ppm")
    layout = BYTES if header.range == (0.0, 255.0) else FLOATS
    readme("onnx/README.md", folder / "README.md", header, len(file.data), layout=layout)


def container(file: ModelFile, folder: Path) -> None:
    """A container file that runs it.

    Raises:
        UsageError: it is no ONNX file of ours with one graph.
    """
    for_runtime(file, folder)
    (folder / "README.md").rename(folder / "README.onnx.md")
    shutil.copyfile(TEMPLATES / "docker" / "Dockerfile.onnx", folder / "Dockerfile")
    header = _checked(file)
    values = {"tag": header.name.lower(), "base": "onnx", "paths": "/images/IN.png /images/OUT.png"}
    readme("docker/README.md", folder / "README.md", header, len(file.data), **values)


def _checked(file: ModelFile) -> Header:
    if file.suffix not in (".onnx", ".sharpbit"):
        raise UsageError(
            f"{file.name} holds weights, and ONNX Runtime takes .onnx; 'sharpbit export {file.name} -o"
            f" {file.path.stem}.onnx' writes it"
        )
    if file.suffix != ".onnx":
        raise UsageError(
            f"{file.name} is a file for the native engine, and ONNX Runtime takes .onnx; --to c takes it as it is, and"
            " 'sharpbit export --format onnx' writes a chain of convolutions and ReLU as .onnx"
        )
    header = file.verified
    if header is None:
        raise UsageError(
            f"{file.name} has no sharpbit header, so nothing is known of its input; 'sharpbit export {file.name} -o"
            " ours.onnx' writes it with one"
        )
    if several(header.history) is not None:
        raise UsageError(f"{file.name} has several graphs, which sharpbit itself cuts patches for; take one network")
    return header
