"""An image through a model: in strips from the top, in the samples and the size that were asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sharpbit import zoo
from sharpbit.errors import UsageError
from sharpbit.graph.values import stated
from sharpbit.image import ImageData, Metadata, light
from sharpbit.image.alpha import fill
from sharpbit.pipeline import cutting, network
from sharpbit.pipeline.arguments import whole as whole_number
from sharpbit.pipeline.chain import BICUBIC, Chain, scales_for
from sharpbit.pipeline.choose import choose
from sharpbit.pipeline.engines import Engines
from sharpbit.pipeline.network import part_of
from sharpbit.pipeline.resized import sized
from sharpbit.pipeline.samples import Array, Strip
from sharpbit.pipeline.size import Size
from sharpbit.runtime import AUTO, EngineOptions
from sharpbit.system.progress import Progress


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
        engine: `native`, `onnx`, `openvino`, `torch`, or `auto`, which takes the fastest that runs the model exactly; a
            float model with much to do may get one that is at least 45 dB from float32, measured on this machine.
        device: The device, such as `cpu` or `cuda`, where the engine has it.
        exact: Whether only engines run that give what float32 gives; False by default.
        white: What means white in an ONNX or ncnn file of somebody else: 1, 255, or `(1, 255)` for the image and for
            the result; None finds it by trial.
        denoise: The share of a float network, from 0 to 1, in a mixture with its twin, the file beside it with `wdn` in
            its name; None, the default, mixes nothing.

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
        exact: bool = False,
        white: str | float | tuple[float, float] | None = None,
        denoise: float | None = None,
    ) -> None:
        self.size = size or Size()
        self.ensemble = ensemble
        tile, threads = whole_number("tile", tile), whole_number("threads", threads)
        whites = None if white is None else stated(white)
        self.options = EngineOptions(engine, device, threads, tile, whites, denoise, self.size.scale)
        self._model = None if model in (None, AUTO) else os.fspath(model)
        self._engines = Engines(self.options, exact=exact)
        if tile is not None and tile < 8:
            raise UsageError(f"a tile has at least 8 pixels, not {tile}")
        if self._model is not None and self._engines.exact(self._model).scale == 1 and (self.size.scale or 1) > 1:
            raise UsageError(
                f"{self._model} gives images of the size that they have, and the scale asked for is"
                f" {self.size.scale:g}; leave --scale out, and upscale its result with another model"
            )

    @property
    def factor(self) -> float:
        """The factor of both sides that was asked for, or that is the model's; 2 where neither says one."""
        return self.size.scale or (2 if self._model is None else self._engines.exact(self._model).scale)

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
            scales = self._repeated(self._engines.exact(self._model).scale, factor)
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
            halo = self._engines.exact(model).halo
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
            yield from sized([(pixels, image.alpha)], image, chain)
            return
        if image.metadata.colour.is_linear:
            # dark tones of linear light lie within a few codes, and edges ring into them: networks have learned sRGB
            encoded = replace(image, pixels=light.encode(image.pixels), metadata=Metadata())
            for pixels, alpha in self.strips(encoded, name, progress):
                yield light.decode(pixels), alpha
            return
        work = [prod(chain.scales[:number]) ** 2 for number in range(len(chain.models))]
        for number, model in enumerate(chain.models):
            share = work[number] / sum(work)
            strips = self._through(image, model, name, part_of(progress, share))
            if number < len(work) - 1:
                image = _gathered(strips, image)
        yield from sized(strips, image, chain)

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
            runtime = self._engines.exact(chain.models[0])
            tile = cutting.at_once(runtime, height, width)
            if tile is not None and not self.ensemble and self.options.tile is None:
                return network.one_call(runtime, tile, image.pixels, out, name)
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
            runtime = self._engines.exact(model)
            if image.pixels.dtype != np.uint8 and runtime.samples == np.uint8:
                notes[f"{model} has 8 bits per sample: so has the result"] = None
            cut = cutting.cutting_of(runtime, height, width, self.options.tile)
            if not cut.exact:
                sees = "looks at the whole image" if runtime.halo is None else f"sees {runtime.halo} pixels around each"
                notes[
                    f"{model} {sees}, and the image was cut into tiles of {cut.height} pixels, {cut.halo}"
                    " around each: the result is close to that in one piece, not the same (larger ones, --tile-size,"
                    " come closer and take more memory)"
                ] = None
            height, width = height * scale, width * scale
        return tuple(notes)

    def describe(self, model: str) -> dict[str, Any]:
        """What runs: model, engine, precision, instruction set, threads, device; for people and for `--json`."""
        return self._engines.describe(model)

    def _through(self, image: ImageData, model: str, name: str, progress: Progress | None) -> Iterator[Strip]:
        side, ensemble = self.options.tile, self.ensemble
        runtime = self._engines.for_image(model, image)
        return network.strips(runtime, image, name, side=side, ensemble=ensemble, progress=progress)


def _gathered(strips: Iterable[Strip], image: ImageData) -> ImageData:
    """The image that strips make; in all but its pixels it is as the one that they were made of."""
    rows, covers = zip(*strips, strict=True)
    alpha = None if image.alpha is None else np.concatenate(covers)
    return replace(image, pixels=np.concatenate(rows), alpha=alpha)
