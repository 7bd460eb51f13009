"""Folders `FILE.work`, in which long commands keep what they have made so far."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_KEPT = re.compile(r"refining\.pt|.+-[0-9a-f]{24}\.npy|\..+\.part")


def remove_work(folder: Path) -> None:
    """Remove what runs have kept in `folder`, and the folder too if nothing else lies in it; errors are passed over."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _KEPT.fullmatch(path.name):
                path.unlink()
        folder.rmdir()
