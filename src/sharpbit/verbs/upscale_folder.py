"""Upscale a folder of images: what `sharpbit upscale FOLDER` does, from Python."""

from __future__ import annotations

import os
from pathlib import Path

from sharpbit.errors import UsageError
from sharpbit.image import MAX_PIXELS, WRITE_FORMATS, WriteOptions
from sharpbit.pipeline.arguments import at_least_one, pair
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
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    format: str | None = None,  # noqa: A002 - the option of the command
    overwrite: bool = False,
    skip_existing: bool = False,
    follow_links: bool = False,
    dry_run: bool = False,
    name_template: str | None = None,
    strip_metadata: bool = False,
    compression: int = 3,
    quality: int = 95,
    subsampling: str | None = None,
    max_pixels: int = MAX_PIXELS,
    ensemble: bool = False,
    tile: int | None = None,
    threads: int | None = None,
    engine: str = AUTO,
    device: str | None = None,
    exact: bool = False,
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
        width: The width of results in pixels, in place of a factor; their height follows.
        height: The height of results in pixels, in place of a factor; their width follows.
        fit: The largest width and height of a result in pixels, its aspect ratio kept, in place of a factor.
        format: The format of the results; by default JPEG and WebP stay what they are, everything else becomes PNG.
        overwrite: Whether results that exist are replaced, by default not.
        skip_existing: Whether images whose result exists are left out, by default not.
        follow_links: Whether folders that are symbolic links are entered, by default not.
        dry_run: Whether nothing is written, and outcomes say what would be done, by default not.
        name_template: The pattern of the names of results, of {stem} {ext} {model} {scale}; by default `{stem}`.
        strip_metadata: Whether EXIF, XMP and the resolution are left out, by default not.
        compression: The deflate level of PNG and TIFF, 0 to 9, by default 3.
        quality: The quality of JPEG, WebP and AVIF, 1 to 100, by default 95.
        subsampling: The resolution of the colours of JPEG, `4:4:4` (full), `4:2:2` or `4:2:0`; by default full from
            quality 90 on, and `4:2:0` below.
        max_pixels: The most pixels that an image may have; others fail.
        ensemble: Whether all eight orientations of each tile are run and their mean is taken, by default not.
        tile: The side of tiles in pixels of the input image; by default as suits the model.
        threads: The threads of the engine, by default all cores that the process may use.
        engine: As `upscale` takes it.
        device: Such as `cpu` or `cuda`, where the engine has it; by default the CPU.
        exact: Whether only engines run that give what float32 gives; False by default.
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
    limit = at_least_one("max_pixels", max_pixels) or MAX_PIXELS
    fit = pair("fit", fit)
    size = Size(scale, width, height, None if fit is None else (fit[1], fit[0]))
    options = WriteOptions(compression, quality, subsampling)
    upscaler = Upscaler(
        model, size=size, tile=tile, ensemble=ensemble, threads=threads, engine=engine, device=device, exact=exact
    )
    todo = jobs(
        [os.fspath(folder)],
        os.path.join(output, ""),  # noqa: PTH118 - a folder, whether it exists or not
        suffix=suffix,
        template=name_template,
        model=Path(model or AUTO).stem,
        scale="fit" if size.in_pixels else f"{upscaler.factor:g}",
        follow_links=follow_links,
    )
    kind = None if suffix is None else WRITE_FORMATS[suffix]
    target = Target(kind, options, overwrite=overwrite, strip_metadata=strip_metadata, threads=available_cpus())
    batch = Batch(upscaler, target, skip_existing=skip_existing, dry_run=dry_run, max_pixels=limit)
    place = {str(job.source): number for number, job in enumerate(todo)}
    return sorted(batch.run(todo, progress or (lambda share: None)), key=lambda outcome: place[outcome.input])
