"""The options of `sharpbit upscale`; short names mean what users of the ncnn upscalers know."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from sharpbit.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Upscale:
    """What was given to `sharpbit upscale`; see its help."""

    inputs: tuple[str, ...]
    more_inputs: tuple[str, ...]
    output: str | None
    scale: int | None
    tile_size: int
    model: str | None
    format: str | None
    jobs: tuple[int, int, int] | None
    ensemble: bool
    verbose: bool
    width: int | None
    height: int | None
    fit: tuple[int, int] | None
    overwrite: bool
    skip_existing: bool
    dry_run: bool
    as_json: bool
    threads: int | None
    engine: str
    device: str | None
    strip_metadata: bool
    name_template: str | None
    compression: int
    quality: int
    max_pixels: int | None
    quiet: bool


class _Jobs(click.ParamType[Any]):
    name = "LOAD:PROC:SAVE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        parts = re.fullmatch(r"(\d{1,3}):(\d{1,3}):(\d{1,3})", str(value))
        if not parts or not all(1 <= int(part) <= 256 for part in parts.groups()):
            self.fail(f"{value!r} is not three counts of threads such as 1:2:2", param, ctx)
        load, proc, save = map(int, parts.groups())
        return load, proc, save


class Fit(click.ParamType[Any]):
    """`1920x1080` to (height, width)."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """See `click.ParamType`."""
        parts = re.fullmatch(r"(\d{1,7})[x×](\d{1,7})", str(value))
        if not parts or not all(1 <= int(part) <= 1 << 20 for part in parts.groups()):
            self.fail(f"{value!r} is not a size such as 1920x1080", param, ctx)
        return int(parts[2]), int(parts[1])


class Bits(click.ParamType[Any]):
    """`8` to 8, and `8,6,4` to (8, 6, 4)."""

    name = "BITS"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | tuple[int, ...]:
        """See `click.ParamType`."""
        if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", str(value)):
            raise UsageError(f"--bits {value}: give a width such as 8, or several to choose from, such as 8,6,4")
        widths = tuple(map(int, str(value).split(",")))
        return widths if len(widths) > 1 else widths[0]


class Budget(click.ParamType[Any]):
    """`5` to 5.0; `40%` stays what it is."""

    name = "BUDGET"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str:
        """See `click.ParamType`."""
        parts = re.fullmatch(r"(\d{1,4}(?:\.\d{1,4})?)(%?)", str(value).strip())
        if not parts:
            raise UsageError(
                f"--budget {value}: give a mean of bits such as 5, or a share of the cost in 8 bits such as 40%"
            )
        return parts[0] if parts[2] else float(parts[1])


class Small(click.ParamType[Any]):
    """`X2=DIR` to (2, Path)."""

    name = "X2=DIR"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, Path]:
        """See `click.ParamType`."""
        parts = re.fullmatch(r"[xX]?(\d)=(.+)", str(value))
        if not parts:
            self.fail(f"{value!r} is not a scale and its folder such as X2=DIV2K_train_LR_bicubic/X2", param, ctx)
        return int(parts[1]), Path(parts[2])


ENGINE = click.option(
    "--engine",
    default="auto",  # names as in sharpbit.runtime, which would import numpy
    show_default=True,
    metavar="NAME",
    help="native, onnx, openvino, torch, or auto: the fastest that is exact.",
)
DEVICE = click.option("--device", metavar="NAME", help="cpu, or cuda, directml, coreml where it is.  [default: cpu]")
_SIDE = click.IntRange(1, 1 << 20)
_OPTIONS = (
    click.argument("inputs", nargs=-1, metavar="INPUT..."),
    click.option("-i", "--input", "more_inputs", multiple=True, metavar="INPUT", help="An image or folder, or -."),
    click.option("-o", "--output", metavar="OUT", help="File, folder, or - for standard output."),
    click.option("-s", "--scale", type=click.IntRange(1, 16), help="2, 3 or 4.  [default: the model's, else 2]"),
    click.option("-t", "--tile-size", default=0, show_default=True, help="Side of tiles in pixels; 0 chooses."),
    click.option("-n", "--model", metavar="MODEL", help="An embedded model or the path of an ONNX file."),
    click.option("-f", "--format", metavar="EXT", help="png, jpg, webp, tif, bmp, gif or avif."),
    click.option("-j", "--jobs", type=_Jobs(), help="Threads: to read ahead, of the engine, to compress."),
    click.option("-x", "--ensemble", is_flag=True, help="Mean of eight orientations: 8 times slower, a bit better."),
    click.option("-v", "--verbose", is_flag=True, help="Say a line for each image."),
    click.option("--width", type=_SIDE, help="Width of the result instead of a factor."),
    click.option("--height", type=_SIDE, help="Height of the result instead of a factor."),
    click.option("--fit", type=Fit(), help="Largest size of the result, its shape kept."),
    click.option("--overwrite", is_flag=True, help="Replace results that exist."),
    click.option("--skip-existing", is_flag=True, help="Leave out images whose result exists."),
    click.option("--dry-run", is_flag=True, help="Say what would be done, write nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome of each image as JSON."),
    click.option("--threads", type=click.IntRange(1, 256), help="Threads of the engine.  [default: all cores]"),
    ENGINE,
    DEVICE,
    click.option("--strip-metadata", is_flag=True, help="Write no EXIF, XMP or resolution (the colour profile stays)."),
    click.option("--name-template", metavar="TEXT", help="Names of results: {stem} {ext} {model} {scale}."),
    click.option("--compression", type=click.IntRange(0, 9), default=3, show_default=True, help="Of PNG and TIFF."),
    click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEG, WebP, AVIF."),
    click.option("--max-pixels", type=click.IntRange(1), help="Refuse larger images.  [default: 128 Mi]"),
    click.option("--quiet", is_flag=True, help="Print errors only."),
)


def upscale(command: Command) -> Command:
    """Give `command` the options of `sharpbit upscale`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_PATCH = (
    click.option("--patch", type=click.IntRange(8, 4096), metavar="N", help="Patch by patch: side in small pixels."),
    click.option("--step", type=click.IntRange(1, 4096), metavar="N", help="From patch to patch.  [default: N - 6]"),
)


