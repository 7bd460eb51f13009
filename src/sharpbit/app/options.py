"""The options of `sharpbit upscale`; short names mean what users of the ncnn upscalers know."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

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


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # before click 8.4 it takes no type


class _Jobs(ParamType):
    name = "LOAD:PROC:SAVE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        parts = re.fullmatch(r"(\d{1,3}):(\d{1,3}):(\d{1,3})", str(value))
        if not parts or not all(1 <= int(part) <= 256 for part in parts.groups()):
            self.fail(f"{value!r} is not three counts of threads such as 1:2:2", param, ctx)
        load, proc, save = map(int, parts.groups())
        return load, proc, save


class Fit(ParamType):
    """`1920x1080` to (height, width)."""

    name = "WIDTHxHEIGHT"

    def __init__(self, most: int = 1 << 20) -> None:
        self.most = most

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """See `click.ParamType`."""
        if isinstance(value, tuple):
            return value
        parts = re.fullmatch(r"(\d{1,7})[x×](\d{1,7})", str(value))
        if not parts or not all(1 <= int(part) <= self.most for part in parts.groups()):
            most = f", each side from 1 to {self.most}"
            self.fail(f"{value!r} is not a width and a height in pixels such as 1920x1080{most}", param, ctx)
        return int(parts[2]), int(parts[1])


class Bits(ParamType):
    """`8` to 8, and `8,6,4` to (8, 6, 4)."""

    name = "BITS"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | tuple[int, ...]:
        """See `click.ParamType`."""
        if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", str(value)):
            raise UsageError(f"--bits {value}: give a width such as 8, or several to choose from, such as 8,6,4")
        widths = tuple(map(int, str(value).split(",")))
        return widths if len(widths) > 1 else widths[0]


class Budget(ParamType):
    """`5` to 5.0; `40%` stays what it is."""

    name = "BITS|SHARE%"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str:
        """See `click.ParamType`."""
        parts = re.fullmatch(r"(\d{1,4}(?:\.\d{1,4})?)(%?)", str(value).strip())
        if not parts:
            raise UsageError(
                f"--budget {value}: give a mean of bits such as 5, or a share of the cost in 8 bits such as 40%"
            )
        return parts[0] if parts[2] else float(parts[1])


class Small(ParamType):
    """`X2=FOLDER` to (2, Path)."""

    name = "X2=FOLDER"

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
    help="Engine: native, onnx, openvino, torch, or auto (the fastest that is exact).",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
QUIET = click.option("--quiet", is_flag=True, help="Hide progress.")
DEVICE = click.option("--device", metavar="NAME", help="Device: cpu, cuda, directml or coreml.  [default: cpu]")


class Size(ParamType):
    """`heads=6` to ("heads", 6); the value is JSON, or else text."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """See `click.ParamType`."""
        if isinstance(value, tuple):
            return value
        key, separator, text = str(value).partition("=")
        if not separator or not key.isidentifier():
            raise UsageError(f"--config {value}: give a size of the network and its value, such as scale=2")
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        return key, tuple(found) if isinstance(found, list) else found


_OVERRIDES = (
    click.option(
        "--arch",
        metavar="NAME",
        help="Architecture of published weights (.pth), such as edsr.  [default: the one that the weights fit]",
    ),
    click.option(
        "--config",
        multiple=True,
        type=Size(),
        help="A size of published weights (.pth), such as scale=2; several are allowed.  [default: what weights tell]",
    ),
)


def overrides(command: Command) -> Command:
    """Give `command` the options that override what weights tell; it gets them as one mapping, `overrides`."""

    @functools.wraps(command)
    def call(*args: Any, arch: str | None, config: tuple[tuple[str, Any], ...], **given: Any) -> Any:
        sizes = dict(config)
        return command(*args, overrides=sizes if arch is None else {"arch": arch, **sizes}, **given)

    for option in reversed(_OVERRIDES):
        call = option(call)
    return cast(Command, call)


_SIDE = click.IntRange(1, 1 << 20)
_OPTIONS = (
    click.argument("inputs", nargs=-1, metavar="INPUT..."),
    click.option(
        "-i",
        "--input",
        "more_inputs",
        multiple=True,
        metavar="INPUT",
        help="One more image or folder, or - for standard input.  [default: none]",
    ),
    click.option(
        "-o", "--output", metavar="OUT", help="File, folder, or - for standard output.  [default: beside the input]"
    ),
    click.option(
        "-s",
        "--scale",
        type=click.IntRange(1, 16),
        metavar="N",
        help="Upscaling factor.  [default: the model's, else 2]",
    ),
    click.option(
        "-t",
        "--tile-size",
        default=0,
        show_default=True,
        metavar="PIXELS",
        help="Side of tiles in LR pixels; 0 chooses.",
    ),
    click.option(
        "-n",
        "--model",
        metavar="MODEL",
        help="An embedded model or the path of a model file.  [default: x2-clean-balanced]",
    ),
    click.option(
        "-f", "--format", metavar="EXT", help="Format: png, jpg, webp, tif, bmp, gif or avif.  [default: png]"
    ),
    click.option(
        "-j",
        "--jobs",
        type=_Jobs(),
        help="Threads that read ahead, run the engine, and compress.  [default: chosen by cores]",
    ),
    click.option("-x", "--ensemble", is_flag=True, help="Average eight orientations (self-ensemble), 8 times slower."),
    click.option("-v", "--verbose", is_flag=True, help="Print a line for each image."),
    click.option(
        "--width", type=_SIDE, metavar="PIXELS", help="Width of the result in pixels.  [default: by the factor]"
    ),
    click.option(
        "--height", type=_SIDE, metavar="PIXELS", help="Height of the result in pixels.  [default: by the factor]"
    ),
    click.option(
        "--fit", type=Fit(), help="Largest width and height of the result, its aspect ratio kept.  [default: none]"
    ),
    click.option("--overwrite", is_flag=True, help="Replace results that exist."),
    click.option("--skip-existing", is_flag=True, help="Leave out images whose result exists."),
    click.option("--dry-run", is_flag=True, help="Print what would be done and write nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome of each image as JSON."),
    click.option(
        "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of the engine.  [default: all cores]"
    ),
    ENGINE,
    DEVICE,
    click.option("--strip-metadata", is_flag=True, help="Write no EXIF, XMP or resolution (the colour profile stays)."),
    click.option(
        "--name-template",
        metavar="TEXT",
        help="Names of results, of {stem} {ext} {model} {scale}.  [default: {stem}_x{scale}, in another folder {stem}]",
    ),
    click.option(
        "--compression",
        type=click.IntRange(0, 9),
        default=3,
        show_default=True,
        metavar="N",
        help="Compression of PNG and TIFF, 0 to 9.",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        default=95,
        show_default=True,
        metavar="N",
        help="Quality of JPEG, WebP and AVIF, 1 to 100.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        metavar="PIXELS",
        help="Refuse images with more pixels.  [default: 128 Mi]",
    ),
    click.option("--quiet", is_flag=True, help="Print errors only."),
)


def upscale(command: Command) -> Command:
    """Give `command` the options of `sharpbit upscale`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_PATCH = (
    click.option(
        "--patch",
        type=click.IntRange(8, 4096),
        metavar="PIXELS",
        help="Run patch by patch, with this side in LR pixels.  [default: whole images]",
    ),
    click.option(
        "--step",
        type=click.IntRange(1, 4096),
        metavar="PIXELS",
        help="Distance from patch to patch in LR pixels.  [default: --patch - 6]",
    ),
)


