"""HDR metadata of a source (SMPTE ST 2086 and CTA-861.3), as options of the encoders that write it."""

from __future__ import annotations

import struct

from sharpbit.video.encoders import Encoding

_RATIONALS = 10  # red, green, blue and white as x and y, then the least and the most light


def with_hdr(encoding: Encoding, side_data: dict[str, bytes]) -> dict[str, str]:
    """The options of an encoder with those that hold the HDR metadata of the source.

    Args:
        encoding: The encoder.
        side_data: The bytes of the metadata, by libav's names.
    """
    key = {"libsvtav1": "svtav1-params", "libx265": "x265-params"}.get(encoding.encoder.codec)
    written = [] if key is None else _written(encoding.encoder.codec, side_data)
    if key is None or not written:
        return dict(encoding.options)
    given = [encoding.options[key]] if key in encoding.options else []
    return {**encoding.options, key: ":".join([*given, *written])}


def _written(codec: str, side_data: dict[str, bytes]) -> list[str]:
    found = []
    display = side_data.get("MASTERING_DISPLAY_METADATA", b"")
    if len(display) >= _RATIONALS * 8 + 8:
        numbers = struct.unpack_from(f"<{2 * _RATIONALS}i2i", display)
        values = [numbers[k] / (numbers[k + 1] or 1) for k in range(0, 2 * _RATIONALS, 2)]
        if all(numbers[-2:]):
            found.append(_display(codec, values))
    light = side_data.get("CONTENT_LIGHT_LEVEL", b"")
    if len(light) >= 8:
        most, mean = struct.unpack_from("<2I", light)
        found.append(f"{'content-light' if codec == 'libsvtav1' else 'max-cll'}={most},{mean}")
    return found


def _display(codec: str, values: list[float]) -> str:
    red, green, blue, white = (values[k : k + 2] for k in range(0, 8, 2))
    least, most = values[8:]
    if codec == "libsvtav1":
        points = zip("GBR", (green, blue, red), strict=True)
        colours = "".join(f"{name}({x:.5f},{y:.5f})" for name, (x, y) in points)
        return f"mastering-display={colours}WP({white[0]:.5f},{white[1]:.5f})L({most:.4f},{least:.4f})"
    points = zip("GBR", (green, blue, red), strict=True)
    colours = "".join(f"{name}({x * 50000:.0f},{y * 50000:.0f})" for name, (x, y) in points)
    white_point = f"WP({white[0] * 50000:.0f},{white[1] * 50000:.0f})"
    return f"master-display={colours}{white_point}L({most * 10000:.0f},{least * 10000:.0f})"
