"""Upscale an image: the function most users need."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit import image as image_io
from sharpbit.errors import ImageError, ResultWarning, UsageError
from sharpbit.image import MAX_PIXELS, ImageData, Metadata
from sharpbit.image.source import Source, name_of, read_all
from sharpbit.pipeline.arguments import at_least_one, pair
from sharpbit.pipeline.format import suffix_like
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.writing import Target, holds_all, write
from sharpbit.runtime import AUTO

Array = NDArray[Any]

NEARLY = 1e-3  # how far floats may lie outside of [0, 1], a quarter of a level of 8 bits: rounding, which is clipped


@dataclass(frozen=True)
class Report:
    """What is worth knowing about a result.

    Attributes:
        models: The names of the models that ran, one after the other; none where bicubic alone did.
        precision: The number format that each of them computed in, such as `int8` or `float32`.
        notes: Sentences on what was lost or done otherwise than asked for, and on what was found out about a model.
    """

    models: tuple[str, ...]
    precision: tuple[str, ...]
    notes: tuple[str, ...]


def upscale(
    image: Any,
    output: Any = None,
    *,
    model: str | os.PathLike[str] | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    tile: int | None = None,
    ensemble: bool = False,
    threads: int | None = None,
    engine: str = AUTO,
    device: str | None = None,
    exact: bool = False,
    overwrite: bool = False,
    strip_metadata: bool = False,
    max_pixels: int = MAX_PIXELS,
    upscaler: Upscaler | None = None,
    out: Array | None = None,
    report: bool = False,
) -> Any:
    """Upscale `image` and give back the same kind of thing.

    Args:
        image: the path of an image, a binary file that is open (or whatever has `read`), a Pillow image, or a numpy
            array `(H, W)` or `(H, W, C)` of uint8, uint16 or float in `[0, 1]`, with C = 1 (grey), 2 (grey and
            alpha), 3 (RGB) or 4 (RGBA).
        output: where to write the result of a path or file: a path, whose ending chooses the format, or a binary file
            that is open. By default beside the image, with the scale in its name; JPEG and WebP stay what they are,
            everything else becomes PNG.
        model: an embedded name such as `x4-clean-balanced`, or the path of an ONNX upscaler. By default (`auto`) the
            quality of the compression, the noise and the flatness of the image decide which embedded model it is.
        scale: The upscaling factor, any number from 1 to 16; by default 2 or the model's own.
        width: the width of the result in pixels, instead of a scale; the height follows.
        height: the height of the result in pixels, instead of a scale; the width follows.
        fit: largest (width, height) that the result may have, keeping its shape.
        tile: side of tiles in pixels of the image; the result does not depend on it, but with networks that look at
            the whole image (CRAFT, HiT-SR).
        ensemble: mean of eight orientations: eight times slower, slightly better.
        threads: the threads of the engine, by default all cores that the process may use.
        engine: `auto` takes the fastest that runs the model exactly, and for a float model with much to do one that is
            at least 45 dB from float32; or `native`, `onnx`, `openvino`, `torch`, `openvino_bf16`, `torch_bf16`.
        device: such as `cpu` or `cuda`, where the engine has it.
        exact: Whether only engines run that give what float32 gives; False by default.
        overwrite: replace `output` if it exists.
        strip_metadata: write no EXIF, XMP or resolution.
        max_pixels: refuse larger images.
        upscaler: one that was opened before, instead of all that concerns the model.
        out: The array that the result of an array is written to, of its shape and type; by default a new one.
        report: Whether a `Report` is returned too, as the second of a pair. Without it, its notes on the image are
            warnings.

    Returns:
        the `Path` that was written (or `output`, where that is an open file), a Pillow image, or an array of the type
        and number of dimensions of `image`.

    Warns:
        ResultWarning: one of the notes of the report, such as 16 bits that the model brings down to 8.

    Raises:
        SharpbitError: one of the errors of `sharpbit.errors`, each with a sentence that says what to do.

    Examples:
        >>> import numpy as np, sharpbit
        >>> image = np.zeros((20, 30, 3), np.uint8)
        >>> sharpbit.upscale(image, scale=3).shape
        (60, 90, 3)

        A path comes back as the path that was written; here with twice as many pixels on both sides:

        >>> sharpbit.upscale("photo.png").name
        'photo_x2.png'
    """
    limit = at_least_one("max_pixels", max_pixels) or MAX_PIXELS
    if upscaler is None:
        size = Size(scale, width, height, _turned(pair("fit", fit)))
        if not isinstance(model, str | os.PathLike | None):
            raise UsageError(f"model is a name or the path of a file, not {model!r}")
        name = model if model is None else os.fspath(model)
        upscaler = Upscaler(
            name, size=size, tile=tile, ensemble=ensemble, threads=threads, engine=engine, device=device, exact=exact
        )
    if out is not None and not isinstance(image, np.ndarray):
        raise UsageError("out is for an image that is an array; a path or file has output")
    opened: ImageData | None = None
    notes: tuple[str, ...] = ()
    result: Any
    if isinstance(image, str | os.PathLike) or hasattr(image, "read"):
        target = Target(overwrite=overwrite, strip_metadata=strip_metadata)
        source = _source(image, limit)
        opened = upscaler.chosen(image_io.read(source, name=name_of(image), max_pixels=limit))
        result, place = _place(image, output, upscaler, opened)
        notes = _written(source, upscaler, opened, place, target, limit)
    elif output is not None:
        raise UsageError("output is for images given by their path or as a file; an array or image is returned")
    elif isinstance(image, np.ndarray):
        opened = upscaler.chosen(_from_array(image))
        result, notes = _array(image, upscaler, opened, out), upscaler.losses(opened)
    elif type(image).__module__.startswith("PIL."):
        opened = upscaler.chosen(image_io.from_pil(image))
        made = upscaler.whole(opened)
        channels = opened.pixels.shape[2]
        alpha = None if opened.alpha is None else np.ascontiguousarray(made[..., channels])
        result = image_io.to_pil(np.ascontiguousarray(made[..., :channels]), alpha, opened.metadata)
        notes = (*opened.notes, *upscaler.losses(opened))
    else:
        kind = type(image).__name__
        raise UsageError(f"an image is a path, an open file, a Pillow image or a numpy array, not {kind}")
    if report:
        facts = [upscaler.describe(model) for model in upscaler.chain_of(opened).models]
        notes = tuple(dict.fromkeys([*notes, *(note for fact in facts for note in fact["notes"])]))
        return result, Report(tuple(f["model"] for f in facts), tuple(f["precision"] for f in facts), notes)
    for note in notes:
        warnings.warn(note, ResultWarning, stacklevel=2)
    return result


def _source(image: Any, max_pixels: int) -> Source:
    """What an image can be read from, more than once: a path, a file that can seek, or bytes."""
    if not hasattr(image, "read"):
        return Path(image)
    if isinstance(image, io.TextIOBase):
        raise UsageError("the image is a file that is open for text; open it for bytes, with 'rb'")
    can_seek = getattr(image, "seekable", bool)
    if getattr(image, "closed", False) or can_seek():
        return image  # type: ignore[no-any-return]
    return read_all(image, name_of(image), max_pixels)


def _written(
    source: Source, upscaler: Upscaler, opened: ImageData, place: Any, target: Target, max_pixels: int
) -> tuple[str, ...]:
    """Write a result, of an animation or of pages all of them; what the user should know of it."""
    if holds_all(opened, place, target):
        from sharpbit.pipeline.sequence import write_sequence  # few images need it

        if isinstance(place, Path):
            return write_sequence(upscaler, opened, source, place, target, max_pixels=max_pixels).notes
        whole = io.BytesIO()  # the file of the caller need not be able to seek
        notes = write_sequence(upscaler, opened, source, whole, target, max_pixels=max_pixels).notes
        place.write(whole.getbuffer())
        return notes
    return write(upscaler.strips(opened, str(place)), upscaler, opened, place, target).notes


def _place(image: Any, output: Any, upscaler: Upscaler, opened: ImageData) -> tuple[Any, Any]:
    """What is given back for a result, and where it is written to."""
    if hasattr(output, "write"):
        if isinstance(output, io.TextIOBase):
            raise UsageError("the output is a file that is open for text; open it for bytes, with 'wb'")
        return output, output
    if output is None and hasattr(image, "read"):
        raise UsageError("an image from an open file needs an output: a path, or a file that is open for bytes")
    if output is None:
        source = Path(image)
        height, width = opened.pixels.shape[:2]
        grown = f"{upscaler.plan(height, width)[1] / height:.3g}"
        factor = grown if upscaler.size.in_pixels else f"{upscaler.factor:g}"
        output = source.with_name(f"{source.stem}_x{factor}{suffix_like(source)}")
    return Path(output), Path(output)


def _array(image: Array, upscaler: Upscaler, opened: ImageData, out: Array | None) -> Array:
    """The result of an array, in `out` where that is given."""
    chain = upscaler.chain_of(opened)
    shape = (chain.height, chain.width, *image.shape[2:])
    if out is None:
        made = upscaler.whole(opened)
        return made.reshape(shape).astype(image.dtype, copy=False)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != image.dtype or not out.flags.writeable:
        found = f"{out.shape} of {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise UsageError(f"out is an array {shape} of {image.dtype} that can be written to, not {found}")
    if np.may_share_memory(image, out):
        raise UsageError("out shares memory with the image; give an array of its own")
    target = out[..., None] if out.ndim == 2 else out
    if out.dtype == opened.pixels.dtype:
        upscaler.whole(opened, target)
    else:
        target[...] = upscaler.whole(opened)
    return out


def _turned(fit: tuple[int, int] | None) -> tuple[int, int] | None:
    """Width and height the other way round."""
    return None if fit is None else (fit[1], fit[0])


def _from_array(array: Array) -> ImageData:
    shape = "(H, W) or (H, W, C) with C from 1 to 4"
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise ImageError(f"an array of shape {array.shape} is no image; expected is {shape}")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise ImageError(f"an array of {array.dtype} is no image; expected is uint8, uint16 or float in [0, 1]")
    if np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(
                "a float image lies in [0, 1]; this one holds values that are no numbers (NaN or infinity);"
                " replace them, such as with numpy.nan_to_num"
            )
        if not (low >= -NEARLY and high <= 1 + NEARLY):
            raise ImageError(
                f"a float image lies in [0, 1]; this one goes from {low:g} to {high:g}; divide it by 255, or clip it"
            )
        array = np.clip(array.astype(np.float32), 0, 1)
    if array.ndim == 2:
        array = array[..., None]
    colours = array.shape[2] - (1 - array.shape[2] % 2)
    alpha = None if colours == array.shape[2] else np.ascontiguousarray(array[..., -1])
    return ImageData(np.ascontiguousarray(array[..., :colours]), alpha, Metadata(), (), "array")
