"""What the page shows: parts of an image before, by bicubic and after, in 8 bits, as PNG."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sharpbit import image as image_io
from sharpbit.image import ImageData, Metadata, WriteOptions, light
from sharpbit.image.colour import to_8_bits
from sharpbit.image.resize import taps
from sharpbit.serve.job import Job
from sharpbit.serve.limits import Limits
from sharpbit.serve.stored import Stored

Bytes = NDArray[np.uint8]

BEFORE, BICUBIC, AFTER = LAYERS = ("before", "bicubic", "after")
LARGEST = 2048  # pixels of a side that is given at once
KEPT = 6  # decoded images that are kept, on the disk


@dataclass(frozen=True)
class Box:
    """A part of a layer in its pixels, and the longest side that it may have as it is given."""

    left: int
    top: int
    width: int
    height: int
    side: int


@dataclass(frozen=True)
class _Decoded:
    pixels: Bytes  # (H, W, C), with alpha as the last channel; lies in a file without a name
    alpha: bool
    metadata: Metadata


class Views:
    """Decoded images, those that were looked at last.

    Args:
        limits: How large they may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: OrderedDict[tuple[str, str], _Decoded] = OrderedDict()
        self._lock, self._decoding = threading.Lock(), threading.Lock()

    def part(self, job: Job, layer: str, box: Box) -> bytes:
        """A part of a layer of a job that is done, as PNG.

        Args:
            job: The job.
            layer: `before`, `bicubic` (as large as the result) or `after`.
            box: The part, which is cut to the layer.
        """
        found = self._decoded(job, AFTER if layer == AFTER else BEFORE)
        size = found.pixels.shape[:2]
        if layer == BICUBIC:
            size = job.facts["result_size"]["height"], job.facts["result_size"]["width"]
        rows = slice(min(box.top, size[0] - 1), min(box.top + box.height, size[0]))
        columns = slice(min(box.left, size[1] - 1), min(box.left + box.width, size[1]))
        shrink = max(rows.stop - rows.start, columns.stop - columns.start) > box.side
        if layer == BICUBIC and not shrink:
            part = _bicubic(found.pixels, size, rows, columns)
        else:
            if layer == BICUBIC:  # made smaller again, there is nothing of it to see
                rows = _within(rows, found.pixels.shape[0] / size[0])
                columns = _within(columns, found.pixels.shape[1] / size[1])
            part = np.ascontiguousarray(found.pixels[rows, columns])
        return _png(_shrunk(part, box.side), found)

    def forget(self, job: Job) -> None:
        """Let go what was decoded of a job."""
        with self._lock:
            for layer in LAYERS:
                self._kept.pop((job.id, layer), None)

    def _decoded(self, job: Job, layer: str) -> _Decoded:
        key = (job.id, layer)
        with self._decoding:  # one at a time, which bounds the memory
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            source = job.result if layer == AFTER else job.source
            if source is None:
                raise FileNotFoundError("there is no result")
            limit = self._limits.result_pixels if layer == AFTER else self._limits.pixels
            with source.reader() as file:
                found = _on_disk(image_io.read(file, name=job.name, max_pixels=limit))
            with self._lock:
                if not job.gone:
                    self._kept[key] = found
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return found


def _on_disk(image: ImageData) -> _Decoded:
    """The image in 8 bits, in a file."""
    metadata, pixels, alpha = image.metadata, image.pixels, image.alpha
    if metadata.colour.is_linear:
        pixels, metadata = light.encode(pixels), replace(metadata, colour=metadata.colour.encoded())
    if pixels.dtype != np.uint8:
        pixels, alpha = to_8_bits(pixels), None if alpha is None else to_8_bits(alpha)
    channels = pixels.shape[2]
    stored = Stored()
    shape = (*pixels.shape[:2], channels + (alpha is not None))
    kept: Bytes = np.memmap(cast(Any, stored.file), np.uint8, "w+", shape=shape)
    kept[..., :channels] = pixels
    if alpha is not None:
        kept[..., channels] = alpha
    stored.drop()  # the mapping keeps it
    return _Decoded(kept, alpha is not None, Metadata(colour=metadata.colour))


def _within(part: slice, factor: float) -> slice:
    return slice(int(part.start * factor), max(int(part.start * factor) + 1, round(part.stop * factor)))


def _bicubic(pixels: Bytes, size: tuple[int, int], rows: slice, columns: slice) -> Bytes:
    """A part of the image as bicubic makes it so large (see `sharpbit.image.resize`)."""
    down, first_row, last_row = _matrix(pixels.shape[0], size[0], rows)
    across, first, last = _matrix(pixels.shape[1], size[1], columns)
    part = pixels[first_row:last_row, first:last].astype(np.float32)
    high = np.tensordot(down, part, (1, 0))
    out = np.tensordot(high, across, (1, 1)).transpose(0, 2, 1)
    return np.ascontiguousarray(np.rint(out).clip(0, 255).astype(np.uint8))


def _matrix(size: int, target: int, part: slice) -> tuple[NDArray[np.float32], int, int]:
    """The weights of the samples that a part of a side is made of, and which these are."""
    indices, weights = taps(size, target)
    index, weight = indices[part], weights[part]
    first, last = int(index.min()), int(index.max()) + 1
    matrix = np.zeros((len(index), last - first), np.float32)
    np.add.at(matrix, (np.arange(len(index))[:, None], index - first), weight)
    return matrix, first, last


def _shrunk(pixels: Bytes, side: int) -> Bytes:
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    channels = [Image.fromarray(pixels[..., k]).resize(size, Image.Resampling.BOX) for k in range(pixels.shape[2])]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


def _png(pixels: Bytes, found: _Decoded) -> bytes:
    out, channels = io.BytesIO(), pixels.shape[2] - found.alpha
    with image_io.open_writer(
        out,
        "PNG",
        height=pixels.shape[0],
        width=pixels.shape[1],
        channels=channels,
        alpha=found.alpha,
        dtype=np.uint8,
        metadata=found.metadata,
        options=WriteOptions(compression=1),
    ) as writer:
        alpha = np.ascontiguousarray(pixels[..., -1]) if found.alpha else None
        writer.write(np.ascontiguousarray(pixels[..., :channels]), alpha)
    return out.getvalue()
