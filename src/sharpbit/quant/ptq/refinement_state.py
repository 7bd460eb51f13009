"""The state of a boundary refinement in a file, from which a killed run goes on exactly."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sharpbit.quant.digest import digest
from sharpbit.system.atomic import open_atomic

NAME = "refining.pt"
EVERY = 30.0  # seconds between two states that are written


class RefinementState:
    """What is learned, the optimizer and the losses, written now and then.

    Args:
        folder: Folder of the file; None: nothing is written, and nothing is resumed.
        learned: What is learned, in an order that is always the same.
        optimizer: The optimizer.
        speed: Its schedule, with `state_dict` and `load_state_dict`.
    """

    def __init__(self, folder: Path | None, learned: Sequence[Tensor], optimizer: Optimizer, speed: Any) -> None:
        self.path = None if folder is None else folder / NAME
        self.learned, self.optimizer, self.speed = learned, optimizer, speed
        self._source, self._written = "", time.monotonic()

    def resume(self, source: Iterable[Tensor | str]) -> list[float]:
        """Take over the state of a run that was ended; its losses, or none where there is no such run.

        Args:
            source: What the run depends on. A state of another run, or a damaged one, is left aside.
        """
        if self.path is None:
            return []
        self._source = digest(source)
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # no such file, or damaged bytes, which run into whatever they happen to say
            return []
        if not isinstance(found, dict) or found.get("source") != self._source:
            return []
        with torch.no_grad():
            for own, value in zip(self.learned, found["learned"], strict=True):
                own.copy_(value)
        self.optimizer.load_state_dict(found["optimizer"])
        self.speed.load_state_dict(found["speed"])
        return [float(loss) for loss in found["losses"]]

    def write(self, losses: list[float]) -> None:
        """Write the state after so many losses, if the last one was written long enough ago."""
        if self.path is None or time.monotonic() - self._written < EVERY:
            return
        state = {"source": self._source, "learned": [own.detach() for own in self.learned], "losses": losses}
        buffer = io.BytesIO()
        torch.save({**state, "optimizer": self.optimizer.state_dict(), "speed": self.speed.state_dict()}, buffer)
        with open_atomic(self.path, overwrite=True) as file:
            file.write(buffer.getvalue())
        self._written = time.monotonic()
