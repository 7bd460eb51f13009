"""Results of long work that are kept, in memory and in a folder, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sharpbit.quant.digest import digest
from sharpbit.system.atomic import open_atomic


class Kept:
    """Tensors by what they were made from, so that nothing is found that was made from something else.

    Args:
        folder: Where they are kept; None: in memory alone.
        source: What all of them depend on.
    """

    def __init__(self, folder: Path | None = None, source: Sequence[Tensor | str] = ()) -> None:
        self.folder, self._source = folder, digest(source)
        self._known: dict[str, Tensor] = {}

    def tensor(self, word: str, source: Sequence[Tensor | str], made: Callable[[], Tensor]) -> Tensor:
        """The tensor that `made` gives, or gave for the same word and source.

        Args:
            word: What it is.
            source: All else that it depends on.
            made: Makes it.
        """
        name = f"{word}-{digest([self._source, *source])}"
        if name not in self._known:
            found = self._read(name)
            if found is None:
                found = made()
                self._write(name, found)
            self._known[name] = found
        return self._known[name]

    def _read(self, name: str) -> Tensor | None:
        if self.folder is None:
            return None
        try:
            return torch.from_numpy(np.load(self.folder / f"{name}.npy", allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return None

    def _write(self, name: str, value: Tensor) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open_atomic(self.folder / f"{name}.npy", overwrite=True) as file:
                np.save(file, value.numpy())
