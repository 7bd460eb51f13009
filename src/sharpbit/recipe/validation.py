"""What a network reaches on test images while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sharpbit import model as models
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.model import Model
from sharpbit.verbs.evaluate import evaluate

EVERY = 5000
"""Steps between two validations, as in the published trainings of ETDS."""


@dataclass(frozen=True)
class Validation:
    """Measures the averaged weights of a training on sets of test images; it changes nothing of the training.

    Attributes:
        sets: the sets of test images.
        every: number of training steps from one validation to the next; the last step is always one.
        device: `cpu`, `cuda` or `cuda:N`.
    """

    sets: Sequence[Benchmark]
    every: int = EVERY
    device: str = "cpu"

    @classmethod
    def on(cls, folders: Sequence[str | Path], every: int = EVERY, device: str = "cpu") -> Validation | None:
        """On these folders, each of which is a set or holds several; None without folders.

        Raises:
            SharpbitError: a folder that holds no test images.
        """
        sets = [item for folder in folders for item in find(folder)]
        return cls(sets, every, device) if sets else None

    def measured(self, model: Model, path: Path) -> dict[str, float]:
        """The PSNR in dB by the name of the set; the weights that were measured last stay in the file `path`."""
        models.save(model, path, overwrite=True)
        result = evaluate(path, self.sets, engine="torch", device=self.device)
        return {score.name: round(score.psnr, 4) for score in result.sets}
