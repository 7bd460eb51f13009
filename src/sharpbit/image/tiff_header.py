"""What the first directory of a TIFF file says, and the pixels of those that Pillow would cut to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from sharpbit.errors import ImageError
from sharpbit.image import xmp as xmp_block
from sharpbit.image.data import Array, Metadata
from sharpbit.image.deep import decode, split, unmultiplied
from sharpbit.image.metadata import fitting_icc, kept, tiff_dpi, tiff_exif, upright, with_profile, xmp_of
from sharpbit.image.space import ColourSpace

_WEBP_IN_TIFF = 50001  # compression that Pillow's libtiff lacks
_MOST_SAMPLES = 16
_ASSOCIATED = 1  # ExtraSamples: alpha, multiplied into the colours


@dataclass(frozen=True)
class TiffHeader:
    """What the first directory of a TIFF file says about its samples. `bits` is the most of any sample."""

    tags: dict[int, object]
    next: int
    height: int
    width: int
    bits: int
    samples: int
    kind: int
    photometric: int
    compression: int
    extra: tuple[int, ...]

    @property
    def turn(self) -> int:
        """The orientation (1 to 8) which the pixels need."""
        xmp = self.tags.get(700)
        value = _first(self.tags.get(274), 0) or xmp_block.orientation(xmp if isinstance(xmp, bytes) else None) or 1
        return value if 1 <= value <= 8 else 1

    @property
    def is_ours(self) -> bool:
        """Whether Pillow would lose something that OpenImageIO keeps."""
        if self.photometric not in (0, 1, 2) or self.kind != 1 or self.bits > 16:
            return False
        return self.bits > 8 or self.compression == _WEBP_IN_TIFF


def tiff_header(file: BinaryIO) -> TiffHeader | None:
    """The header of a TIFF file, or None if this is none or it is broken (Pillow then says what is wrong)."""
    file.seek(0)
    head = file.read(16)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        from PIL.TiffImagePlugin import ImageFileDirectory_v2

        directory = ImageFileDirectory_v2(head if b"+" in head[:4] else head[:8])
        file.seek(directory.next)
        directory.load(file)
        tags: dict[int, object] = dict(directory)
        bits = tags.get(258, 1)
        extra = tags.get(338, ())
        return TiffHeader(
            tags=tags,
            next=int(directory.next),
            height=_first(tags[257]),
            width=_first(tags[256]),
            bits=max(bits) if isinstance(bits, tuple) else _first(bits),
            samples=_first(tags.get(277), 1),
            kind=_first(tags.get(339), 1),
            photometric=_first(tags.get(262), 1),
            compression=_first(tags.get(259), 1),
            extra=extra if isinstance(extra, tuple) else (_first(extra),),
        )
    except Exception:  # a broken directory raises nearly anything
        return None
    finally:
        file.seek(0)


def refuse_unsupported(header: TiffHeader, name: str) -> None:
    """Raise ImageError for samples that are signed, floating-point, wider than 16 bits or too many per pixel."""
    if header.samples > _MOST_SAMPLES:  # OpenImageIO would find the memory for thousands
        raise ImageError(f"{name} has {header.samples} channels, and at most {_MOST_SAMPLES} are read; split it first")
    what = {2: "signed", 3: "floating-point"}.get(header.kind)
    if what is None and header.bits > 16:
        what = f"{header.bits}-bit"
    if what is not None:
        raise ImageError(f"{name} has {what} samples, which are not supported; convert it to unsigned 16 bits first")


def read_tiff(file: BinaryIO, header: TiffHeader, name: str, notes: list[str]) -> tuple[Array, Array | None]:
    """The pixels and alpha of a TIFF file for which `header.is_ours` holds; not yet turned upright."""
    samples = decode(file, name, ".tif", (header.height, header.width))
    colours = 3 if header.photometric == 2 else 1
    has_alpha = bool(header.extra) and header.extra[0] in (1, 2) and samples.shape[2] > colours
    surplus = samples.shape[2] - colours - has_alpha
    if surplus > 0:
        notes.append(f"{surplus} extra channel{'s' * (surplus > 1)} left out")
    pixels, alpha = split(samples[..., : colours + has_alpha])
    if header.photometric == 0 and header.bits > 8:  # white is zero, which OpenImageIO inverts up to 8 bits only
        pixels = 65535 - pixels
    if alpha is not None and header.extra[0] == _ASSOCIATED:
        pixels = unmultiplied(pixels, alpha)
    if 8 < header.bits < 16:
        notes.append(f"{header.bits}-bit samples scaled to 16 bits")
    return pixels, alpha


def tiff_metadata(file: BinaryIO, header: TiffHeader, channels: int | None, notes: list[str]) -> Metadata:
    """The metadata in the tags of a TIFF file, upright; without its profile if `channels` is None."""
    icc = fitting_icc(header.tags.get(34675), channels, notes)
    block = kept(lambda: tiff_exif(file, header.tags), "EXIF block", notes)
    xmp = xmp_of(header.tags.get(700), notes)
    colour = with_profile(_tiff_space(header.tags), icc, block) if channels else ColourSpace()
    return upright(Metadata(exif=block, xmp=xmp, dpi=tiff_dpi(header.tags), colour=colour))


def _tiff_space(tags: dict[int, object]) -> ColourSpace:
    """The tags WhitePoint and PrimaryChromaticities (TIFF 6.0, section 20), if both are there."""
    white, primaries = tags.get(318), tags.get(319)
    if not (isinstance(white, tuple) and isinstance(primaries, tuple) and len(white) == 2 and len(primaries) == 6):
        return ColourSpace()
    x = [float(value) for value in (*white, *primaries)]
    if not all(0 <= value <= 1 for value in x):
        return ColourSpace()
    return ColourSpace(chromaticities=(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]))


def _first(value: object, default: int | None = None) -> int:
    if isinstance(value, tuple) and value:
        value = value[0]
    if value is None and default is not None:
        return default
    return int(value)  # type: ignore[call-overload, no-any-return]