def patch(command: Command) -> Command:
    """Give `command` the options of patch-wise work."""
    for option in reversed(_PATCH):
        command = option(command)
    return command


_EVALUATE = (
    click.argument("models", nargs=-1, required=True, metavar="MODEL..."),
    click.option("--data", multiple=True, metavar="DIR...", help="Sets of test images, or a folder of sets."),
    click.option("-s", "--scale", multiple=True, type=click.IntRange(2, 8), help="For bicubic, which has none."),
    click.option("--crop", type=click.IntRange(1, 96), default=12, show_default=True, help="Cut HR to multiples of."),
    *_PATCH,
    click.option("--make-lr", is_flag=True, help="Make LR images even where a folder holds them."),
    click.option("--threads", type=click.IntRange(1, 256), help="Threads that work.  [default: all cores]"),
    ENGINE,
    DEVICE,
    click.option("--table", metavar="OUT", help="Folder for table.md, table.csv, plot.svg; goes on where it stopped."),
    click.option("--images", "--pictures", "images", is_flag=True, help="Print each image, also for several models."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    click.option("--quiet", is_flag=True, help="Show no progress."),
)


def evaluate(command: Command) -> Command:
    """Give `command` the options of `sharpbit evaluate`."""
    for option in reversed(_EVALUATE):
        command = option(command)
    return command


class Sides(click.ParamType[Any]):
    """`360x640` to (360, 640)."""

    name = "HEIGHTxWIDTH"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """See `click.ParamType`."""
        parts = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", str(value))
        if not parts or not all(1 <= int(part) <= 1 << 14 for part in parts.groups()):
            self.fail(f"{value!r} is not a height and a width such as 360x640", param, ctx)
        return int(parts[1]), int(parts[2])


_BENCH = (
    click.argument("model", metavar="MODEL"),
    click.option("--size", multiple=True, type=Sides(), help="Of the image that goes in.  [default: 360x640]"),
    click.option("--threads", type=click.IntRange(1, 256), help="Threads of each engine.  [default: all cores]"),
    ENGINE,
    DEVICE,
    click.option("--compare", metavar="E,E,...", help="Several engines, in turn."),
    click.option("--seconds", type=click.FloatRange(0, 3600), help="Of samples, for each engine.  [default: 3, or 60]"),
    click.option("--single-stream", is_flag=True, help="As MLPerf Mobile: 1024 images, 60 s, 90th percentile."),
    click.option("--data", multiple=True, metavar="DIR...", help="Also PSNR on these sets of test images."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table."),
    click.option("--plot", metavar="FILE.svg", help="Also draw the medians."),
    click.option("--quiet", is_flag=True, help="Show no progress."),
)


def bench(command: Command) -> Command:
    """Give `command` the options of `sharpbit bench`."""
    for option in reversed(_BENCH):
        command = option(command)
    return command
