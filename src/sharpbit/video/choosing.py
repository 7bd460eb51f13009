"""Which networks a video goes through: decided once, by frames spread over it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from sharpbit import zoo
from sharpbit.image import Choice, ImageData, Metadata
from sharpbit.pipeline.chain import Chain
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.runtime import EngineOptions
from sharpbit.video.colour import Array, to_rgb
from sharpbit.video.opening import STREAM, Source, samples


@dataclass(frozen=True)
class Networks:
    """What a video goes through.

    Attributes:
        upscaler: The opened networks, whose factor is their own.
        chain: The networks, and the size of the result.
        choice: The family of models that suits the video, and why; None where a model was named or none is needed.
        image: A frame of the video as an image.
    """

    upscaler: Upscaler
    chain: Chain
    choice: Choice | None
    image: ImageData


def networks(
    source: Source, model: str | Path | None, size: Size, options: EngineOptions, *, ensemble: bool = False
) -> Networks:
    """Open the networks for a video.

    Args:
        source: The video.
        model: The name of an embedded model or the path of a model file; None takes what suits the video.
        size: The size of the result as it is shown.
        options: The engine and its threads.
        ensemble: Whether the mean of eight orientations is taken.
    """
    if source.shape.quarter:
        size = _turned(size)
    # an engine that is near enough, and taken when it has paid off, would make frames depend on when a run was ended
    shared = {"engine": options.engine, "device": options.device, "threads": options.threads, "exact": True}
    outer = Upscaler(model, size=size, tile=options.tile, ensemble=ensemble, **shared)  # type: ignore[arg-type]
    image = _image(to_rgb(source.sample, source.shape.colour))
    choice = _choice(source, outer, image)
    image = replace(image, choice=choice)
    chain = outer.chain_of(image)
    if not chain.models:  # bicubic alone, which the upscaler does in one
        return Networks(outer, replace(chain, resized=False), choice, image)
    if not (chain.resized or size.in_pixels):
        return Networks(outer, chain, choice, image)
    own = Upscaler(model, size=Size(chain.scale), tile=options.tile, ensemble=ensemble, **shared)  # type: ignore[arg-type]
    return Networks(own, chain, choice, image)


def _turned(size: Size) -> Size:
    fit = None if size.fit is None else (size.fit[1], size.fit[0])
    return Size(size.scale, size.height, size.width, fit)


def _image(pixels: Array) -> ImageData:
    return ImageData(pixels, None, Metadata(), (), "video")


def _choice(source: Source, upscaler: Upscaler, first: ImageData) -> Choice | None:
    """What most of some frames suit; of several equally many, what comes first."""
    mine = upscaler.chosen(first).choice
    if mine is None or source.path == STREAM:
        return mine
    frames = [_image(to_rgb(frame, source.shape.colour)) for frame in samples(source.path)]
    found = [choice for choice in (upscaler.chosen(frame).choice for frame in frames) if choice is not None]
    if not found:
        return mine
    family, count = Counter(choice.family for choice in found).most_common(1)[0]
    why = next(choice.why for choice in found if choice.family == family)
    return Choice(family, f"{why}, in {count} of {len(found)} frames" if len(found) > 1 else why)


def identity(networks: Networks) -> list[str]:
    """What says which networks made a frame: their names, and for files the moment of their last change."""
    found = []
    for model in networks.chain.models:
        path = zoo.path_of(model)
        status = path.stat()
        found.append(model if model in zoo.names() else f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return found
