"""How an ONNX file of somebody else takes an image: layout, type, channels, values, sizes; how a tile becomes that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharpbit.errors import ModelError
from sharpbit.graph.geometry import BICUBIC_REACH, geometry, trial_side
from sharpbit.graph.onnx import CHANNELS, UnknownOperator, read
from sharpbit.graph.values import Whites, smooth_image, whites
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import Samples

Array = NDArray[Any]
Run = Callable[[Array], object]

TRIED = 64  # the side of the first image for a file whose operators are not known; a multiple of most numbers
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
BICUBIC = -0.75  # the constant of the bicubic curve by which colours follow a network of brightness
COLOUR_WORDS = {
    1: "for brightness alone (Y), to which colours are added that are upscaled by bicubic",
    4: "for RGBA, of which A is opaque here",
}


@dataclass(frozen=True)
class Form:
    """How a file takes and gives images.

    Attributes:
        kind: The type of the numbers that go in.
        layout: `nchw` or `nhwc`, of what goes in.
        result_layout: The same of what comes out.
        channels: 1 (Y), 3 (RGB) or 4 (RGBA).
        batch: How many images go in at once.
        fixed: Height and width, where it takes one size only.
        scale: The upscaling factor.
        cut: How many pixels are lost on each side.
        multiple: What sides are padded to multiples of.
        reach: How far a pixel's result sees; None: everywhere, or not known.
        known: Whether that is known from its operators.
        whites: What means white.
    """

    kind: np.dtype[Any]
    layout: str = "nchw"
    result_layout: str = "nchw"
    channels: int = 3
    batch: int = 1
    fixed: tuple[int, int] | None = None
    scale: int = 1
    cut: int = 0
    multiple: int = 1
    reach: int | None = None
    known: bool = True
    whites: Whites = field(default_factory=lambda: Whites(1.0, 1.0))

    @property
    def halo(self) -> int | None:
        """How far a pixel of the result sees; colours that follow by bicubic see two pixels."""
        return self.reach if self.reach is None or self.channels != 1 else max(self.reach, BICUBIC_REACH)

    @property
    def words(self) -> str:
        """What was found, for people."""
        parts = [f"x{self.scale}", f"for values {self.whites.words}"]
        parts += [COLOUR_WORDS[self.channels]] if self.channels != 3 else []
        parts += [
            name for name, odd in (("channels last", self.layout == "nhwc"), (self.kind.name, not self._usual)) if odd
        ]
        if self.fixed:
            parts.append(f"takes images of {self.fixed[1]}x{self.fixed[0]} only, which tiles are padded to")
        if self.multiple > 1:
            parts.append(f"takes sides that are multiples of {self.multiple}, to which images are padded and cut again")
        if self.cut:
            parts.append(f"loses {_pixels(self.cut)} on each side, which are put there before")
        sees = "sees the whole image" if self.known else "sees an unknown part of the image"
        parts.append(sees if self.halo is None else f"sees {_pixels(self.halo)} around each")
        by = "by its operators" if self.known else "by trial"
        return f"{by} it is {', '.join(parts[:-1])}, and {parts[-1]}"

    @property
    def _usual(self) -> bool:
        return bool(self.kind == np.float32)

    def padded(self, tile: Samples) -> Samples:
        """A tile with what the file needs around it: mirrored pixels, up to its size or a multiple."""
        height, width = tile.shape[:2]
        inner = [side - 2 * self.cut for side in self.fixed] if self.fixed else []
        high, wide = inner or [side + -side % self.multiple for side in (height, width)]
        cut = self.cut
        edges = ((cut, cut + high - height), (cut, cut + wide - width), (0, 0))
        return np.pad(tile, edges, mode="symmetric") if any(map(any, edges)) else tile

    def encoded(self, tile: Samples) -> Array:
        """A padded tile `(h, w, 3)` as a batch, its values as the file has them."""
        x = tile
        if self.channels == 1:
            x = np.asarray(tile, np.float32) @ LUMA[:, None]
        elif self.channels == 4:
            most = 255 if tile.dtype == np.uint8 else 1
            x = np.concatenate([tile, np.full((*tile.shape[:2], 1), most, tile.dtype)], 2)
        if self.kind == np.uint8:
            x = np.rint(x)
        elif self.whites.image != 1:
            x = x * np.float32(self.whites.image)
        x = x if self.layout == "nhwc" else x.transpose(2, 0, 1)
        return np.repeat(np.ascontiguousarray(x, self.kind)[None], self.batch, 0)

    def decoded(self, out: object, tile: Samples, name: str) -> Samples:
        """What the file made of a padded tile, `(h, w, 3)`, in the samples of the tile.

        Raises:
            ModelError: It is no image of the size that is expected.
        """
        height, width = ((side - 2 * self.cut) * self.scale for side in tile.shape[:2])
        wanted = {"nchw": (self.channels, height, width), "nhwc": (height, width, self.channels)}[self.result_layout]
        if not isinstance(out, np.ndarray) or out.ndim != 4 or out.shape[1:] != wanted:
            seen = list(getattr(out, "shape", ())) or type(out).__name__
            raise ModelError(f"{name} gives {seen} for {tile.shape[1]}x{tile.shape[0]}; expected are {list(wanted)}")
        y = out[0] if self.result_layout == "nhwc" else out[0].transpose(1, 2, 0)
        if self.kind == np.uint8 and y.dtype == np.uint8 and self.channels > 1:
            return np.ascontiguousarray(y[..., :3])
        white = 255.0 if y.dtype == np.uint8 else self.whites.result
        y = np.asarray(y, np.float32) / np.float32(white) if white != 1 else np.asarray(y, np.float32)
        if self.channels == 1:
            large = upscaled(_floats(tile), self.scale)
            edge = self.cut * self.scale
            large = large[edge : edge + height, edge : edge + width]
            y = large + y - large @ LUMA[:, None]
        y = np.asarray(y[..., :3], np.float32)
        return np.rint(np.clip(y, 0, 1) * 255).astype(np.uint8) if tile.dtype == np.uint8 else y


def _pixels(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"


def _floats(tile: Samples) -> Samples:
    return tile / np.float32(255) if tile.dtype == np.uint8 else np.asarray(tile, np.float32)


def form_of(file: ModelFile, kind: DTypeLike, shape: Sequence[object], infer: Run) -> Form:
    """How a file takes images: from its operators where all are known, else by trial.

    Args:
        file: The file.
        kind: The type of the numbers that go in.
        shape: The sides that the engine reports, free ones as text.
        infer: A batch to what the engine makes of it.

    Raises:
        ModelError: It is no upscaler of images.
    """
    try:
        reading = read(file)
        sizes = geometry(reading.graph, reading.fixed)
    except UnknownOperator:
        form = _tried(file, _shaped(kind, shape), infer)
    except ModelError as error:
        raise ModelError(f"{file.name}: {str(error).removeprefix(f'{file.name} ')}") from None
    else:
        form = Form(
            np.dtype(kind), reading.layout, reading.result_layout, reading.graph.channels, reading.batch, reading.fixed
        )
        found = {"scale": sizes.scale, "cut": sizes.cut, "multiple": sizes.multiple, "reach": sizes.reach}
        form = replace(form, **found)  # type: ignore[arg-type]
        side = TRIED if form.fixed else trial_side(reading.graph, sizes.multiple)
        return replace(form, whites=_whites(file, form, infer, side))
    return replace(form, whites=_whites(file, form, infer, lcm(form.multiple, TRIED)))


def _whites(file: ModelFile, form: Form, infer: Run, side: int) -> Whites:
    if form.kind == np.uint8:
        return Whites(255.0, 255.0)
    if file.white is not None:
        return Whites(*file.white)

    def run(image: Samples) -> Samples:
        return form.decoded(infer(form.encoded(image)), image, file.name)

    inner = [side, side] if form.fixed is None else [length - 2 * form.cut for length in form.fixed]

    def upscale(image: Samples) -> Samples:
        return run(form.padded(image))

    return whites(upscale, file.name, smooth_image(*inner), form.scale)


def _shaped(kind: DTypeLike, shape: Sequence[object]) -> Form:
    """What the shape alone tells."""
    layout = "nhwc" if shape[1] not in CHANNELS and shape[3] in CHANNELS else "nchw"
    n, c, h, w = (shape[layout.index(axis)] for axis in "nchw")
    fixed = (h if isinstance(h, int) else TRIED, w if isinstance(w, int) else TRIED)
    batch = n if isinstance(n, int) and n > 0 else 1
    sides = None if not isinstance(h, int) and not isinstance(w, int) else fixed
    channels = c if isinstance(c, int) and c in CHANNELS else 3
    return Form(np.dtype(kind), layout, layout, channels, batch, sides, known=False)


def _tried(file: ModelFile, form: Form, infer: Run) -> Form:
    """Scale, and multiples of sizes, by trial."""
    sides = form.fixed or (TRIED, TRIED)
    scale = _scale(form, infer, sides)
    if scale is None:
        reason = "" if form.fixed else f" of {TRIED}x{TRIED}"
        raise ModelError(f"{file.name} turns no image{reason} into one that is upscaled by a whole factor from 1 to 16")
    form = replace(form, scale=scale)
    if form.fixed:
        return form
    for multiple in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48):
        side = TRIED // multiple * multiple + multiple
        if _scale(form, infer, (side, side + multiple)) == scale:
            return replace(form, multiple=multiple)
    return replace(form, multiple=TRIED)


def _scale(form: Form, infer: Run, sides: tuple[int, int]) -> int | None:
    """The factor by which an image of these sides is upscaled; None if it is not."""
    image = smooth_image(*sides)
    try:
        out = infer(form.encoded(np.rint(image * 255).astype(np.uint8) if form.kind == np.uint8 else image))
    except Exception:  # the engines' own exception types share no base class
        return None
    if not isinstance(out, np.ndarray) or out.ndim != 4:
        return None
    height, width = (out.shape[form.layout.index(axis)] for axis in "hw")
    scale: int = height // sides[0]
    return scale if (height, width) == (sides[0] * scale, sides[1] * scale) and 1 <= scale <= 16 else None


def upscaled(image: Samples, scale: int) -> Samples:
    """An image `(h, w, c)` upscaled by bicubic, as `torch.nn.functional.interpolate` does."""
    return np.asarray(_stretched(_stretched(image, scale).swapaxes(0, 1), scale).swapaxes(0, 1), np.float32)


def _stretched(x: Samples, scale: int) -> Samples:
    if scale == 1:
        return x
    padded = np.pad(x, ((2, 2), (0, 0), (0, 0)), mode="edge")
    out = np.empty((len(x) * scale, *x.shape[1:]), np.float32)
    for phase in range(scale):
        place = (phase + 0.5) / scale - 0.5
        first = int(np.floor(place))
        taps = [_curve(abs(place - first - tap)) for tap in (-1, 0, 1, 2)]
        start = 2 + first - 1
        out[phase::scale] = sum(
            np.float32(weight) * padded[start + tap : start + tap + len(x)] for tap, weight in enumerate(taps)
        )
    return out


def _curve(distance: float) -> float:
    """The weight of a sample at a distance."""
    a, d = BICUBIC, distance
    if d <= 1:
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a if d < 2 else 0.0
