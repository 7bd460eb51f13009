"""Upscale a video: what `sharpbit video` does, from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from sharpbit.errors import UsageError
from sharpbit.pipeline.arguments import pair
from sharpbit.pipeline.size import Size
from sharpbit.runtime import AUTO, EngineOptions
from sharpbit.system.progress import Progress
from sharpbit.video.copying import Cut
from sharpbit.video.encoders import DEFAULT
from sharpbit.video.job import Job, VideoReport, make


def upscale_video(
    video: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    encoder: str = DEFAULT,
    crf: str | float | None = None,
    options: Mapping[str, str] | None = None,
    pixel_format: str | None = None,
    start: float | str | Fraction | None = None,
    end: float | str | Fraction | None = None,
    preview: bool = False,
    tolerance: int = 0,
    overwrite: bool = False,
    ensemble: bool = False,
    tile: int | None = None,
    threads: int | None = None,
    engine: str = AUTO,
    device: str | None = None,
    progress: Progress | None = None,
) -> VideoReport:
    """Upscale a video; audio, subtitles, attachments, chapters and metadata are copied.

    Every frame goes through the network as an image would, with its time stamp kept. The result appears complete or not
    at all; a run that was ended goes on with the same call, and the result is the same.

    Args:
        video: The path of the video, or `-` for y4m from standard input.
        output: The path of the result, whose ending decides the format, such as `.mp4` or `.mkv`; or `-` for y4m to
            standard output.
        model: The name of an embedded model or the path of a model file; by default (`auto`) the embedded model that
            suits most of some frames.
        scale: The upscaling factor, by default 2 or the model's own.
        width: The width of the result in pixels, in place of a factor; its height follows.
        height: The height of the result in pixels, in place of a factor; its width follows.
        fit: The largest width and height of the result in pixels, its aspect ratio kept, in place of a factor.
        encoder: `av1` (SVT-AV1) by default, `vp9`, `ffv1` (lossless), `prores`, `h264` (x264) or `h265` (x265); or a
            video encoder of FFmpeg by its name.
        crf: The quality as the encoder counts it, less being better; by default 25 for AV1.
        options: Options of the encoder by name.
        pixel_format: The pixel format of the result, such as `yuv420p10le`; by default what comes nearest to the
            source's.
        start: The time in seconds where the result begins, by default the beginning.
        end: The time in seconds where it ends, by default the end.
        preview: Whether four seconds are made, from `start` or the middle, with the video before beside them; by
            default not.
        tolerance: The levels of 255 by which a pixel may differ from the frame before and still count as equal to it,
            by default 0: what is reused is exact.
        overwrite: Whether an output that exists is replaced, by default not.
        ensemble: Whether all eight orientations of each tile are run and their mean is taken, by default not.
        tile: The side of tiles in pixels of the source; by default as suits the model.
        threads: The threads of the engine, by default all cores that the process may use.
        engine: `auto`, `native`, `onnx`, `openvino` or `torch`.
        device: Such as `cpu` or `cuda`, where the engine has it; by default the CPU.
        progress: Called with the number of frames that are done since the last call.

    Returns:
        What was made, and what is worth knowing about it.

    Raises:
        VideoError: The video cannot be read, or the result not be written so.
        OutputExists: `output` exists, and `overwrite` is false.
        SharpbitError: Another of the errors of `sharpbit.errors`.

    Examples:
        `clip.mp4` becomes twice as large, its audio and subtitles untouched:

        >>> import sharpbit
        >>> report = sharpbit.upscale_video("clip.mp4", "clip_x2.mp4", model="x2-clean-fast")
        >>> report.result_size
        (96, 128)
    """
    turned = pair("fit", fit)
    size = Size(scale, width, height, None if turned is None else (turned[1], turned[0]))
    return make(
        Job(
            os.fspath(video),
            Path(output),
            None if model is None else os.fspath(model),
            size,
            encoder,
            None if crf is None else f"{crf}",
            dict(options or {}),
            pixel_format,
            Cut(_time("start", start), _time("end", end)),
            preview,
            tolerance,
            overwrite=overwrite,
            ensemble=ensemble,
            engine=EngineOptions(engine, device, threads, tile),
        ),
        progress or (lambda frames: None),
    )


def _time(name: str, value: float | str | Fraction | None) -> Fraction | None:
    if value is None:
        return None
    try:
        return Fraction(str(value) if isinstance(value, float) else value)
    except (ValueError, TypeError, ZeroDivisionError):
        raise UsageError(f"{name} is a time in seconds such as 12.5, not {value!r}") from None
