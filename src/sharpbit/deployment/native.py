"""The native engine as sources, with a model in integers as bytes: for C, for C++, and in a container."""

from __future__ import annotations

import shutil
from pathlib import Path

import sharpbit
from sharpbit.deployment.texts import TEMPLATES, example, fill, readme
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import Header, ModelFile, several
from sharpbit.modelfile import native as native_file
from sharpbit.modelfile.integer_file import payload, read

COMPILED = "example.o: example.cpp\n\t$(CXX) $(CXXFLAGS) -std=c++17 -Wall -Wextra -Iinclude -c -o $@ $<\n\n"
LINE = 20  # bytes a line of model.c


def runs(file: ModelFile) -> bool:
    """Whether a file holds integers that the native engine runs."""
    return file.suffix == ".sharpbit" or (file.header is not None and file.header.precision == "int8")


def in_c(file: ModelFile, folder: Path) -> None:
    """A folder for a C compiler.

    Raises:
        UsageError: the model is in float, or the engine's sources are not installed.
    """
    header, data = integers(file)
    _engine(folder)
    _model(folder, data)
    for name in ("Makefile", "example.c"):
        shutil.copyfile(TEMPLATES / "c" / name, folder / name)
    example(folder / "example.ppm")
    readme("c/README.md", folder / "README.md", header, len(data))


def in_cpp(file: ModelFile, folder: Path) -> None:
    """The same for C++, with a header that owns and throws.

    Raises:
        UsageError: the model is in float, or the engine's sources are not installed.
    """
    in_c(file, folder)
    (folder / "example.c").unlink()
    shutil.copyfile(TEMPLATES / "cpp" / "example.cpp", folder / "example.cpp")
    shutil.copyfile(TEMPLATES / "cpp" / "sharpbit.hpp", folder / "include" / "sharpbit.hpp")
    makefile = (folder / "Makefile").read_text().replace("example: example.o", f"{COMPILED}example: example.o", 1)
    (folder / "Makefile").write_text(makefile)
    header, data = integers(file)
    readme("cpp/README.md", folder / "README.md", header, len(data))


def container(file: ModelFile, folder: Path) -> None:
    """A container file that builds the folder for C.

    Raises:
        UsageError: the model is in float, or the engine's sources are not installed.
    """
    in_c(file, folder)
    (folder / "README.md").rename(folder / "README.c.md")
    shutil.copyfile(TEMPLATES / "docker" / "Dockerfile.native", folder / "Dockerfile")
    header, data = integers(file)
    values = {"tag": header.name.lower(), "base": "c", "paths": "IN.ppm OUT.ppm"}
    readme("docker/README.md", folder / "README.md", header, len(data), **values)


def integers(file: ModelFile) -> tuple[Header, bytes]:
    """The model as a native file, and its header."""
    if not runs(file):
        raise UsageError(_why_not(file))
    if file.suffix == ".sharpbit":
        header = file.verified
        assert header is not None
        return header, file.data
    try:
        network, header = read(file)
    except ModelError as error:
        raise UsageError(f"{error}; --to onnx takes it as it is") from None
    return native_file(header, payload(network))


def _why_not(file: ModelFile) -> str:
    """Why a file is not for the native engine, and what makes one that is."""
    if file.suffix == ".onnx" and (header := file.verified) is not None:
        if several(header.history) is not None:
            return f"{file.name} has several graphs, which sharpbit itself cuts patches for; take one network"
        if header.precision.startswith("W"):
            return (
                f"{file.name} is quantized for ONNX Runtime ({header.precision}), and the native engine runs integers;"
                " --to onnx takes it as it is, and 'sharpbit compress' makes a .sharpbit of the float network"
            )
    as_it_is = ", and --to onnx takes it as it is" if file.suffix == ".onnx" else ""
    return (
        f"{file.name} is in float, and the native engine runs integers; 'sharpbit compress {file.name} --calibrate"
        f" PHOTOS -o small.sharpbit' makes them of a network without quantizers{as_it_is}"
    )


def _engine(folder: Path) -> None:
    source = sources()
    for part, name in (("src", "engine"), ("include", "include")):
        (folder / name).mkdir()
        for path in sorted((source / part).iterdir()):  # copytree goes on after a failure and names all that follow
            shutil.copyfile(path, folder / name / path.name)
    shutil.copyfile(licence(), folder / "LICENSE")


def sources() -> Path:
    """The folder with the engine's `src` and `include`.

    Raises:
        UsageError: this installation has none.
    """
    package = Path(sharpbit.__file__).parent
    for folder in (package / "deployment" / "engine", package.parents[1] / "native"):
        if (folder / "src").is_dir():
            return folder
    raise UsageError("this sharpbit was installed without the sources of its engine; install it again from a wheel")


def licence() -> Path:
    """The text of the licence of the engine."""
    beside = sources() / "LICENSE"
    return beside if beside.exists() else sources().parent / "LICENSE"


def _model(folder: Path, data: bytes) -> None:
    rows = (data[start : start + LINE] for start in range(0, len(data), LINE))
    body = ",\n  ".join(",".join(map(str, row)) for row in rows)
    text = (
        '#include "model.h"\n\n'
        f"const uint8_t model_data[{len(data)}] = {{\n  {body}}};\nconst size_t model_size = sizeof model_data;\n"
    )
    (folder / "model.c").write_text(text)
    fill("c/model.h", folder / "model.h")
