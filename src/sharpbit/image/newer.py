"""HEIC by the extra `formats` (pi-heif), JPEG XL by OpenImageIO, and AVIF of more than 8 bits by the same extra."""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from sharpbit.errors import ImageError, MissingExtra
from sharpbit.image import deep
from sharpbit.image.data import Array, Metadata, check_size
from sharpbit.image.metadata import exif_of, fitting_icc, kept, upright, with_profile, xmp_of
from sharpbit.image.space import ColourSpace, of_nclx
from sharpbit.system.extras import loaded

EXTRA_FORMATS = MappingProxyType(dict.fromkeys((".heic", ".heif", ".hif", ".heics", ".heifs"), "formats"))
"""File extension (lower case, with its dot) -> the extra of sharpbit that reads such images."""

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_MAX_BLOCK = 16 * 2**20  # bytes of EXIF or XMP


def missing_extra(path: Path) -> str | None:
    """The extra that has to be installed before an image of this name can be read; None where it can be."""
    extra = EXTRA_FORMATS.get(path.suffix.lower())
    return extra if extra and importlib.util.find_spec("pi_heif") is None else None


def kind_of(file: BinaryIO) -> str | None:
    """`HEIF` or `JPEGXL` by the first bytes of a file, or None; the file is at its start afterwards."""
    head = file.read(64)
    file.seek(0)
    if head.startswith(_JXL):
        return "JPEGXL"
    if head[4:8] != b"ftyp" or head[8:12] in (b"avif", b"avis"):
        return None
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length, 4))}
    return "HEIF" if brands & _HEIC_BRANDS else None


class NewerImage:
    """An opened HEIC or JPEG XL image, whose pixels are decoded by `read`; it is upright.

    Args:
        file: The file, at its start.
        kind: What `kind_of` says.
        name: The name of the file, for errors.

    Raises:
        ImageError: the extra that reads it is not installed.
        BrokenPackage: it is installed and cannot be loaded.
    """

    def __init__(self, file: BinaryIO, kind: str, name: str) -> None:
        self.kind, self._file, self._name = kind, file, name
        self._heif: Any = None
        if kind == "HEIF":
            try:
                module = loaded("pi_heif", f"reading {name}", "formats")
            except MissingExtra:
                raise ImageError(
                    f"{name} is a HEIC image, which needs packages that are not installed;"
                    " run: pip install 'sharpbit[formats]'"
                ) from None
            self._heif = module.open_heif(file, convert_hdr_to_8bit=False)
            self.width, self.height = self._heif.size
        else:
            self.height, self.width = deep.size_of(file, name, ".jxl")

    def read(self, max_pixels: int, notes: list[str]) -> tuple[Array, Array | None, Metadata]:
        """The pixels, the alpha and the metadata; what the user must hear is added to `notes`."""
        check_size(self._name, self.height, self.width, max_pixels)
        return self._read_heif(notes) if self.kind == "HEIF" else self._read_jxl(notes)

    def _read_heif(self, notes: list[str]) -> tuple[Array, Array | None, Metadata]:
        heif, info = self._heif, self._heif.info
        samples = np.asarray(heif)
        samples = samples[..., None] if samples.ndim == 2 else samples
        bits = int(info.get("bit_depth", 8))
        held = bits if 8 < bits < 16 else None
        if samples.dtype.itemsize > 1:
            samples = full_scale(samples >> (16 - bits), bits)
            if 8 < bits < 16:
                notes.append(f"{bits}-bit samples scaled to 16 bits")
        pixels, alpha = deep.split(samples)
        if alpha is not None and heif.mode.startswith(("RGBa", "La")):
            pixels = deep.unmultiplied(pixels, alpha)
        if len(heif) > 1:
            notes.append(f"one of {len(heif)} images")
        if any("gainmap" in str(kind).lower() for kind in info.get("aux", ())):
            notes.append("gain map left out")
        nclx = info.get("nclx_profile")
        names = ("color_primaries", "transfer_characteristics", "matrix_coefficients", "full_range_flag")
        cicp = of_nclx(*(int(nclx[key]) for key in names)) if nclx else None
        cicp = (*cicp[:3], 1) if cicp else None  # what is decoded has the full range
        icc = fitting_icc(info.get("icc_profile"), pixels.shape[2], notes)
        metadata = _metadata(info.get("exif"), info.get("xmp"), icc, None if icc else cicp, notes)
        return pixels, alpha, replace(metadata, bits=held)

    def _read_jxl(self, notes: list[str]) -> tuple[Array, Array | None, Metadata]:
        samples, attributes = deep.decode_with(self._file, self._name, ".jxl", (self.height, self.width))
        pixels, alpha = deep.split(samples[..., :4])
        if samples.shape[2] > 4:
            notes.append(f"{samples.shape[2] - 4} extra channels left out")
        profile = attributes.get("ICCProfile")
        profile = None if profile is None else bytes(bytearray(np.asarray(profile, np.uint8)))
        numbers = attributes.get("CICP")
        cicp = of_nclx(*(int(number) for number in numbers)) if numbers and numbers[0] else None
        blocks = _boxes(self._file, notes)
        exif = blocks.get(b"Exif", b"")
        exif = exif[4 + int.from_bytes(exif[:4], "big") :]
        plain = numbers is not None and cicp is None and tuple(numbers[:2]) in ((1, 13), (0, 13))
        icc = None if plain or cicp else fitting_icc(profile, pixels.shape[2], notes)  # libjxl makes one of the numbers
        return pixels, alpha, _metadata(exif or None, blocks.get(b"xml "), icc, cicp, notes)


