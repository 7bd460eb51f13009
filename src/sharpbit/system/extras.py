"""Which optional packages are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sharpbit.errors import MissingExtra

EXTRAS = {
    "train": ("torch", "safetensors", "onnx", "onnxscript"),
    "openvino": ("openvino",),
    "formats": ("pi-heif", "imagecodecs"),
}


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The version of each package, None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def need(extra: str, what: str) -> None:
    """Raise MissingExtra unless all packages of `extra` are there.

    Raises:
        MissingExtra: with the command that installs them.
    """
    if None in versions(EXTRAS[extra]).values():
        raise MissingExtra(what, extra)
