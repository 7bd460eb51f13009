"""ICC profiles (ICC.1:2022): made from primaries and a curve, and looked into where a tag of one is needed."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ImageError

Chromaticities = tuple[float, float, float, float, float, float, float, float]  # x and y of white, red, green, blue

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SAMPLES = 4096  # of a curve that no formula of ICC describes


def gamma_curve(exponent: float) -> bytes:
    """A tag for light that is the code to the power of `exponent`."""
    return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(exponent)


def linear_toe_curve(g: float, a: float, b: float, c: float, d: float) -> bytes:
    """A tag for `(a * x + b) ** g` from `d` on, and `c * x` below it: sRGB, BT.709 and their kin."""
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, (g, a, b, c, d)))


def sampled_curve(light: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> bytes:
    """A tag for any curve: `light` gives the light of codes from 0 to 1; what is brighter than 1 is cut."""
    values = np.clip(light(np.linspace(0, 1, _SAMPLES)), 0, 1)
    return b"curv\0\0\0\0" + struct.pack(">L", _SAMPLES) + np.rint(values * 65535).astype(">u2").tobytes()


def grey_profile(curve: bytes, name: str) -> bytes:
    """A profile for grey pixels whose code is turned into light by `curve`, the bytes of a tag."""
    return _profile(b"GRAY", {b"kTRC": curve}, name)


@functools.lru_cache(maxsize=16)
def rgb_profile(primaries: Chromaticities, curve: bytes, name: str, cicp: bytes | None = None) -> bytes:
    """A profile for RGB pixels.

    Args:
        primaries: The chromaticities of white and of the primaries.
        curve: The bytes of the tag that turns a code into light.
        name: What the profile is called.
        cicp: The four numbers of ITU-T H.273, for programs that know them better than the curve.

    Raises:
        ImageError: the primaries are none: two of them are the same, or white cannot be mixed from them.
    """
    columns, adapt = _columns(primaries)
    tags = {b"chad": b"sf32\0\0\0\0" + b"".join(map(_fixed, adapt.flat))}
    for place, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
        tags[tag] = _xyz(columns[:, place])
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    if cicp:
        tags[b"cicp"] = b"cicp\0\0\0\0" + cicp
    return _profile(b"RGB ", tags, name)


def tags_of(profile: bytes) -> dict[bytes, bytes]:
    """The tags of a profile, each with its type in front; those that point out of it are left out."""
    (count,) = struct.unpack_from(">L", profile, 128)
    tags = {}
    for at in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        tag, start, length = struct.unpack_from(">4sLL", profile, at)
        if length >= 8 and start + length <= len(profile):
            tags[tag] = profile[start : start + length]
    return tags


def as_grey(profile: bytes) -> bytes | None:
    """What an RGB profile says of grey pixels, as a profile for grey; None if it has no curve."""
    tags = tags_of(profile)
    curve = tags.get(b"gTRC")
    return None if curve is None or b"A2B0" in tags else grey_profile(curve, "grey of an RGB profile")


def as_rgb(profile: bytes, primaries: Chromaticities) -> bytes | None:
    """What a profile for grey says of pixels whose three colours are alike, as one for RGB; None if it has no curve."""
    curve = tags_of(profile).get(b"kTRC")
    return None if curve is None else rgb_profile(primaries, curve, "grey as RGB")


def with_curve(profile: bytes, curve: bytes) -> bytes:
    """A profile whose curves are all another; `curve` is the bytes of a tag."""
    tags = {tag: value for tag, value in tags_of(profile).items() if tag != b"cicp"}
    tags |= {tag: curve for tag in (b"rTRC", b"gTRC", b"bTRC", b"kTRC") if tag in tags}
    return _assembled(profile[:128], tags)


def is_linear(profile: bytes) -> bool:
    """Whether the codes of a profile's pixels are proportional to light."""
    tags = tags_of(profile)
    curve = tags.get(b"gTRC") or tags.get(b"kTRC")
    if curve is None or b"A2B0" in tags:
        return False
    if curve[:4] == b"curv" and len(curve) >= 12:
        (count,) = struct.unpack_from(">L", curve, 8)
        if count <= 1:
            return count == 0 or (len(curve) >= 14 and struct.unpack_from(">H", curve, 12)[0] == 256)
        values = np.frombuffer(curve, ">u2", min(count, (len(curve) - 12) // 2), 12) / 65535
        return len(values) > 1 and bool(np.abs(values - np.linspace(0, 1, len(values))).max() < 0.01)
    return curve[:4] == b"para" and curve[8:10] == b"\0\0" and curve[12:16] == _fixed(1)


def _columns(primaries: Chromaticities) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """XYZ of the three primaries, adapted to D50, and the matrix that adapts them (Bradford)."""
    white, *mixed = (_whole(x, y) for x, y in zip(primaries[::2], primaries[1::2], strict=True))
    matrix = np.array(mixed).T
    if abs(np.linalg.det(matrix)) < 1e-9:
        raise ImageError("two of the primaries are the same")
    parts = np.linalg.solve(matrix, white)
    cone = _BRADFORD @ np.array(_D50) / (_BRADFORD @ white)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag(cone) @ _BRADFORD
    columns = adapt @ (matrix * parts)
    if not (np.isfinite(columns).all() and np.abs(columns).max() < 10 and parts.min() > 0):
        raise ImageError("white cannot be mixed from the primaries")
    return columns, adapt


def _whole(x: float, y: float) -> NDArray[np.float64]:
    """XYZ of a chromaticity at Y = 1."""
    if not 0 < y <= 1 or not 0 <= x <= 1:
        if x >= 0 and y == 0:  # primaries of CIE XYZ itself
            return np.array([x, 0.0, 1 - x])
        raise ImageError(f"no colour has the chromaticity {x:g}, {y:g}")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _profile(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    head = struct.pack(">L4xL4s4s4s", 0, 0x04400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    head = head.ljust(64, b"\0") + struct.pack(">L", 0) + b"".join(map(_fixed, _D50))
    named = {b"desc": _text(name), b"cprt": _text("CC0"), b"wtpt": _xyz(_D50), **tags}
    return _assembled(head.ljust(128, b"\0"), named)


def _assembled(head: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of a header of 128 bytes, whose length is set, and of tags; those that are alike are stored once."""
    start = 132 + 12 * len(tags)
    table, body = struct.pack(">L", len(tags)), b""
    places: dict[bytes, int] = {}
    for tag, value in tags.items():
        if value not in places:
            places[value] = start + len(body)
            body += value + bytes(-len(value) % 4)
        table += tag + struct.pack(">LL", places[value], len(value))
    return struct.pack(">L", start + len(body)) + head[4:] + table + body


def _text(text: str) -> bytes:
    words = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">LL4sLL", 1, 12, b"enUS", len(words), 28) + words


def _xyz(value: tuple[float, ...] | NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(part) for part in value)


def _fixed(value: float) -> bytes:
    return struct.pack(">l", round(float(value) * 65536))
