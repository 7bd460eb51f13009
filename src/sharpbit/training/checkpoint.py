"""The state of a training in a file, from which it goes on exactly."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sharpbit.errors import UsageError
from sharpbit.system.atomic import open_atomic
from sharpbit.training.settings import Training


def write_checkpoint(
    out: Path, step: int, how: Training, net: nn.Module, ema: nn.Module, optimizer: Any, images: str = ""
) -> None:
    """Write `checkpoint.pt` after that many steps, in place of the one before; `images` is the hash of what is read."""
    buffer = io.BytesIO()
    state = {"step": step, "how": asdict(how), "images": images, "net": net.state_dict(), "ema": ema.state_dict()}
    torch.save({**state, "optimizer": optimizer.state_dict()}, buffer)
    with open_atomic(out / "checkpoint.pt", overwrite=True) as file:
        file.write(buffer.getvalue())


def resume(out: Path, how: Training, net: nn.Module, ema: nn.Module, optimizer: Any, images: str = "") -> int:
    """Take over what `checkpoint.pt` holds, where there is one; gives its number of steps, or 0.

    Raises:
        UsageError: it belongs to other settings or other images, or is damaged.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damaged bytes run into whatever they happen to say
        raise UsageError(f"{path} is no complete checkpoint; give another --out, or remove it to begin again") from None
    if {**asdict(Training(steps=0)), **state["how"]} != asdict(how):  # settings that came later are as they were
        raise UsageError(f"{path} belongs to a run with another plan; give another --out or remove it")
    if images and state.get("images", "") not in ("", images):  # those of earlier versions do not say
        raise UsageError(f"{path} belongs to a run on other images; give another --out, or remove it to begin again")
    net.load_state_dict(state["net"])
    ema.load_state_dict(state["ema"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
