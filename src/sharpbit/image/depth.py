"""How many bits the samples of a file have, by its header, and PPM files of more than 8, which are read here."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from PIL.ImageFile import ImageFile

from sharpbit.image.data import Array


def bits(file: BinaryIO, pil_image: ImageFile) -> int:
    """The bits per sample of a file that Pillow opened and has not decoded, where they may be more than 8."""
    here = file.tell()
    try:
        file.seek(0)
        head = file.read(4096)
    finally:
        file.seek(here)
    if pil_image.format == "PNG":
        return head[24]
    if pil_image.format == "SGI":
        return 8 * head[3]
    if (
        pil_image.format == "JPEG2000"
    ):  # SIZ marker: its length, 34 bytes of sizes, the number of components, their depth
        at = head.find(b"\xff\x51")
        return (head[at + 40] & 0x7F) + 1 if 0 <= at < len(head) - 40 else 8
    if pil_image.format == "AVIF":  # box av1C: a marker, profile and level, then the flags of high bit depth
        at = head.find(b"av1C")
        flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
        return 12 if flags & 0x20 and flags & 0x40 else 10 if flags & 0x40 else 8
    if pil_image.format == "PPM":
        most = _ppm_most(pil_image)
        return 8 if most <= 255 else most.bit_length()
    if (
        pil_image.format == "DDS"
        and pil_image.tile
        and pil_image.tile[0][0] == "bcn"
        and pil_image.tile[0][3]
        and pil_image.tile[0][3][0] == 6
    ):
        return 16
    return 8


def is_wide_ppm(pil_image: ImageFile) -> bool:
    """Whether Pillow opened a binary PPM file of more than 8 bits, whose low bits it would drop."""
    return pil_image.format == "PPM" and pil_image.mode == "RGB" and bool(pil_image.tile) and _ppm_most(pil_image) > 255


def ppm_rgb(file: BinaryIO, pil_image: ImageFile) -> Array:
    """The pixels of such a PPM file, scaled to 16 bits."""
    count = pil_image.height * pil_image.width * 3
    file.seek(pil_image.tile[0].offset)
    data = file.read(2 * count)
    if len(data) < 2 * count:
        raise OSError("image file is truncated")
    values = np.frombuffer(data, ">u2").reshape(pil_image.height, pil_image.width, 3)
    most = _ppm_most(pil_image)
    table = (np.arange(65536, dtype=np.uint64).clip(0, most) * 65535 + most // 2) // most
    scaled: Array = table.astype(np.uint16)[values]
    return scaled


def _ppm_most(pil_image: ImageFile) -> int:
    """The sample value that means white in an opened and not decoded PPM file."""
    codec, _, _, args = pil_image.tile[0] if pil_image.tile else ("", None, 0, ())
    if codec == "raw":
        return 65535 if pil_image.mode == "I" else 255
    return int(args[1]) if codec == "ppm" and isinstance(args, tuple) else 255
