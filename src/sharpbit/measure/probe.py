"""What an upscaler makes of an image that everybody can make: a fingerprint of weights and arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sharpbit.measure.upscaling import Pixels, Upscale

HEIGHT, WIDTH = 40, 56
SAMPLES = 64  # values of the result that are kept, spread evenly


def image() -> Pixels:
    """Waves of several lengths and noise, `(40, 56, 3)`; by whole numbers alone, so that it is the same everywhere."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    wave = (x * (5 + 2 * c) + y * (3 + c) + x * y // 8) % 256
    wave = np.abs(2 * wave - 255)
    state = (x * 1103515245 + y * 12345 + c * 2654435761 + 1013904223) & 0xFFFFFFFF
    noise = ((state ^ (state >> 15)) * 69069 >> 9) % 41 - 20
    pixels: Pixels = np.clip(wave + noise, 0, 255).astype(np.uint8)
    return pixels


def probe(upscale: Upscale, *, exact: bool) -> dict[str, Any]:
    """What an upscaler makes of the image, as a table.

    Args:
        upscale: `(h, w, 3)` bytes to `(h * scale, w * scale, 3)` bytes.
        exact: Whether its arithmetic is the same to the last bit everywhere, as that of the native engine.
    """
    result = upscale(image())
    values = result.reshape(-1)
    places = [k * (values.size - 1) // (SAMPLES - 1) for k in range(SAMPLES)]
    table: dict[str, Any] = {"image": "waves 56x40", "samples": [int(values[place]) for place in places]}
    return table | ({"sha256": hashlib.sha256(result.tobytes()).hexdigest()} if exact else {})


def apart(stated: Mapping[str, Any], found: Mapping[str, Any]) -> int:
    """How far two tables are apart, in grey levels; 255 where they cannot be compared, at least 1 if hashes differ."""
    first, second = list(stated.get("samples", [])), list(found["samples"])
    if len(first) != len(second) or not all(isinstance(value, int) for value in first):
        return 255
    most = max(abs(int(a) - int(b)) for a, b in zip(first, second, strict=True))
    return max(most, int(stated.get("sha256", found.get("sha256")) != found.get("sha256")))
