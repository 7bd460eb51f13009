"""What the numbers of pixels mean: one description of colour for all formats."""

from __future__ import annotations

import functools
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ImageError
from sharpbit.image import icc as icc_profile
from sharpbit.image.icc import Chromaticities

Light = Callable[[NDArray[np.float64]], NDArray[np.float64]]

REFERENCE_WHITE = 203  # candela per square metre of white on paper in HDR images (ITU-R BT.2408)
SRGB = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
ADOBE = (0.3127, 0.3290, 0.640, 0.330, 0.210, 0.710, 0.150, 0.060)
_C = (0.310, 0.316)
_D65 = (0.3127, 0.3290)
_SMPTE = (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
_PRIMARIES: dict[int, Chromaticities] = {  # ITU-T H.273, table 2
    1: SRGB,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: _SMPTE,
    7: _SMPTE,
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    10: (1 / 3, 1 / 3, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_NAMES = {1: "BT.709", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_SRGB_CURVE = icc_profile.linear_toe_curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_709_CURVE = icc_profile.linear_toe_curve(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_PQ, _HLG, _LINEAR = 16, 18, 8
_CURVES = {1: _709_CURVE, 6: _709_CURVE, 11: _709_CURVE, 13: _SRGB_CURVE, 14: _709_CURVE, 15: _709_CURVE} | {
    4: icc_profile.gamma_curve(2.2),
    5: icc_profile.gamma_curve(2.8),
    _LINEAR: icc_profile.gamma_curve(1.0),
    17: icc_profile.gamma_curve(2.6),
}


@dataclass(frozen=True)
class ColourSpace:
    """All that a file says of the meaning of its pixels; sRGB where it says nothing.

    `icc` is an ICC profile; `cicp` the numbers of ITU-T H.273 for primaries, transfer, matrix and full range, as in the
    chunk `cICP` of PNG and the box `nclx` of AVIF and HEIF; `gamma` and `chromaticities` are the chunks `gAMA` and
    `cHRM` of PNG; `intent` is the rendering intent of its chunk `sRGB`. Where several are there, the first counts that
    PNG names first: cicp, icc, sRGB, then gamma and chromaticities. `mastering` and `light` are its chunks `mDCV` and
    `cLLI`: on which display an HDR image was made, and how bright it is.
    """

    icc: bytes | None = None
    cicp: tuple[int, int, int, int] | None = None
    gamma: float | None = None
    chromaticities: Chromaticities | None = None
    intent: int | None = None
    mastering: bytes | None = None
    light: bytes | None = None

    @property
    def name(self) -> str:
        """What a note calls it."""
        if self.cicp:
            primaries, transfer = self.cicp[:2]
            curve = {_PQ: " PQ", _HLG: " HLG", _LINEAR: " linear"}.get(transfer, "")
            return _NAMES.get(primaries, f"primaries {primaries} of H.273") + curve
        if self.icc:
            return "colour profile"
        if self.intent is not None or (self.gamma is None and self.chromaticities is None):
            return "sRGB"
        return (
            "primaries and gamma"
            if self.chromaticities and self.gamma
            else "primaries"
            if self.chromaticities
            else "gamma"
        )

    @property
    def is_linear(self) -> bool:
        """Whether codes are proportional to light, as no network has learned."""
        if self.cicp:
            return self.cicp[1] == _LINEAR
        if self.icc:
            return icc_profile.is_linear(self.icc)
        return self.intent is None and self.gamma is not None and 0.9 < self.gamma < 1.1

    def encoded(self) -> ColourSpace:
        """The same primaries with the curve of sRGB, for codes that were proportional to light."""
        if self.cicp:
            return replace(self, cicp=(self.cicp[0], 13, *self.cicp[2:]), icc=None)
        if self.icc:
            return replace(self, icc=icc_profile.with_curve(self.icc, _SRGB_CURVE))
        return replace(self, gamma=None)

    def profile(self, channels: int) -> bytes | None:
        """The description as an ICC profile for grey (1) or RGB (3); None where nothing is described.

        Light above the white of HDR images (203 cd/m2) is cut in it; programs that know the tag `cicp`, which the
        profile has too, show it.

        Raises:
            ImageError: no profile can say this.
        """
        if self.cicp:
            primaries, transfer, _, full = self.cicp
            curve = _CURVES.get(transfer) or _hdr_curve(transfer)
            if primaries not in _PRIMARIES or curve is None or not full:
                raise ImageError("no profile can say this")
            numbers = bytes([primaries, transfer, 0, 1]) if transfer in (_PQ, _HLG) else None
            return _made(channels, _PRIMARIES[primaries], curve, self.name, numbers)
        if self.icc:
            return self.icc
        if self.intent is not None:
            return _made(channels, SRGB, _SRGB_CURVE, "sRGB", None)
        if self.gamma is None and self.chromaticities is None:
            return None
        curve = _SRGB_CURVE if self.gamma is None else _gamma_curve(1 / self.gamma)
        return _made(channels, self.chromaticities or SRGB, curve, self.name, None)


def of_nclx(primaries: int, transfer: int, matrix: int, full: int) -> tuple[int, int, int, int] | None:
    """`cicp` of a box `nclx`; None where it says no more than sRGB. What it leaves open is that of sRGB."""
    primaries, transfer = 1 if primaries == 2 else primaries, 13 if transfer == 2 else transfer
    return None if (primaries, transfer) == (1, 13) else (primaries, transfer, matrix, full)


def of_png(chunks: dict[bytes, bytes]) -> ColourSpace:
    """What the chunks of a PNG file say of its colours; those that make no sense are passed over."""
    space = ColourSpace()
    cicp, gamma, chroma = (chunks.get(kind, b"") for kind in (b"cICP", b"gAMA", b"cHRM"))
    if len(cicp) == 4:
        space = replace(space, cicp=(cicp[0], cicp[1], cicp[2], cicp[3]))
    if len(gamma) == 4 and int.from_bytes(gamma, "big"):
        space = replace(space, gamma=int.from_bytes(gamma, "big") / 100000)
    if len(chroma) == 32:
        x = [int.from_bytes(chroma[at : at + 4], "big") / 100000 for at in range(0, 32, 4)]
        space = replace(space, chromaticities=(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]))
    if len(chunks.get(b"sRGB", b"")) == 1:
        space = replace(space, intent=chunks[b"sRGB"][0])
    mastering, light = chunks.get(b"mDCV", b""), chunks.get(b"cLLI", b"")
    if len(mastering) == 24:
        space = replace(space, mastering=mastering)
    if len(light) == 8:
        space = replace(space, light=light)
    return space


def png_chunks(space: ColourSpace) -> list[tuple[bytes, bytes]]:
    """The chunks, kind and data, with which a PNG file says the same."""
    chunks = []
    if space.cicp:
        chunks.append((b"cICP", bytes([*space.cicp[:2], 0, space.cicp[3]])))  # PNG holds RGB: no matrix
    if space.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(space.icc)))
    elif space.intent is not None:
        chunks.append((b"sRGB", bytes([space.intent])))
    if space.gamma is not None:
        chunks.append((b"gAMA", round(space.gamma * 100000).to_bytes(4, "big")))
    if space.chromaticities is not None:
        chunks.append((b"cHRM", b"".join(round(value * 100000).to_bytes(4, "big") for value in space.chromaticities)))
    chunks += [(kind, data) for kind, data in ((b"mDCV", space.mastering), (b"cLLI", space.light)) if data]
    return chunks


def with_nclx(avif: bytes, cicp: tuple[int, int, int, int]) -> bytes:
    """An AVIF file whose box `nclx` names other primaries and another transfer; the matrix is that of its pixels."""
    at = avif.find(b"colrnclx") + 8
    return avif if at < 8 else avif[:at] + struct.pack(">HH", *cicp[:2]) + avif[at + 4 :]


@functools.lru_cache(maxsize=4)
def _hdr_curve(transfer: int) -> bytes | None:
    light = {_PQ: _pq, _HLG: _hlg}.get(transfer)
    return None if light is None else icc_profile.sampled_curve(light)


def _pq(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084: light of a code, reference white being 1."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = code ** (1 / m2)
    light: NDArray[np.float64] = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light * (10000 / REFERENCE_WHITE)


def _hlg(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100 HLG on a display of 1000 cd/m2: light of a code of grey, reference white being 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    light: NDArray[np.float64] = scene**1.2 * (1000 / REFERENCE_WHITE)
    return light


def _made(channels: int, primaries: Chromaticities, curve: bytes, name: str, cicp: bytes | None) -> bytes:
    if not all(math.isfinite(value) for value in primaries):
        raise ImageError("no profile can say this")
    if channels == 1:
        return icc_profile.grey_profile(curve, name)
    return icc_profile.rgb_profile(primaries, curve, name, cicp)


def _gamma_curve(exponent: float) -> bytes:
    if not 0.1 <= exponent <= 10:
        raise ImageError("no profile can say this")
    return icc_profile.gamma_curve(exponent)
