"""An image through a model: in strips from the top, in the samples and the size that were asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharpbit import zoo
from sharpbit.errors import UsageError
from sharpbit.image import ImageData
from sharpbit.image.alpha import fill
from sharpbit.image.resize import resize_rows
from sharpbit.pipeline import cutting, light
from sharpbit.pipeline.arguments import whole as whole_number
from sharpbit.pipeline.chain import BICUBIC, Chain, scales_for
from sharpbit.pipeline.choose import choose
from sharpbit.pipeline.samples import grey, rounded, to_float, to_samples
from sharpbit.pipeline.sanity import Check
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.tiles import Tile
from sharpbit.pipeline.transparency import AlphaRun
from sharpbit.runtime import AUTO, EngineOptions, Runtime, Tensor, open_engine
from sharpbit.system.progress import Progress

Array = NDArray[Any]
Strip = tuple[Array, Array | None]

BAND = 64  # rows that are resized at a time, so that what lies between stays in the cache


class Upscaler:
    """A model ready to upscale images; opened once, used for many.

    Args:
        model: An embedded name or the path of a model file; `auto` or None takes an embedded model of the scale that is
            needed, of the family that suits each image (see `sharpbit.pipeline.choose`).
        size: The size that results should have.
        tile: The side of tiles in LR pixels without the halo; None chooses.
        ensemble: Whether all eight orientations of each tile are run and their mean is taken: eight times slower,
            slightly better.
        threads: The threads of the engine; None takes every core that the process may use.
        engine: `native`, `onnx`, `openvino`, `torch`, or `auto`, which takes the fastest that runs the model exactly.
        device: The device, such as `cpu` or `cuda`, where the engine has it.

    Raises:
        UsageError: no such model, engine or device, a scale that the model does not have.
        ModelError: the file is no upscaler, or not one that this engine runs.
        MissingExtra: the engine is not installed.

    Examples:
        Open a model once, and upscale many images with it:

        >>> import numpy as np, sharpbit
        >>> upscaler = sharpbit.Upscaler(size=sharpbit.Size(2))
        >>> images = [np.zeros((24, 32, 3), np.uint8), np.zeros((20, 20), np.uint8)]
        >>> [sharpbit.upscale(image, upscaler=upscaler).shape for image in images]
        [(48, 64, 3), (40, 40)]
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        size: Size | None = None,
        tile: int | None = None,
        ensemble: bool = False,
        threads: int | None = None,
        engine: str = AUTO,
        device: str | None = None,
    ) -> None:
        self.size = size or Size()
        self.ensemble = ensemble
        tile, threads = whole_number("tile", tile), whole_number("threads", threads)
        self.options = EngineOptions(engine, device, threads, tile)
        self._model = None if model in (None, AUTO) else os.fspath(model)
        self._open: dict[str, Runtime] = {}
        if tile is not None and tile < 8:
            raise UsageError(f"a tile has at least 8 pixels, not {tile}")
        if self._model is not None and self._runtime(self._model).scale == 1 and (self.size.scale or 1) > 1:
            raise UsageError(
                f"{self._model} gives images of the size that they have, and the scale asked for is"
                f" {self.size.scale:g}; leave --scale out, and upscale its result with another model"
            )

    @property
    def factor(self) -> float:
        """The factor of both sides that was asked for, or that is the model's; 2 where neither says one."""
        return self.size.scale or (2 if self._model is None else self._runtime(self._model).scale)

    def plan(
        self, height: int, width: int, dtype: DTypeLike = np.uint8, family: str = zoo.DEFAULT
    ) -> tuple[str, int, int]:
        """The model (`bicubic` where the result is not larger), height and width for an image of this size.

        Several networks in a row are named with a plus between them; `chain` has them one by one.
        """
        chain = self.chain(height, width, dtype, family)
        return chain.model, chain.height, chain.width

    def chain(self, height: int, width: int, dtype: DTypeLike = np.uint8, family: str = zoo.DEFAULT) -> Chain:
        """The networks that an image of this size goes through, and the size of its result.

        Where no model was named, an image of more than 8 bits (its `dtype`) gets those that have them too, and the
        first is of `family`; what follows `photo` has nothing to restore and is of the default family.
        """
        out_height, out_width = self.size.of(height, width, self.factor)
        factor = self.factor if not self.size.in_pixels else max(out_height / height, out_width / width)
        scales: tuple[int, ...]
        if self._model is None:
            deep = dtype != np.uint8 and self.options.engine != "native"
            scales = scales_for(factor, zoo.scales()) if factor > 1 else ()
            after = zoo.DEFAULT if family == "photo" else family
            kinds = (family if number == 0 else after for number in range(len(scales)))
            found = (zoo.for_scale(scale, deep, kind) for scale, kind in zip(scales, kinds, strict=True))
            models = tuple(name or BICUBIC for name in found)
        else:
            scales = self._repeated(self._runtime(self._model).scale, factor)
            models = (self._model,) * len(scales)
        size = height * prod(scales), width * prod(scales)
        return Chain(models, scales, out_height, out_width, (out_height, out_width) != size)

    def makes(self, made: str, height: int, width: int) -> bool:
        """Whether a result with the mark `made` is one that an image of this size gets here.

        Its factor decides, and its model where one was named; without, any embedded one may have suited the image.
        """
        names, _, factor = made.rpartition(" x")
        mine, _, my_factor = self._mark(self.chain(height, width), height, width).rpartition(" x")
        if self._model is None:
            return factor == my_factor and {BICUBIC, *zoo.names()} >= set(names.split("+"))
        return (names, factor) == (mine, my_factor)

    def chain_of(self, image: ImageData) -> Chain:
        """The networks for an image, by what it shows where no model was named."""
        choice, (height, width) = self.chosen(image).choice, image.pixels.shape[:2]
        return self.chain(height, width, image.pixels.dtype, choice.family if choice else zoo.DEFAULT)

    def chosen(self, image: ImageData) -> ImageData:
        """The image with the family of models that suits it; unchanged where a model was named, or none is needed."""
        if self._model is not None or image.choice is not None:
            return image
        height, width = image.pixels.shape[:2]
        scales = self.chain(height, width).scales
        return replace(image, choice=choose(image, zoo.families(scales[0]))) if scales else image

    def reach(self, image: ImageData) -> int | None:
        """How far a pixel of the result sees, in LR pixels, where any part of an image gives its part of the result.

        None where it does not: where bicubic has a part in it, where a size in pixels was asked for, and for models
        that are not embedded, which may see more than they say or depend on where a part lies.
        """
        chain = self.chain_of(image)
        if chain.resized or self.size.in_pixels or not chain.models or not set(chain.models) <= set(zoo.names()):
            return None
        reach, scale = 0, 1
        for model, its_scale in zip(chain.models, chain.scales, strict=True):
            halo = self._runtime(model).halo
            if halo is None:
                return None
            reach, scale = reach - (-halo // scale), scale * its_scale
        return reach

    def made(self, image: ImageData) -> str:
        """What a result says of its making, such as `x2-clean-balanced x2`; `sharpbit.image.made_by` reads it again."""
        height, width = image.pixels.shape[:2]
        return self._mark(self.chain_of(image), height, width)

    def _mark(self, chain: Chain, height: int, width: int) -> str:
        names = "+".join(Path(model).name for model in chain.models) or BICUBIC
        factor = max(chain.height / height, chain.width / width) if self.size.in_pixels else self.factor
        return f"{names} x{factor:.4g}"

    def _repeated(self, own: int, factor: float) -> tuple[int, ...]:
        """How often the model that was named runs: once at least, where no smaller size in pixels was asked for."""
        if own == 1:
            return (1,)
        return scales_for(factor, [own]) if factor > 1 or not self.size.in_pixels else ()

    def strips(self, image: ImageData, name: str = "image", progress: Progress | None = None) -> Iterator[Strip]:
        """The result from top to bottom: rows `(h, W, C)` and alpha `(h, W)` or None, in the image's sample type.

        Args:
            image: The image, of uint8, uint16 or float32 in `[0, 1]`.
            name: The name of the image, for errors.
            progress: Called with the share of the image that is done since the last call.

        Raises:
            ResultError: the result cannot be right (see `sharpbit.pipeline.sanity`).
        """
        chain = self.chain_of(image)
        if not chain.models:
            if progress:
                progress(1.0)
            pixels = image.pixels if image.alpha is None else fill(image.pixels, image.alpha)
            yield from _sized([(pixels, image.alpha)], image, chain)
            return
        if image.metadata.colour.is_linear:
            for pixels, alpha in self.strips(light.encoded(image), name, progress):
                yield light.decoded(pixels), alpha
            return
        work = [prod(chain.scales[:number]) ** 2 for number in range(len(chain.models))]
        for number, model in enumerate(chain.models):
            share = work[number] / sum(work)
            strips = self._native(image, self._runtime(model), name, _part_of(progress, share))
            if number < len(work) - 1:
                image = _gathered(strips, image)
        yield from _sized(strips, image, chain)

    def whole(self, image: ImageData, out: Array | None = None, name: str = "image") -> Array:
        """The result in one piece, `(H, W, C)`, with alpha as the last channel.

        Args:
            image: The image, as for `strips`.
            out: The array of that shape and of the image's sample type that it is written to; None makes one.
            name: The name of the image, for errors.

        Raises:
            ResultError: the result cannot be right.
        """
        chain, (height, width, channels) = self.chain_of(image), image.pixels.shape
        plain = image.pixels.dtype == np.uint8 and channels == 3 and image.alpha is None
        if plain and len(chain.models) == 1 and not (chain.resized or image.metadata.colour.is_linear):
            runtime = self._runtime(chain.models[0])
            tile = cutting.at_once(runtime, height, width)
            if tile is not None and not self.ensemble and self.options.tile is None:
                return _one_call(runtime, tile, image.pixels, out, name)
        if out is None:
            out = np.empty((chain.height, chain.width, channels + (image.alpha is not None)), image.pixels.dtype)
        top = 0
        for rows, cover in self.strips(image, name):
            part = slice(top, top + len(rows))
            out[part, :, :channels] = rows
            if cover is not None:
                out[part, :, channels] = cover
            top = part.stop
        return out

    def losses(self, image: ImageData) -> tuple[str, ...]:
        """What the model cannot keep of an image, or gives up for its size, as notes for the user."""
        height, width = image.pixels.shape[:2]
        notes: dict[str, None] = {}
        chain = self.chain_of(image)
        if not chain.models:
            return (f"not upscaled: {'resized by bicubic' if chain.resized else 'a scale of 1 keeps the image'}",)
        for model, scale in zip(chain.models, chain.scales, strict=True):
            runtime = self._runtime(model)
            if image.pixels.dtype != np.uint8 and runtime.samples == np.uint8:
                notes[f"{model} has 8 bits per sample: so has the result"] = None
            cut = cutting.cutting_of(runtime, height, width, self.options.tile)
            if not cut.exact:
                notes[
                    f"{model} looks at the whole image, which was cut into tiles of {cut.height} pixels, {cut.halo}"
                    " around each: the result is close to that in one piece, not the same (larger ones, --tile-size,"
                    " come closer and take more memory)"
                ] = None
            height, width = height * scale, width * scale
        return tuple(notes)

    def describe(self, model: str) -> dict[str, Any]:
        """What runs: model, engine, precision, instruction set, threads, device; for people and for `--json`."""
        if model == BICUBIC:
            facts = {"engine": "numpy", "precision": "float32", "instruction_set": "", "threads": 1, "device": "cpu"}
            return {"model": BICUBIC, **facts, "notes": ()}
        runtime = self._runtime(model)
        return {
            "model": model,
            "engine": runtime.engine,
            "precision": runtime.precision,
            "instruction_set": runtime.instruction_set,
            "threads": runtime.threads,
            "device": runtime.device,
            "notes": runtime.notes,
        }

    def _runtime(self, model: str) -> Runtime:
        if model not in self._open:
            self._open[model] = open_engine(zoo.open_file(model), self.options)
        return self._open[model]

    def _native(self, image: ImageData, runtime: Runtime, name: str, progress: Progress | None) -> Iterator[Strip]:
        _, width, channels = image.pixels.shape
        scale, dtype, side = runtime.scale, image.pixels.dtype, self.options.tile
        pixels, cover = image.pixels, None
        if image.alpha is not None:
            pixels = fill(image.pixels, image.alpha)
            cover = AlphaRun(runtime, image.alpha, name, side=side, ensemble=self.ensemble)
            progress = _part_of(progress, 0.5)
        check = Check(name, scale)
        out, out_alpha = np.empty(0, dtype), np.empty(0, dtype)
        for part in cutting.run(runtime, pixels, side=side, ensemble=self.ensemble, progress=progress):
            tile, after = part.tile, part.after
            check.add(part.before, after)
            if tile.left == 0:
                high = (tile.bottom - tile.top) * scale
                out = np.empty((high, width * scale, channels), dtype)
                out_alpha = np.empty((high, width * scale) if cover is not None else 0, dtype)
            columns = slice(tile.left * scale, tile.right * scale)
            out[:, columns] = to_samples(after if channels == 3 else grey(after), dtype)
            if cover is not None:
                out_alpha[:, columns] = cover.tile(tile, progress)
            if tile.right == width:
                yield out, None if cover is None else out_alpha
        check.finish()
        if cover is not None:
            cover.finish()


def _one_call(runtime: Runtime, tile: Tile, pixels: Array, out: Array | None, name: str) -> Array:
    """An RGB image of bytes through an engine at once, copied as little as possible."""
    part, check = cutting.one(runtime, tile, pixels), Check(name, runtime.scale)
    check.add(part.before, part.after)
    check.finish()
    if out is not None:
        out[...] = part.after
        return out
    edge, room = tile.halo * runtime.scale, part.after.base
    if edge == 0 or room is None or not room.flags.c_contiguous or room.size < part.after.size:
        return np.ascontiguousarray(part.after)
    height, width, channels = part.after.shape  # moved together in the room that it has, from the top
    result: Array = room.reshape(-1)[: part.after.size].reshape(height, width, channels)
    for top in range(0, height, edge):
        result[top : top + edge] = part.after[top : top + edge]
    return result


def _part_of(progress: Progress | None, share: float) -> Progress | None:
    """What reports a part of the work as that share of the whole."""
    return None if progress is None else lambda done: progress(done * share)


def _gathered(strips: Iterable[Strip], image: ImageData) -> ImageData:
    """The image that strips make; in all but its pixels it is as the one that they were made of."""
    rows, covers = zip(*strips, strict=True)
    alpha = None if image.alpha is None else np.concatenate(covers)
    return replace(image, pixels=np.concatenate(rows), alpha=alpha)


def _sized(strips: Iterable[Strip], image: ImageData, chain: Chain) -> Iterator[Strip]:
    """The strips of the last network of a chain, which `image` went through, brought to the size of the result."""
    if not chain.resized:
        return iter(strips)
    scale = chain.scales[-1] if chain.scales else 1
    size = image.pixels.shape[0] * scale, image.pixels.shape[1] * scale
    return _resized(strips, image, chain.height, chain.width, size)


def _resized(
    strips: Iterable[Strip], image: ImageData, height: int, width: int, size: tuple[int, int]
) -> Iterator[Strip]:
    """`strips` of an image of `size`, brought to another size by bicubic. Alpha weighs the colours."""
    window = _Window(iter(strips))
    target = (height, width)
    band = max(8, BAND * height // max(height, size[0]) // 8 * 8)
    dtype = image.pixels.dtype
    most = np.iinfo(dtype).max if dtype.kind == "u" else 1
    opaque = image.alpha is None or bool((image.alpha == most).all())  # then nothing weighs, nothing rounds
    for top in range(0, height, band):
        rows = slice(top, min(height, top + band))
        if opaque:
            colour = resize_rows(lambda part: window(part)[0].astype(np.float32), size, target, rows)
            colour = rounded(colour, dtype, most)
            yield colour, None if image.alpha is None else np.full(colour.shape[:2], most, dtype)
            continue
        cover = resize_rows(lambda part: to_float(window(part)[1]), size, target, rows)
        covered = resize_rows(lambda part: _covered(*window(part)), size, target, rows)
        yield to_samples(covered[..., :-1] / covered[..., -1:], dtype), to_samples(cover, dtype)
    window.finish()


class _Window:
    """Some consecutive rows of an image that comes in strips; both ends of what is asked for only move down."""

    def __init__(self, strips: Iterator[Strip]) -> None:
        self._strips = strips
        self._held: deque[tuple[int, Strip]] = deque()
        self._end = 0

    def __call__(self, rows: slice) -> tuple[Array, Array]:
        """The pixels and alpha of `rows`; alpha is empty if there is none."""
        while self._end < rows.stop:
            strip = next(self._strips)
            self._held.append((self._end, strip))
            self._end += len(strip[0])
        while self._held[0][0] + len(self._held[0][1][0]) <= rows.start:
            self._held.popleft()
        parts = [(slice(max(0, rows.start - first), rows.stop - first), strip) for first, strip in self._held]
        covers = [cover[part] for part, (_, cover) in parts if cover is not None]
        return _joined([pixels[part] for part, (pixels, _) in parts]), _joined(covers) if covers else np.empty(0)

    def finish(self) -> None:
        """Take the strips that nobody asked for, so that whatever makes them comes to its end."""
        for _ in self._strips:
            pass


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _covered(pixels: Array, alpha: Array) -> Tensor:
    """Colours multiplied by their weight, and the weight: alpha, or a quarter where it is less.

    What is hardly seen has a colour of its surroundings (see `fill`); without a weight, the negative lobes of bicubic
    would leave nothing to divide by.
    """
    weight = np.maximum(to_float(alpha), np.float32(0.25))[..., None]
    return np.concatenate([to_float(pixels) * weight, weight], axis=2)
