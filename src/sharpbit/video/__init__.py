"""Video, from decoding to the finished file: every stream kept, every frame right, nothing computed twice."""

from __future__ import annotations

from typing import Any

from sharpbit.system.extras import loaded


def libav() -> Any:
    """PyAV, which holds FFmpeg's libraries.

    Raises:
        MissingExtra: It is not installed.
        BrokenPackage: It is, and cannot be loaded.
    """
    return loaded("av", "sharpbit video", "video")
