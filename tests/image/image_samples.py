"""Images and blocks of metadata for the tests."""

from __future__ import annotations

import base64
import io
import struct
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" a="b"/></x:xmpmeta>'


def array(height: int, width: int, channels: int, dtype: Any, seed: int = 0) -> np.ndarray:
    """A smooth image with noise in it, using the whole range."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / (9 + k) + y / (7 + 2 * k)) * 0.4 + 0.5 for k in range(channels)]
    values = np.stack(planes, axis=-1) + random.uniform(-0.05, 0.05, (height, width, channels))
    top = np.iinfo(dtype).max
    return (values.clip(0, 1) * top).round().astype(dtype)


def exif(orientation: int = 1, order: str = "<") -> bytes:
    """A block with maker, orientation, an inner directory with the size and a note of the maker, and a thumbnail."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "L", 8)
    inner_at, thumb_at, make_at, note_at = 100, 160, 220, 240
    main = struct.pack(order + "H", 3)
    main += struct.pack(order + "HHLL", 0x010F, 2, 10, make_at)
    main += struct.pack(order + "HHLHH", 0x0112, 3, 1, orientation, 0)
    main += struct.pack(order + "HHLL", 0x8769, 4, 1, inner_at)
    main += struct.pack(order + "L", thumb_at)
    inner = struct.pack(order + "H", 3)
    inner += struct.pack(order + "HHLL", 0x927C, 7, 16, note_at)
    inner += struct.pack(order + "HHLL", 0xA002, 4, 1, 111)
    inner += struct.pack(order + "HHLHH", 0xA003, 3, 1, 222, 0) + bytes(4)
    thumb = struct.pack(order + "HHHLHH", 1, 0x0103, 3, 1, 6, 0) + bytes(4)
    block = bytearray(256)
    for at, part in ((0, head + main), (inner_at, inner), (thumb_at, thumb), (make_at, b"Cameramak\0")):
        block[at : at + len(part)] = part
    block[note_at : note_at + 16] = b"note of the make"
    return bytes(block)


def png16(samples: np.ndarray, **options: Any) -> bytes:
    """A PNG file of (H, W, C) samples, written by pypng."""
    import png

    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    out = io.BytesIO()
    writer = png.Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=bits, **options)
    writer.write(out, samples.reshape(height, -1))
    return out.getvalue()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file that Pillow writes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_chunk(data: bytes, kind: bytes, body: bytes, *, last: bool = False) -> bytes:
    """A PNG file with one more chunk: behind the header, or before the end."""
    import zlib

    chunk = struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))
    at = len(data) - 12 if last else 33
    return data[:at] + chunk + data[at:]


def cmyk_profile() -> bytes:
    """A tiny CMYK profile whose corners are: no ink is white, any ink is mid grey, more is darker (ICC.1, lut8)."""
    nodes = bytes(
        value
        for cmyk in range(16)
        for value in ((255, 128, 128) if cmyk == 0 else (255 * (4 - bin(cmyk).count("1")) // 6, 128, 128))
    )
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + nodes + identity * 3
    text = b"text" + bytes(4) + b"none\0\0\0\0"
    desc = b"desc" + bytes(4) + struct.pack(">L", 5) + b"test\0" + bytes(78 + 5)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    parts = {b"A2B0": lut, b"cprt": text, b"desc": desc, b"wtpt": white}
    at, table, body = 128 + 4 + 12 * len(parts), struct.pack(">L", len(parts)), b""
    for kind, part in parts.items():
        part += bytes(-len(part) % 4)
        table += kind + struct.pack(">LL", at + len(body), len(part))
        body += part
    head = bytearray(128)
    head[0:4] = struct.pack(">L", 128 + len(table) + len(body))
    head[8:12] = b"\x02\x20\0\0"
    head[12:24] = b"prtrCMYKLab "
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    return bytes(head) + table + body


# 16 x 16 pixels of 12 bits per sample, written by libheif: grey 0.49 in the middle
AVIF_12_BITS = base64.b64decode(
    "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOptZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "AA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAEOAAEAAAAAAAAAKwAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEA"
    "AGF2MDEAAAAAamlwcnAAAABLaXBjbwAAABNjb2xybmNseAACAAIABoAAAAAMYXYxQ4FAbAAAAAAUaXNwZQAAAAAAAAAQAAAAEAAA"
    "ABBwaXhpAAAAAAMMDAwAAAAXaXBtYQAAAAAAAAABAAEEgYIDhAAAADNtZGF0EgAKCVgM/9jQICBuEDIcGAAOOOOEADB1k3Xwg0bf"
    "/lnBYPXYPy8nE33bgA=="
)
