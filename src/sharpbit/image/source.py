"""From whatever was named to a binary file, and from whatever a decoder raised to one sentence."""

from __future__ import annotations

import contextlib
import io
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from sharpbit.errors import ImageError, ImageTooLarge, SharpbitError
from sharpbit.image.data import too_large

Source = Path | BinaryIO | bytes

_FOREIGN = {  # files that people take for images, by how they begin: (offset, bytes)
    (0, b"%PDF"): "a PDF document",
    (0, b"%!PS"): "a PostScript file",
    (0, b"\xc5\xd0\xd3\xc6"): "an EPS file",
    (0, b"<svg"): "an SVG drawing",
    (0, b"<?xml"): "an XML file (perhaps an SVG drawing)",
    (4, b"ftyphei"): "a HEIC image",
    (4, b"ftypmif1"): "a HEIF image",
    (4, b"ftypisom"): "a video",
    (4, b"ftypmp4"): "a video",
    (4, b"ftypqt"): "a video",
    (0, b"\xff\x0a"): "a JPEG XL image",
    (0, b"\0\0\0\x0cJXL "): "a JPEG XL image",
    (0, b"\x76\x2f\x31\x01"): "an OpenEXR image",
    (0, b"PK\x03\x04"): "a ZIP archive",
    (0, b"\x1f\x8b"): "a gzip archive",
}
_KNOWN = (  # signatures of formats that are read: such a file is damaged rather than foreign
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"8BPS"),
    *(b"DDS ", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\x01\xda", b"\0\0\1\0", b"P5", b"P6", b"qoif"),
)


def name_of(source: object) -> str:
    """What a message calls a source that was given no name."""
    if isinstance(source, Path | str):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the image"


@contextlib.contextmanager
def opened(source: Source, name: str, max_pixels: int) -> Iterator[BinaryIO]:
    """A seekable binary file, at its start.

    Raises:
        ImageError: it does not exist, may not be read, is a folder or is empty.
        ImageTooLarge: a stream that cannot seek is longer than any image of `max_pixels` needs.
    """
    with contextlib.ExitStack() as stack:
        file: BinaryIO
        if isinstance(source, bytes | bytearray | memoryview):
            file = io.BytesIO(source)
        elif isinstance(source, Path | str):
            file = stack.enter_context(_open(Path(source), name))
        else:
            file = source
        try:
            if not getattr(file, "seekable", bool)():  # what has only read() cannot seek either
                file = io.BytesIO(read_all(file, name, max_pixels))
            file.seek(0)
            empty = not _bytes(file.read(1), name)
            file.seek(0)
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror or error}") from error
        except ValueError as error:  # of a file that was closed
            raise ImageError(f"{name} cannot be read: {error}") from error
        if empty:
            raise ImageError(f"{name} is empty: it holds no image; get it again from where it came from")
        yield file


@contextlib.contextmanager
def sentences(name: str, file: BinaryIO, max_pixels: int) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError` of one sentence."""
    try:
        yield
    except SharpbitError:
        raise
    except UnidentifiedImageError as error:
        file.seek(0)
        raise _unidentified(name, file.read(64)) from error
    except Image.DecompressionBombError as error:  # "Image size (N pixels) exceeds limit of ..."
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        raise too_large(name, "", int(pixels[1]) if pixels else 2 * max_pixels, max_pixels) from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory to read than there is; read it on a larger machine") from error
    except Exception as error:  # broken files make decoders raise nearly anything
        raise damaged(name, _reason(error)) from error


def damaged(name: str, reason: str) -> ImageError:
    """The error for an image that a decoder gave up on."""
    reason = " ".join(reason.split()).rstrip(".!")[:160] or "no reason given"
    return ImageError(f"{name} is damaged or cut off ({reason}); get it again from where it came from")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError | IndexError | TypeError | AttributeError | AssertionError | struct.error):
        return "its header makes no sense"
    return str(error)


def _unidentified(name: str, head: bytes) -> ImageError:
    for (offset, mark), what in _FOREIGN.items():
        if head[offset:].startswith(mark):
            return ImageError(f"{name} is {what}, which is not read here; convert it to PNG, TIFF or JPEG first")
    if head.startswith(_KNOWN) or head[4:].startswith(b"ftypavi"):
        return damaged(name, "its header makes no sense")
    return ImageError(f"{name} is not an image of a known format; convert it to PNG, TIFF or JPEG first")


def _open(path: Path, name: str) -> BinaryIO:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise ImageError(f"{name} is a folder, where an image was expected; name the images in it")
        return path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist; check the name and the folder") from None
    except PermissionError:
        raise ImageError(f"{name} may not be read by you; change its permissions or copy it") from None
    except (OSError, ValueError) as error:  # a name that is too long, loops or holds a null byte
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name} cannot be opened: {reason}") from None


def read_all(file: BinaryIO, name: str, max_pixels: int) -> bytes:
    """The whole of a stream, from where it stands; 8 bytes per pixel are what uncompressed 16-bit RGBA needs.

    Raises:
        ImageTooLarge: It is longer than any image of `max_pixels` needs.
        ImageError: It gives something else than bytes.
    """
    limit = 8 * max_pixels + 64 * 2**20
    pieces, size = [], 0
    while piece := file.read(1 << 20):
        pieces.append(_bytes(piece, name))
        size += len(piece)
        if size > limit:
            raise ImageTooLarge(
                f"{name} is longer than {limit:,} bytes, more than an image of {max_pixels:,} pixels needs; "
                "if that is meant, raise the limit with --max-pixels"
            )
    return b"".join(pieces)


def _bytes(piece: Any, name: str) -> bytes:
    """What a file gave, which is text where it was not opened for bytes."""
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise ImageError(f"{name} gives {type(piece).__name__} where bytes are expected; open it for bytes, with 'rb'")
    return bytes(piece)
