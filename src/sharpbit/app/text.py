"""Text that comes from files, fit for a terminal."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A line in which characters that would steer a terminal, or turn the direction of writing, stand as codes."""
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)
