"""A step of Ray Data that upscales: `dataset.map_batches(sharpbit.ray.Upscale(scale=2), batch_format="numpy")`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.verbs.upscale import upscale


class Upscale:
    """Upscales the images of a column; the models are opened once in each process.

    Args:
        model: The name of an embedded model or the path of a model file; by default the embedded model that suits each
            image.
        scale: The upscaling factor, by default 2 or the model's own.
        column: The column of images `(H, W)` or `(H, W, C)` of uint8, uint16 or float in `[0, 1]`; `image` by default.
        threads: The threads of the engine, by default 1: Ray starts as many tasks as there are cores.
        options: Whatever else `sharpbit.Upscaler` takes.

    Examples:
        With a folder of images, where Ray is installed:

            images = ray.data.read_images("photos", include_paths=True)
            upscaled = images.map_batches(sharpbit.ray.Upscale(scale=2), batch_size=8)
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        scale: float | None = None,
        column: str = "image",
        threads: int = 1,
        **options: Any,
    ) -> None:
        self.column = column
        self._how = (model, scale, threads, tuple(sorted(options.items())))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Replace the images of a batch, a mapping of columns to arrays, by upscaled ones."""
        upscaler = _opened(*self._how)
        results = [upscale(np.asarray(image), upscaler=upscaler) for image in batch[self.column]]
        column = np.empty(len(results), object)
        column[:] = results
        same = len({result.shape for result in results}) == 1
        return {**batch, self.column: np.stack(results) if same else column}


@lru_cache(maxsize=4)
def _opened(model: str | None, scale: float | None, threads: int, options: tuple[tuple[str, Any], ...]) -> Upscaler:
    return Upscaler(model, size=Size(scale), threads=threads, **dict(options))
