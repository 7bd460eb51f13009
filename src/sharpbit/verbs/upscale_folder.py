"""Upscale a folder of images: what `sharpbit upscale FOLDER` does, from Python."""

from __future__ import annotations

import os
from pathlib import Path

from sharpbit.errors import UsageError
from sharpbit.image import WRITE_FORMATS
from sharpbit.pipeline.batch import Batch
from sharpbit.pipeline.format import suffix_of
from sharpbit.pipeline.jobs import jobs
from sharpbit.pipeline.ledger import Outcome
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.pipeline.writing import Target
from sharpbit.runtime import AUTO, available_cpus
from sharpbit.system.progress import Progress


def upscale_folder(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    model: str | Path | None = None,
    scale: float | None = None,
    fit: tuple[int, int] | None = None,
    format: str | None = None,  # noqa: A002 - the option of the command
    overwrite: bool = False,
    skip_existing: bool = False,
    follow_links: bool = False,
    tile: int | None = None,
    threads: int | None = None,
    engine: str = AUTO,
    device: str | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Upscale every image of a folder into another one, in which the tree of the first is kept.

    An image that cannot be read or written does not end the run; its outcome has the reason. Each result appears
    complete or not at all.

    Args:
        folder: The folder with the images, at any depth.
        output: The folder of the results; it is made.
        model: The name of an embedded model or the path of a model file; by default (`auto`) the embedded model that
            suits each image.
        scale: The upscaling factor, by default 2 or the model's own.
        fit: The largest width and height of a result in pixels, its aspect ratio kept, in place of a factor.
        format: The format of the results; by default JPEG and WebP stay what they are, everything else becomes PNG.
        overwrite: Whether results that exist are replaced, by default not.
        skip_existing: Whether images whose result exists are left out, by default not.
        follow_links: Whether folders that are symbolic links are entered, by default not.
        tile: The side of tiles in pixels of the input image; by default as suits the model.
        threads: The threads of the engine, by default all cores that the process may use.
        engine: `auto`, `native`, `onnx`, `openvino` or `torch`.
        device: Such as `cpu` or `cuda`, where the engine has it; by default the CPU.
        progress: Called with the number of images, or shares of one, that are done.

    Returns:
        An outcome for each entry of the folder, in the order of their paths: `status` is `done`, `skipped` (it is
        upscaled already), `ignored` (no image, or a folder that is not entered) or `failed`; `error` is the reason of a
        failure, `reason` that of what was skipped or ignored, `notes` what should be known of a result.

    Raises:
        UsageError: No such folder, a format that is not written, options that exclude each other.
        ModelError: The model cannot be opened.

    Examples:
        `holiday` is a folder of photos:

        >>> import sharpbit
        >>> outcomes = sharpbit.upscale_folder("holiday", "holiday_x2", scale=2)
        >>> sorted({outcome.status for outcome in outcomes})
        ['done']
    """
    if not Path(folder).is_dir():
        raise UsageError(f"there is no folder {os.fspath(folder)!r} to take images from")
    if overwrite and skip_existing:
        raise UsageError("overwrite and skip_existing exclude each other; give one of them")
    suffix = None if format is None else suffix_of(format)
    size = Size(scale, fit=None if fit is None else (fit[1], fit[0]))
    upscaler = Upscaler(model, size=size, tile=tile, threads=threads, engine=engine, device=device)
    todo = jobs(
        [os.fspath(folder)],
        os.path.join(output, ""),  # noqa: PTH118 - a folder, whether it exists or not
        suffix=suffix,
        template=None,
        model=Path(model or AUTO).stem,
        scale="",
        follow_links=follow_links,
    )
    kind = None if suffix is None else WRITE_FORMATS[suffix]
    target = Target(kind, overwrite=overwrite, threads=available_cpus())
    batch = Batch(upscaler, target, skip_existing=skip_existing)
    place = {str(job.source): number for number, job in enumerate(todo)}
    return sorted(batch.run(todo, progress or (lambda share: None)), key=lambda outcome: place[outcome.input])
