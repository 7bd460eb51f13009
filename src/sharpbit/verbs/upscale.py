"""Upscale an image: the function most users need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit import image as image_io
from sharpbit.errors import ImageError, UsageError
from sharpbit.image import MAX_PIXELS, ImageData, Metadata
from sharpbit.pipeline.format import suffix_like
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.writing import Target, write
from sharpbit.runtime import AUTO

Array = NDArray[Any]


def upscale(
    image: Any,
    output: str | Path | None = None,
    *,
    model: str | Path | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    tile: int | None = None,
    ensemble: bool = False,
    threads: int | None = None,
    engine: str = AUTO,
    device: str | None = None,
    overwrite: bool = False,
    strip_metadata: bool = False,
    max_pixels: int = MAX_PIXELS,
    upscaler: Upscaler | None = None,
) -> Any:
    """Upscale `image` and give back the same kind of thing.

    Args:
        image: the path of an image, a Pillow image, or a numpy array `(H, W)` or `(H, W, C)` of uint8, uint16 or
            float in `[0, 1]`, with C = 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA).
        output: where to write the result of a path; its ending chooses the format. By default beside the image,
            with the scale in its name; JPEG and WebP stay what they are, everything else becomes PNG.
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
        engine: `auto` takes the fastest that runs the model exactly; or `native`, `onnx`, `openvino`, `torch`.
        device: such as `cpu` or `cuda`, where the engine has it.
        overwrite: replace `output` if it exists.
        strip_metadata: write no EXIF, XMP or resolution.
        max_pixels: refuse larger images.
        upscaler: one that was opened before, instead of all that concerns the model.

    Returns:
        the `Path` that was written, a Pillow image, or an array of the type and number of dimensions of `image`.

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
    if upscaler is None:
        size = Size(scale, width, height, None if fit is None else (fit[1], fit[0]))
        upscaler = Upscaler(
            model, size=size, tile=tile, ensemble=ensemble, threads=threads, engine=engine, device=device
        )
    if isinstance(image, str | Path):
        source = Path(image)
        opened = upscaler.chosen(image_io.read(source, max_pixels=max_pixels))
        if output is None:
            height, width = opened.pixels.shape[:2]
            grown = f"{upscaler.plan(height, width)[1] / height:.3g}"
            factor = grown if upscaler.size.in_pixels else f"{upscaler.factor:g}"
            output = source.with_name(f"{source.stem}_x{factor}{suffix_like(source)}")
        from sharpbit.pipeline.sequence import is_sequence, write_sequence  # few images need it

        target = Target(overwrite=overwrite, strip_metadata=strip_metadata)
        if opened.frames > 1 and is_sequence(opened, Path(output), target):
            write_sequence(upscaler, opened, source, Path(output), target, max_pixels=max_pixels)
        else:
            write(upscaler.strips(opened, str(source)), upscaler, opened, Path(output), target)
        return Path(output)
    if output is not None:
        raise UsageError("output is for images given by their path; an array or image is returned")
    if isinstance(image, np.ndarray):
        pixels, alpha = _run(upscaler, _from_array(image))
        result = pixels if alpha is None else np.dstack([pixels, alpha])
        return (result[..., 0] if image.ndim == 2 else result).astype(image.dtype, copy=False)
    if type(image).__module__.startswith("PIL."):
        opened = image_io.from_pil(image)
        pixels, alpha = _run(upscaler, opened)
        return image_io.to_pil(pixels, alpha, opened.metadata)
    raise UsageError(f"an image is a path, a Pillow image or a numpy array, not {type(image).__name__}")


def _run(upscaler: Upscaler, opened: ImageData) -> tuple[Array, Array | None]:
    strips = list(upscaler.strips(opened))
    pixels = np.concatenate([rows for rows, _ in strips])
    if opened.alpha is None:
        return pixels, None
    return pixels, np.concatenate([rows for _, rows in strips if rows is not None])


def _from_array(array: Array) -> ImageData:
    shape = "(H, W) or (H, W, C) with C from 1 to 4"
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise ImageError(f"an array of shape {array.shape} is no image; expected is {shape}")
    if array.dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise ImageError(f"an array of {array.dtype} is no image; expected is uint8, uint16 or float in [0, 1]")
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"a float image lies in [0, 1]; this one goes from {array.min():g} to {array.max():g};"
                " divide it by 255, or clip it"
            )
    if array.ndim == 2:
        array = array[..., None]
    colours = array.shape[2] - (1 - array.shape[2] % 2)
    alpha = None if colours == array.shape[2] else np.ascontiguousarray(array[..., -1])
    return ImageData(np.ascontiguousarray(array[..., :colours]), alpha, Metadata(), (), "array")