def deep_avif(file: BinaryIO, size: tuple[int, int], bits: int) -> Array | None:
    """The samples `(H, W, channels)` of an AVIF file of 10 or 12 bits in 16 bits; None without the extra `formats`."""
    if importlib.util.find_spec("imagecodecs") is None:
        return None
    file.seek(0)
    samples = np.asarray(loaded("imagecodecs", "AVIF of more than 8 bits").avif_decode(file.read(), index=0))
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.shape[:2] != size or samples.dtype != np.uint16:
        return None
    return full_scale(samples, bits)


def full_scale(samples: Array, bits: int) -> Array:
    """Samples of so many bits in 16: white is 65535."""
    most = (1 << bits) - 1
    table = (np.arange(most + 1, dtype=np.uint64) * 65535 + most // 2) // most
    scaled: Array = table.astype(np.uint16)[np.minimum(samples, most)]
    return scaled


def _metadata(
    exif: object, xmp: object, icc: bytes | None, cicp: tuple[int, int, int, int] | None, notes: list[str]
) -> Metadata:
    block = exif_of(exif, notes)
    colour = with_profile(ColourSpace(cicp=cicp), icc, block)
    return upright(Metadata(exif=block, xmp=xmp_of(xmp, notes), colour=colour))


def _boxes(file: BinaryIO, notes: list[str]) -> dict[bytes, bytes]:
    """EXIF and XMP of a JPEG XL container, by the kind of their box; a bare stream has none."""
    found = dict[bytes, bytes]()
    file.seek(0)
    if file.read(2) == _JXL[0]:
        return found
    file.seek(0)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">L4s", head)
        rest = int.from_bytes(file.read(8), "big") - 16 if length == 1 else length - 8
        if kind in (b"Exif", b"xml ", b"brob") and 4 < rest <= _MAX_BLOCK:
            body = file.read(rest)
            if kind == b"brob":
                kind, body = body[:4], kept(lambda data=body: _unpacked(data[4:]), "compressed metadata", notes) or b""  # type: ignore[misc]
            found.setdefault(kind, body)
        elif rest > 0:
            file.seek(rest, 1)
        else:
            break
    return found


def _unpacked(data: bytes) -> bytes:
    """A block that was compressed by Brotli. Raises ValueError without the extra `formats`, or if it is too large."""
    if importlib.util.find_spec("imagecodecs") is None:
        raise ValueError("sharpbit[formats] reads it")
    return bytes(loaded("imagecodecs", "compressed metadata").brotli_decode(data, out=_MAX_BLOCK))
