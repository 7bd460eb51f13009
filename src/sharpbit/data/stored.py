"""Images that do not fit into memory: two flat files, which the system reads and forgets as it has room."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sharpbit.errors import UsageError
from sharpbit.system.atomic import open_atomic

Pair = tuple[np.ndarray, np.ndarray]


def arrays(
    folder: Path, files: Sequence[Path], sizes: Sequence[tuple[int, int]], scale: int, pairs: Iterable[Pair]
) -> tuple[Tensor, Tensor]:
    """LR and HR images as `Pairs` has them, mapped from files in `folder`, which are written where missing.

    The files belong to exactly these images: names, sizes and times of change are part of their name.

    Args:
        folder: folder that the two files are written to.
        files: image files, whose names, sizes and times name the two files.
        sizes: height and width of each LR image.
        scale: upscaling factor.
        pairs: LR and HR images in this order; not read where the two files exist.

    Raises:
        UsageError: the disk has no room for them.
    """
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()]
    digest = hashlib.sha256(repr((facts, scale)).encode()).hexdigest()[:16]
    total = sum(height * width for height, width in sizes)
    small, large = (folder / f"{digest}-x{scale}-{name}.bytes" for name in ("small", "large"))
    if not (small.exists() and large.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = 3 * total * (1 + scale**2), shutil.disk_usage(folder).free
        if needed > free:
            raise UsageError(
                f"the images need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; make room,"
                " or give --out on a larger disk"
            )
        with ExitStack() as stack:
            low, high = (stack.enter_context(open_atomic(path, overwrite=True)) for path in (small, large))
            for one, other in pairs:
                low.write(np.ascontiguousarray(one).tobytes())
                high.write(np.ascontiguousarray(other).tobytes())
    return _mapped(small, total), _mapped(large, total * scale**2)


def _mapped(path: Path, pixels: int) -> Tensor:
    if path.stat().st_size != 3 * pixels:
        raise UsageError(f"{path} has another size than its images; remove it, and it is written again")
    if not pixels:
        return torch.empty(0, 3, dtype=torch.uint8)
    return torch.from_file(str(path), shared=False, size=3 * pixels, dtype=torch.uint8).view(pixels, 3)
