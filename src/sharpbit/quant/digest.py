"""A short name for what something was made from, so that nothing is taken up that was made from something else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from torch import Tensor


def digest(source: Iterable[Tensor | str]) -> str:
    """24 hexadecimal digits that stand for the tensors and words, in their order."""
    found = hashlib.blake2b(digest_size=12)
    for part in source:
        found.update(part.encode() if isinstance(part, str) else _bytes(part))
        found.update(b"|")
    return found.hexdigest()


def _bytes(values: Tensor) -> bytes:
    return np.ascontiguousarray(values.detach().cpu().numpy()).tobytes()
