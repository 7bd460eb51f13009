"""One video from its source to its result."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from sharpbit._version import __version__
from sharpbit.errors import UsageError
from sharpbit.pipeline.size import Size
from sharpbit.runtime import EngineOptions
from sharpbit.system.atomic import check_target
from sharpbit.system.progress import Progress
from sharpbit.video.choosing import Networks, identity, networks
from sharpbit.video.copying import Cut
from sharpbit.video.encoders import Encoding, encoding_of
from sharpbit.video.joining import check_format, check_track, join
from sharpbit.video.making import Making
from sharpbit.video.opening import STREAM, Source
from sharpbit.video.parts import LENGTH, Parts
from sharpbit.video.preview import SECONDS
from sharpbit.video.streaming import RAW, Y4m
from sharpbit.video.writing import Track


@dataclass(frozen=True)
class VideoReport:
    """What became of a video.

    Attributes:
        output: The path of the result.
        frames: The number of its frames.
        size: The height and the width of the source in pixels.
        result_size: The height and the width of the result in pixels.
        models: The networks that ran, one after the other.
        why: What has chosen them; empty where they were named.
        encoder: The encoder and its licence.
        reused: The share of all pixels that were taken from the frame before.
        continued: The number of frames that an earlier run had made.
        seconds: The time that it took.
        fps: The frames made in a second, those of earlier runs not counted.
        notes: Sentences on what was lost or is worth knowing.
    """

    output: str
    frames: int
    size: tuple[int, int]
    result_size: tuple[int, int]
    models: tuple[str, ...]
    why: str
    encoder: str
    reused: float
    continued: int
    seconds: float
    fps: float
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return asdict(self)


@dataclass(frozen=True)
class Job:
    """One video and everything that was asked for; the attributes are the arguments of `sharpbit.upscale_video`."""

    video: str
    output: Path
    model: str | None
    size: Size
    encoder: str
    crf: str | None
    options: dict[str, str]
    pixel_format: str | None
    cut: Cut
    preview: bool
    tolerance: int
    overwrite: bool
    ensemble: bool
    engine: EngineOptions


def make(job: Job, progress: Progress) -> VideoReport:
    """Make a video.

    Args:
        job: The video, and everything that was asked for.
        progress: Called with the number of frames that are done since the last call.
    """
    started = time.perf_counter()
    to_stream = str(job.output) == STREAM
    if not to_stream:
        check_format(job.output)
        check_target(job.output, overwrite=job.overwrite)
        if Path(job.video).exists() and job.output.exists() and job.output.samefile(job.video):
            raise UsageError(f"{job.output} is the source itself; name another output")
    with Source(job.video) as source:
        job = replace(job, cut=_cut(job, source))
        nets = networks(source, job.model, job.size, job.engine, ensemble=job.ensemble)
        chain, shape = nets.chain, source.shape
        size = (chain.height, chain.width * (2 if job.preview else 1))
        asked = {"quality": job.crf, "options": job.options, "format": job.pixel_format}
        encoding = encoding_of(RAW if to_stream else job.encoder, shape, size, **asked)  # type: ignore[arg-type]
        track = _track(source, encoding, chain.height, chain.width)
        track = replace(track, height=size[0], width=size[1])
        if not to_stream:
            check_track(job.output, track)
        parts = Y4m(track) if to_stream else Parts(job.output, _identity(job, source, nets, track))
        with parts:
            making = Making(nets.upscaler, chain, nets.choice, track, parts, job.cut, job.tolerance, job.preview)
            making.run(source, progress)
            left: list[str] = []
            if isinstance(parts, Parts):
                left = join(job.video, job.output, track, parts, job.cut, overwrite=job.overwrite)
                parts.remove()
    seconds, counts = time.perf_counter() - started, making.counts
    return VideoReport(
        str(job.output),
        counts.frames + counts.kept,
        (shape.height, shape.width),
        size,
        chain.models,
        nets.choice.why if nets.choice else "",
        f"{encoding.encoder.codec} ({encoding.encoder.licence})",
        round(1 - counts.computed / counts.frames, 4) if counts.frames else 0.0,
        counts.kept,
        round(seconds, 3),
        round(counts.frames / seconds, 2),
        (*_notes(job, source, nets), *encoding.notes, *left),
    )


def _cut(job: Job, source: Source) -> Cut:
    """The part of a source that is taken; of a preview, some seconds from its start or from the middle."""
    if not job.preview:
        return job.cut
    start = job.cut.start
    if start is None:
        start = Fraction(max(0, int(((source.length or 0) - SECONDS) / 2)))
    return Cut(start, min(job.cut.end or start + SECONDS, start + SECONDS))


def _track(source: Source, encoding: Encoding, height: int, width: int) -> Track:
    shape = source.shape
    aspect = shape.aspect
    if abs(width * shape.height - height * shape.width) >= max(height, width) * 1:  # more than rounding of a side
        aspect *= Fraction(shape.width * height, shape.height * width)
    turn = shape.turn
    if turn is not None:  # what moves the image is in pixels
        turn = (*turn[:6], turn[6] * width // shape.width, turn[7] * height // shape.height, turn[8])
    return Track(encoding, height, width, aspect, source.time_base, source.rate, turn, shape.side_data)


def _identity(job: Job, source: Source, nets: Networks, track: Track) -> dict[str, Any]:
    """Everything that the frames of a result depend on; a run goes on where all of it is the same."""
    file: list[Any] = [time.time_ns()]
    if job.video != STREAM:
        status = Path(job.video).stat()
        file = [str(Path(job.video).resolve()), status.st_size, status.st_mtime_ns]
    return {
        "version": __version__,
        "source": file,
        "models": identity(nets),
        "size": [track.height, track.width],
        "engine": [nets.upscaler.describe(model)["engine"] for model in nets.chain.models],
        "ensemble": job.ensemble,
        "tile": job.engine.tile,
        "encoder": [track.encoding.encoder.codec, track.encoding.format, track.encoding.options],
        "cut": [None if moment is None else str(moment) for moment in (job.cut.start, job.cut.end)],
        "tolerance": job.tolerance,
        "preview": job.preview,
        "segment": LENGTH,
        "stream": source.stream.index,
    }


def _notes(job: Job, source: Source, nets: Networks) -> list[str]:
    shape = source.shape
    notes = list(nets.upscaler.losses(nets.image))
    if shape.interlaced:
        notes.append(
            f"{source.name} is interlaced: each frame holds two moments, and their combs are upscaled too; take them"
            " apart first, such as with ffmpeg -vf bwdif"
        )
    if shape.alpha:
        notes.append(f"{source.name} has a transparency, which is not kept")
    if source.damaged:
        places = ", ".join(f"{moment:.2f}" for moment in source.damaged[:3])
        more = f" and {len(source.damaged) - 3} more places" if len(source.damaged) > 3 else ""
        notes.append(f"{source.name} is damaged after {places} s{more}: frames that cannot be decoded are missing")
    if job.cut.end is None and source.missing > max(0.1, 3 / float(source.rate)):
        notes.append(f"the frames of {source.name} end {source.missing:.2f} s before the file says: its end is missing")
    if job.output.suffix.lower() == ".avi":
        notes.append("AVI has a constant frame rate: frames that come at other times are not kept exactly")
    if shape.colour.guessed and shape.colour.matrix != 0:
        matrix = "BT.601" if shape.colour.matrix == 6 else "BT.709"
        notes.append(f"{source.name} does not say its colour matrix: {matrix} by its height, which the result says")
    return notes
