"""Which optional packages are installed, and whether they can be loaded."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from sharpbit.errors import BrokenPackage, MissingExtra

EXTRAS = {
    "train": ("torch", "safetensors", "onnx", "onnxscript"),
    "openvino": ("openvino",),
    "formats": ("pi-heif", "imagecodecs"),
    "video": ("av",),
    "tflite": ("ai-edge-litert",),
    "web": ("starlette", "uvicorn", "python-multipart"),
    "spandrel": ("spandrel", "torchvision"),
    "batch": ("pyarrow", "fsspec"),
    "ray": ("ray", "pyarrow", "fsspec"),
}
# What keeps packages from telling their makers that they are used, or on what machine; who has set it has decided.
QUIET = {
    "onnxruntime": ("ORT_DISABLE_TELEMETRY", "1"),  # from 1.29 on
    "ray": ("RAY_USAGE_STATS_ENABLED", "0"),
}
REPORTERS = {
    "openvino": "openvino_telemetry"
}  # has no variable: it does without this package where it is not installed
LOADED = {"train": ("torch", "safetensors")}  # what all that needs an extra imports


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The version of each package, None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # a twentieth of a cold start

    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def loaded(package: str, what: str, extra: str | None = None) -> ModuleType:
    """A package, imported, and kept from reporting to its makers.

    Args:
        package: Its name, as `import` takes it.
        what: What needs it, for the error.
        extra: The extra of sharpbit that installs it; None (default) for a package of the core.

    Raises:
        MissingExtra: It is not installed, and `extra` would install it.
        BrokenPackage: It is installed, and fails as it is imported.
    """
    try:
        with _quiet(package.partition(".")[0]):
            return importlib.import_module(package)
    except Exception as error:  # whatever a package raises that is not whole: OSError, RuntimeError, AttributeError
        if extra is not None and isinstance(error, ModuleNotFoundError) and error.name == package:
            raise MissingExtra(what, extra) from None
        raise BrokenPackage(what, package, error) from error


@contextmanager
def _quiet(package: str) -> Iterator[None]:
    """Import a package without what it would report."""
    if package in QUIET:
        os.environ.setdefault(*QUIET[package])
    reporter = REPORTERS.get(package)
    if reporter is None or reporter in sys.modules or package in sys.modules:
        yield
        return
    sys.modules[reporter] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        del sys.modules[reporter]


def need(extra: str, what: str, *also: str) -> None:
    """Raise an error unless all packages of `extra` are there, and those that `what` begins with can be loaded.

    Args:
        extra: The extra, a name of `EXTRAS`.
        what: What needs it, for the error.
        also: Packages of it that this loads besides those of `LOADED`.

    Raises:
        MissingExtra: One is not installed; the error has the command that installs it.
        BrokenPackage: One is installed and fails as it is imported, as PyTorch does without its libraries.
    """
    if None in versions(EXTRAS[extra]).values():
        raise MissingExtra(what, extra)
    for package in (*LOADED.get(extra, ()), *also):
        loaded(package, what, extra)
