"""`sharpbit video`: from options to calls, from their reports to what is printed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from sharpbit.app import dump, say
from sharpbit.app.signals import code_of, word_of
from sharpbit.app.text import printable
from sharpbit.errors import SharpbitError, UsageError
from sharpbit.pipeline.walk import is_video_name, walk
from sharpbit.system.extras import need
from sharpbit.system.progress import Progress
from sharpbit.verbs.video import upscale_video
from sharpbit.video.job import VideoReport
from sharpbit.video.opening import STREAM, expected


@dataclass(frozen=True)
class Given:
    """What was given to `sharpbit video`; see its help."""

    inputs: tuple[str, ...]
    output: str | None
    scale: float | None
    model: str | None
    width: int | None
    height: int | None
    fit: tuple[int, int] | None
    encoder: str
    crf: str | None
    encoder_options: tuple[tuple[str, str], ...]
    pixel_format: str | None
    start: str | None
    end: str | None
    preview: bool
    tolerance: int
    ensemble: bool
    tile_size: int
    overwrite: bool
    threads: int | None
    engine: str
    device: str | None
    as_json: bool
    quiet: bool


def run_video(given: Given) -> int:
    """Do it; returns the exit code: 0, 1 if a video failed, 130 by Ctrl-C and 143 by SIGTERM."""
    need("video", "sharpbit video")
    todo = _todo(given)
    done: list[VideoReport] = []
    failed: list[dict[str, str]] = []
    for number, (video, output) in enumerate(todo):
        try:
            done.append(_one(given, video, output))
        except KeyboardInterrupt as end:
            left = f", {len(todo) - number - 1} other videos left" if len(todo) > number + 1 else ""
            say(f"sharpbit: {word_of(end)}{left}; what is finished of {output} is kept, and the same command goes on")
            return code_of(end)
        except (SharpbitError, OSError) as error:
            if len(todo) == 1:
                raise
            sentence = str(error) if isinstance(error, SharpbitError) else f"{output}: {error.strerror or error}"
            failed.append({"input": video, "error": sentence})
            say(f"sharpbit: {sentence}")
    if given.as_json:
        click.echo(dump({"videos": [report.as_json() for report in done], "failed": failed}))
    return 1 if failed else 0


def _todo(given: Given) -> list[tuple[str, str]]:
    """Each video and where its result goes."""
    found = [(name, base) for item in given.inputs for name, base in _videos(item)]
    if not found:
        raise UsageError(f"there is no video in {', '.join(given.inputs)}")
    output = given.output
    if output == STREAM and (given.as_json or sys.stdout.isatty() or len(found) > 1):
        raise UsageError("one video goes to standard output, as y4m; redirect it to a pipe, and leave --json out")
    if output is not None and len(found) == 1 and not _is_folder(output, given.inputs):
        return [(found[0][0], output)]
    if any(name == STREAM for name, _ in found):
        raise UsageError("a video from standard input needs -o with the name of its result")
    todo = []
    for name, base in found:
        path = Path(name)
        if output is None:
            target = path.with_name(f"{path.stem}_{_mark(given)}.{_ending(path)}")
        else:
            target = Path(output) / path.relative_to(base).with_suffix(f".{_ending(path)}")
        todo.append((name, str(target)))
    twice = {target for _, target in todo if [each for _, each in todo].count(target) > 1}
    if twice:
        raise UsageError(f"two videos would become {min(twice)}; upscale them one by one")
    return todo


def _videos(item: str) -> Iterator[tuple[str, Path]]:
    if item == STREAM or not Path(item).is_dir():
        yield item, Path(item).parent
        return
    for entry in walk(item, follow_links=False):
        if is_video_name(Path(entry.name)) and entry.error is None:
            yield entry.name, entry.base


def _is_folder(output: str, inputs: tuple[str, ...]) -> bool:
    return output.endswith("/") or Path(output).is_dir() or any(Path(item).is_dir() for item in inputs)


def _mark(given: Given) -> str:
    if given.preview:
        return "preview"
    in_pixels = given.width or given.height or given.fit
    return "fit" if in_pixels else "upscaled" if given.scale is None else f"x{given.scale:g}"


def _ending(path: Path) -> str:
    """The ending of a result: that of the video where it holds all encoders, else Matroska's."""
    ending = path.suffix.lower().lstrip(".")
    return ending if ending in ("mp4", "mkv", "webm") else "mkv"


def _one(given: Given, video: str, output: str) -> VideoReport:
    with _bar(given, video) as progress:
        report = upscale_video(
            video,
            output,
            model=given.model,
            scale=given.scale,
            width=given.width,
            height=given.height,
            fit=None if given.fit is None else (given.fit[1], given.fit[0]),
            encoder=given.encoder,
            crf=given.crf,
            options=dict(given.encoder_options),
            pixel_format=given.pixel_format,
            start=given.start,
            end=given.end,
            preview=given.preview,
            tolerance=given.tolerance,
            ensemble=given.ensemble,
            tile=given.tile_size or None,
            overwrite=given.overwrite,
            threads=given.threads,
            engine=given.engine,
            device=given.device,
            progress=progress,
        )
    if not (given.quiet or given.as_json):
        for note in report.notes:
            say(f"note: {note}")
        say(_summary(report))
    return report


@contextlib.contextmanager
def _bar(given: Given, video: str) -> Iterator[Progress | None]:
    """A bar with frames, frames per second, and the time left."""
    if given.quiet or given.as_json or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    total = None if given.start or given.end or given.preview else expected(video)
    with tqdm(total=total, unit=" frames", leave=False, desc=printable(Path(video).name), dynamic_ncols=True) as bar:
        yield bar.update


def _summary(report: VideoReport) -> str:
    (height, width), (high, wide) = report.size, report.result_size
    made = report.frames - report.continued
    text = f"{report.output}: {report.frames} frames, {width}x{height} -> {wide}x{high}, in {report.seconds:.1f} s"
    text += f" ({report.fps:.1f} frames/s)"
    if report.continued:
        text += f", {report.continued} of them kept from an earlier run"
    if made and report.reused > 0.005:
        text += f", {report.reused:.0%} of all pixels reused from the frame before"
    models = "+".join(report.models) or "bicubic"
    why = f" ({report.why})" if report.why else ""
    return f"{text} [{models}{why}; {report.encoder}]"
