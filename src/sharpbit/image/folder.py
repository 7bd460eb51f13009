"""The images in a folder that a network is calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sharpbit.errors import UsageError
from sharpbit.image import is_image_name


def in_folder(folder: str | Path) -> list[Path]:
    """The images that a folder and its subfolders hold, sorted.

    Raises:
        UsageError: no folder, or no images in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one with ordinary images to calibrate on")
    paths = sorted(path for path in folder.rglob("*") if is_image_name(path))
    if not paths:
        raise UsageError(f"{folder} holds no images to calibrate on; give a folder of PNG or JPEG files")
    return paths


def spread_over(paths: Sequence[Path], most: int) -> list[Path]:
    """At most so many of the files, spread evenly."""
    return [paths[k * len(paths) // most] for k in range(most)] if len(paths) > most else list(paths)
