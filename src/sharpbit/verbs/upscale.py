"""Enlarge a picture: the function most users need."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit import image as images
from sharpbit.errors import ImageError, UsageError
from sharpbit.image import MAX_PIXELS, Metadata, Picture, WriteOptions
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Strip, Upscaler
from sharpbit.runtime import AUTO

Array = NDArray[Any]


@dataclass(frozen=True)
class Target:
    """How results are written.

    Attributes:
        format: such as `PNG`; None takes it from the name of the file, PNG if that says nothing.
        options: compression and quality.
        overwrite: replace files that exist.
        strip_metadata: write pixels only; the colour profile, without which they mean other colours, stays.
        threads: that compress.
    """

    format: str | None = None
    options: WriteOptions = WriteOptions()  # noqa: RUF009 - frozen
    overwrite: bool = False
    strip_metadata: bool = False
    threads: int = 1


def upscale(
    image: Any,
    output: str | Path | None = None,
    *,
    model: str | Path | None = None,
    scale: int | None = None,
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
    """Enlarge `image` and give back the same kind of thing.

    Args:
        image: the path of a picture, a Pillow image, or a numpy array `(H, W)` or `(H, W, C)` of uint8, uint16 or
            float in `[0, 1]`, with C = 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA).
        output: where to write the result of a path; its ending chooses the format. By default beside the picture,
            with the scale in its name, as PNG.
        model: an embedded name such as `x4-clean-balanced`, or the path of an ONNX upscaler.
        scale: 2 (default), 3 or 4.
        width: of the result in pixels, instead of a scale; the height follows.
        height: of the result in pixels, instead of a scale; the width follows.
        fit: largest (width, height) that the result may have, keeping its shape.
        tile: side of tiles in pixels of the picture; the result does not depend on it, but with networks that look at
            the whole picture (CRAFT, HiT-SR).
        ensemble: mean of eight orientations: eight times slower, slightly better.
        threads: of the engine.
        engine: `auto` takes the fastest that runs the model exactly; or `native`, `onnx`, `openvino`, `torch`.
        device: such as `cpu` or `cuda`, where the engine has it.
        overwrite: replace `output` if it exists.
        strip_metadata: write no EXIF, XMP or resolution.
        max_pixels: refuse larger pictures.
        upscaler: one that was opened before, instead of all that concerns the model.

    Returns:
        the `Path` that was written, a Pillow image, or an array of the type and number of dimensions of `image`.

    Raises:
        SharpbitError: one of the errors of `sharpbit.errors`, each with a sentence that says what to do.
    """
    if upscaler is None:
        size = Size(scale, width, height, None if fit is None else (fit[1], fit[0]))
        upscaler = Upscaler(
            model, size=size, tile=tile, ensemble=ensemble, threads=threads, engine=engine, device=device
        )
    if isinstance(image, str | Path):
        source = Path(image)
        picture = images.read(source, max_pixels=max_pixels)
        if output is None:
            _, large, _ = upscaler.plan(*picture.pixels.shape[:2])
            output = source.with_name(f"{source.stem}_x{large / picture.pixels.shape[0]:.3g}.png")
        target = Target(overwrite=overwrite, strip_metadata=strip_metadata)
        write(upscaler.strips(picture, str(source)), upscaler, picture, Path(output), target)
        return Path(output)
    if output is not None:
        raise UsageError("output is for pictures given by their path; an array or image is returned")
    if isinstance(image, np.ndarray):
        pixels, alpha = _run(upscaler, _from_array(image))
        result = pixels if alpha is None else np.dstack([pixels, alpha])
        return (result[..., 0] if image.ndim == 2 else result).astype(image.dtype, copy=False)
    if type(image).__module__.startswith("PIL."):
        picture = images.from_pil(image)
        pixels, alpha = _run(upscaler, picture)
        return images.to_pil(pixels, alpha, picture.metadata)
    raise UsageError(f"a picture is a path, a Pillow image or a numpy array, not {type(image).__name__}")


@dataclass(frozen=True)
class Written:
    """What came of writing: what the user should hear, and the seconds that it took, without waiting for strips."""

    notes: tuple[str, ...]
    seconds: float


def write(strips: Iterable[Strip], upscaler: Upscaler, picture: Picture, target: Any, how: Target) -> Written:
    """Write an enlarged picture to a file or stream, strip by strip.

    Args:
        strips: of `upscaler.strips(picture)`.
        upscaler: the opened model.
        picture: what is enlarged.
        target: a path, which appears complete or not at all, or a binary stream.
        how: format and options.
    """
    height, width, channels = picture.pixels.shape
    _, out_height, out_width = upscaler.plan(height, width, picture.pixels.dtype)
    format = how.format or format_of(target)  # noqa: A001
    alpha, dtype = picture.alpha is not None, picture.pixels.dtype
    notes = images.losses(format, dtype=dtype, alpha=alpha, height=out_height, width=out_width)
    metadata = Metadata(icc=picture.metadata.icc) if how.strip_metadata else picture.metadata
    started, waited = time.perf_counter(), 0.0
    with images.open_writer(
        target,
        format,
        height=out_height,
        width=out_width,
        channels=channels,
        alpha=alpha,
        dtype=dtype,
        metadata=metadata,
        options=how.options,
        overwrite=how.overwrite,
        threads=how.threads,
    ) as writer:
        asked = time.perf_counter()
        for rows, rows_alpha in strips:
            waited += time.perf_counter() - asked
            writer.write(rows, rows_alpha)
            asked = time.perf_counter()
        waited += time.perf_counter() - asked
    notes = (*picture.notes, *upscaler.losses(picture), *notes, *writer.notes)
    return Written(notes, time.perf_counter() - started - waited)


def format_of(target: Any) -> str:
    """The format that a file name asks for; PNG where there is no name.

    Raises:
        UsageError: an ending that sharpbit does not write.
    """
    suffix = target.suffix.lower() if isinstance(target, Path) else ".png"
    if suffix not in images.WRITE_FORMATS:
        known = " ".join(sorted(images.WRITE_FORMATS))
        raise UsageError(f"{target} ends in {suffix or 'nothing'!r}, which is not a format to write; known: {known}")
    return images.WRITE_FORMATS[suffix]


def _run(upscaler: Upscaler, picture: Picture) -> tuple[Array, Array | None]:
    strips = list(upscaler.strips(picture))
    pixels = np.concatenate([rows for rows, _ in strips])
    if picture.alpha is None:
        return pixels, None
    return pixels, np.concatenate([rows for _, rows in strips if rows is not None])


def _from_array(array: Array) -> Picture:
    shape = "(H, W) or (H, W, C) with C from 1 to 4"
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise ImageError(f"an array of shape {array.shape} is no picture; expected is {shape}")
    if array.dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise ImageError(f"an array of {array.dtype} is no picture; expected is uint8, uint16 or float in [0, 1]")
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"a float picture lies in [0, 1]; this one goes from {array.min():g} to {array.max():g};"
                " divide it by 255, or clip it"
            )
    if array.ndim == 2:
        array = array[..., None]
    colours = array.shape[2] - (1 - array.shape[2] % 2)
    alpha = None if colours == array.shape[2] else np.ascontiguousarray(array[..., -1])
    return Picture(np.ascontiguousarray(array[..., :colours]), alpha, Metadata(), (), "array")
