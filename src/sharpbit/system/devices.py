"""Devices that networks are trained on."""

from __future__ import annotations

import re


def device_error(name: str) -> str:
    """Why nothing is trained on the device `name` (`cpu`, `cuda` or `cuda:N`), as half a sentence; empty if it is."""
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        return f"there is no device {name!r}, only cpu, cuda and cuda:N"
    if name == "cpu":
        return ""
    import torch

    if not torch.cuda.is_available():
        return "there is no CUDA device here"
    count = torch.cuda.device_count()
    return "" if int(name.partition(":")[2] or 0) < count else f"there is no {name}: CUDA devices here are {count}"