def patch(command: Command) -> Command:
    """Give `command` the options of patch-wise work."""
    for option in reversed(_PATCH):
        command = option(command)
    return command


_EVALUATE = (
    click.argument("models", nargs=-1, required=True, metavar="MODEL..."),
    click.option(
        "--data", multiple=True, metavar="FOLDER...", help="Sets of test images, or a folder of sets (required)."
    ),
    click.option(
        "-s",
        "--scale",
        multiple=True,
        type=click.IntRange(2, 8),
        metavar="N",
        help="Upscaling factor of bicubic.  [default: that of the other models]",
    ),
    click.option(
        "--crop",
        type=click.IntRange(1, 96),
        default=12,
        show_default=True,
        metavar="PIXELS",
        help="HR images are cut to multiples of this many pixels.",
    ),
    *_PATCH,
    click.option("--make-lr", is_flag=True, help="Make LR images even where a folder holds them."),
    click.option(
        "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of the engine.  [default: all cores]"
    ),
    ENGINE,
    DEVICE,
    click.option(
        "--table",
        metavar="FOLDER",
        help="Write table.md, table.csv and plot.svg there; a run goes on.  [default: none]",
    ),
    click.option(
        "--images",
        "--pictures",
        "images",
        is_flag=True,
        help="Print the numbers of each image, also for several models.",
    ),
    JSON,
    QUIET,
)


def evaluate(command: Command) -> Command:
    """Give `command` the options of `sharpbit evaluate`."""
    for option in reversed(_EVALUATE):
        command = option(command)
    return command


_BENCH = (
    click.argument("model", metavar="MODEL"),
    click.option(
        "--size",
        multiple=True,
        type=Fit(1 << 14),
        help="Width and height of the input image in pixels; may be given several times.  [default: 640x360]",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of each engine.  [default: all cores]"
    ),
    ENGINE,
    DEVICE,
    click.option("--compare", metavar="ENGINE,...", help="Engines to measure in turn.  [default: --engine alone]"),
    click.option(
        "--seconds",
        type=click.FloatRange(0, 3600),
        metavar="S",
        help="Seconds of samples for each engine.  [default: 3, or 60]",
    ),
    click.option(
        "--single-stream", is_flag=True, help="Measure as MLPerf Mobile does: 1024 images, 60 s, 90th percentile."
    ),
    click.option("--data", multiple=True, metavar="FOLDER...", help="Sets of test images for PSNR.  [default: none]"),
    JSON,
    click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table."),
    click.option("--plot", metavar="FILE.svg", help="Draw the medians.  [default: none]"),
    QUIET,
)


def bench(command: Command) -> Command:
    """Give `command` the options of `sharpbit bench`."""
    for option in reversed(_BENCH):
        command = option(command)
    return command
