"""Samples of more than 8 bits, which Pillow cuts off: TIFF, PNG, SGI and JPEG XL through OpenImageIO."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sharpbit.errors import ImageError
from sharpbit.image.data import Array
from sharpbit.image.source import damaged


def decode(file: BinaryIO, name: str, suffix: str, size: tuple[int, int]) -> Array:
    """All samples (H, W, channels) of the file, uint8 or uint16, alpha as it is stored.

    Raises:
        ImageError: OpenImageIO cannot decode it, or finds another (height, width) than `size`, which was checked.
    """
    return decode_with(file, name, suffix, size)[0]


def size_of(file: BinaryIO, name: str, suffix: str) -> tuple[int, int]:
    """Height and width of a file that OpenImageIO opens. Raises ImageError if it does not."""
    with _opened(file, name, suffix) as reader:
        spec = reader.spec()
        return spec.height, spec.width


def decode_with(file: BinaryIO, name: str, suffix: str, size: tuple[int, int]) -> tuple[Array, dict[str, Any]]:
    """What `decode` gives, and what OpenImageIO knows beside the samples."""
    with _opened(file, name, suffix) as reader:
        spec = reader.spec()
        if (spec.height, spec.width) != size:
            raise damaged(name, "two readers see different sizes")
        if str(spec.format) not in ("uint8", "uint16"):
            raise ImageError(f"{name} has {spec.format} samples, which are not supported; convert it to 16 bits first")
        samples = reader.read_image(0, 0, 0, spec.nchannels, str(spec.format))
        message = reader.geterror()
        attributes = {attribute.name: attribute.value for attribute in spec.extra_attribs}
    if not isinstance(samples, np.ndarray):
        raise damaged(name, message)
    return samples.reshape(spec.height, spec.width, spec.nchannels), attributes


@contextlib.contextmanager
def _opened(file: BinaryIO, name: str, suffix: str) -> Iterator[Any]:
    import OpenImageIO as oiio  # noqa: N813  # slow to load and seldom needed

    wishes = oiio.ImageSpec()
    wishes.attribute("oiio:UnassociatedAlpha", 1)
    with _path_of(file, suffix) as path:
        reader = oiio.ImageInput.open(path, wishes)
        if reader is None:
            raise damaged(name, oiio.geterror())
        try:
            yield reader
        finally:
            reader.close()


def split(samples: Array) -> tuple[Array, Array | None]:
    """(H, W, 1 to 4) samples as contiguous pixels and alpha (second of two, fourth of four)."""
    colours = 3 if samples.shape[2] >= 3 else 1
    alpha = np.ascontiguousarray(samples[..., colours]) if samples.shape[2] > colours else None
    return np.ascontiguousarray(samples[..., :colours]), alpha


def unmultiplied(pixels: Array, alpha: Array) -> Array:
    """Colours divided by the alpha that was multiplied into them; where alpha is 0 they are 0."""
    top = int(np.iinfo(pixels.dtype).max)
    out = np.empty_like(pixels)
    for y in range(pixels.shape[0]):  # by rows: the products need 4 times the memory
        cover = np.maximum(alpha[y, :, None].astype(np.uint64), 1)
        row = np.minimum((pixels[y] * np.uint64(top) + cover // 2) // cover, top)
        out[y] = np.where(alpha[y, :, None] > 0, row, 0)
    return out


@contextlib.contextmanager
def _path_of(file: BinaryIO, suffix: str) -> Iterator[str]:
    """A path under which a library that takes paths alone can read `file`."""
    name = getattr(file, "name", None)
    if isinstance(name, str) and Path(name).is_file() and not _has_surrogates(name):
        yield name
        return
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="sharpbit-"))
    try:
        copy = folder / ("picture" + suffix)
        file.seek(0)
        with copy.open("wb") as out:
            shutil.copyfileobj(file, out)
        yield str(copy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)
