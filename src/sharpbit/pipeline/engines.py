"""The engines of the models of an upscaler: each opened once; for large work a faster one, if it is near enough."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from sharpbit import zoo
from sharpbit.image import ImageData
from sharpbit.pipeline.chain import BICUBIC
from sharpbit.pipeline.samples import to_float
from sharpbit.runtime import AUTO, EngineOptions, Runtime, Samples, open_engine

if TYPE_CHECKING:
    from sharpbit.runtime._near import Verdict

ENOUGH = 1 << 17  # pixels that a model has got before anything is measured, so that a first image starts at once
WORTH = 3.0  # seconds of processor time that are expected before other engines are tried
SAVES = 1.0  # of these that a faster engine saves before it is opened
SIDE = 64  # of each quarter of the sample
NOISE = 0.2  # from the least to the most that is added to the last one


@dataclass
class _State:
    """What is known of a model so far: its pixels, what was measured, and the faster engine that runs it."""

    pixels: int = 0
    first: int = 0
    verdict: Verdict | None = None
    runtime: Runtime | None = None


class Engines:
    """Engines by the names of their models.

    Args:
        options: What opens a model.
        exact: Whether only engines run that give what float32 gives.
    """

    def __init__(self, options: EngineOptions, *, exact: bool = False) -> None:
        self.options = options
        self._free = options.engine == AUTO and options.device in (None, "cpu") and not exact
        self._open: dict[str, tuple[os.PathLike[str], Runtime]] = {}
        self._states: dict[str, _State] = {}

    def exact(self, model: str) -> Runtime:
        """The engine that runs a model exactly."""
        if model not in self._open:
            file = zoo.open_file(model)
            self._open[model] = file, open_engine(file, self.options)
        return self._open[model][1]

    def for_image(self, model: str, image: ImageData) -> Runtime:
        """The engine for an image: where there is much to do, the fastest that is near enough to float32.

        Images of more than 8 bits are for the exact engine.
        """
        runtime = self.exact(model)
        if not self._free or image.pixels.dtype != np.uint8 or runtime.samples == np.uint8:
            return runtime
        state = self._states.setdefault(model, _State())
        state.pixels += image.pixels.shape[0] * image.pixels.shape[1]
        if state.runtime is None and state.pixels >= ENOUGH:
            self._advance(self._open[model][0], runtime, state, image)
        if state.runtime is None:
            state.first += 1
        return state.runtime or runtime

    def _advance(self, file: os.PathLike[str], runtime: Runtime, state: _State, image: ImageData) -> None:
        """Find out whether a faster engine is worth opening, and open it."""
        from sharpbit.runtime import _near as near  # which a first small image does not need

        if not near.candidates(file, runtime):
            return
        state.verdict = state.verdict or near.remembered(file, self.options)
        if state.verdict is None:
            tile = sample(image, runtime.tile)
            rate = near.seconds(lambda: [*runtime([tile])]) / (tile.shape[0] * tile.shape[1])
            if rate * state.pixels < WORTH:
                return
            state.verdict = near.measured(file, runtime, tile, self.options)
            near.remember(file, self.options, state.verdict)
        saved = state.verdict.rate * state.pixels * (1 - 1 / state.verdict.times)
        if state.verdict.engine and saved >= SAVES:
            state.runtime = near.open_near(state.verdict.engine, file, self.options)

    def describe(self, model: str) -> dict[str, Any]:
        """What runs: model, engine, precision, instruction set, threads, device; for people and for `--json`."""
        if model == BICUBIC:
            facts = {"engine": "numpy", "precision": "float32", "instruction_set": "", "threads": 1, "device": "cpu"}
            return {"model": BICUBIC, **facts, "notes": ()}
        exact, state = self.exact(model), self._states.get(model, _State())
        runtime = state.runtime or exact
        notes, precision = runtime.notes, runtime.precision
        if state.runtime is not None and state.verdict is not None:
            from sharpbit.runtime._near import NEAR

            apart = f"{state.verdict.decibels:.0f} dB from float32"
            precision = f"{precision} ({apart})"
            before = f"; the first {state.first} images ran in {exact.engine}" if state.first else ""
            notes += (
                f"{model} runs in {runtime.engine} in {runtime.precision}: {apart} (at least {NEAR:.0f} are asked"
                f" for) and {state.verdict.times:.1f} times as fast as {exact.engine} on a sample, measured on this"
                f" machine{before}; --exact (exact=True) refuses it",
            )
        return {
            "model": model,
            "engine": runtime.engine,
            "precision": precision,
            "instruction_set": runtime.instruction_set,
            "threads": runtime.threads,
            "device": runtime.device,
            "notes": notes,
        }


def sample(image: ImageData, most: int | None = None) -> Samples:
    """Four pieces of an image as one tile of floats, the last with noise, so that something is there in any case.

    Args:
        image: The image.
        most: The largest side that the tile may have; None for any.
    """
    side = min(SIDE, *image.pixels.shape[:2], (most or 2 * SIDE) // 2)
    height, width = image.pixels.shape[:2]
    pieces = []
    for down, right in product((1, 3), repeat=2):
        top, left = (size * part // 4 - side // 2 for size, part in ((height, down), (width, right)))
        top, left = max(0, min(top, height - side)), max(0, min(left, width - side))
        piece = to_float(image.pixels[top : top + side, left : left + side])
        pieces.append(np.broadcast_to(piece, (side, side, 3)))
    noise = (np.random.default_rng(0).random((side, side, 3), np.float32) - np.float32(0.5)) * np.float32(NOISE)
    pieces[-1] = np.clip(pieces[-1] + noise, 0, 1)
    rows = [np.concatenate(pieces[number : number + 2], 1) for number in (0, 2)]
    return np.ascontiguousarray(np.concatenate(rows), np.float32)
