"""Options that several commands have, and what their values mean."""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from sharpbit.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # before click 8.4 it takes no type


class ManyFolders(click.Command):
    """A command whose --data takes everything up to the next option or file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write `--data A B` as click knows it: `--data A --data B`."""
        out: list[str] = []
        more = False
        for arg in args:
            more = more and not arg.startswith("-") and not Path(arg).is_file()
            out += ["--data", arg] if more and out[-1] != "--data" else [arg]
            more = more or arg.startswith("--data")
        return super().parse_args(ctx, out)


class FilesAndOptions(click.Command):
    """A command that says how to name a file that begins with a dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse such a file, which would be taken for options."""
        for arg in args:
            if arg == "--":
                break
            if len(arg) > 1 and arg.startswith("-") and os.path.lexists(arg):
                raise UsageError(f"{arg} begins with a dash and is taken for options; name the file as ./{arg}")
        return super().parse_args(ctx, args)


class Number(click.FloatRange):
    """A number, perhaps of a range, without the `nan` that every comparison lets pass."""

    name = "number"

    def _describe_range(self) -> str:  # click prints `x<=None` in the help where there is none
        return "" if self.min is None and self.max is None else super()._describe_range()

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """See `click.ParamType`."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            limits = f" from {self.min:g} to {self.max:g}" if self.min is not None and self.max is not None else ""
            self.fail(f"{value!r} is not a number{limits}.", param, ctx)
        return found


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


SCALE = click.option(
    "-s",
    "--scale",
    type=Number(1, 16),
    metavar="N",
    help="Upscaling factor, any number from 1 to 16, such as 1.5.  [default: the model's, else 2]",
)
_SIDE = click.IntRange(1, 1 << 20)
WIDTH = click.option(
    "--width", type=_SIDE, metavar="PIXELS", help="Width of the result in pixels.  [default: by the factor]"
)
HEIGHT = click.option(
    "--height", type=_SIDE, metavar="PIXELS", help="Height of the result in pixels.  [default: by the factor]"
)
ENGINE = click.option(
    "--engine",
    default="auto",  # names as in sharpbit.runtime, which would import numpy
    show_default=True,
    metavar="NAME",
    help="Engine: native, onnx, openvino, openvino_bf16, torch, torch_bf16, or auto (the fastest that is exact).",
)
EXACT = click.option(
    "--exact",
    is_flag=True,
    help="Give what float32 gives: auto takes no engine that is only near it, 45 dB or more.  [default: it may]",
)
THREADS = click.option(
    "--threads", type=click.IntRange(1, 256), metavar="N", help="Threads of the engine.  [default: all cores]"
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
QUIET = click.option("--quiet", is_flag=True, help="Hide progress.")
DEVICE = click.option("--device", metavar="NAME", help="Device: cpu, cuda, directml or coreml.  [default: cpu]")
MODEL = click.option(
    "-n",
    "--model",
    metavar="MODEL",
    help="An embedded model or the path of a model file; auto takes the one that suits each image.  [default: auto]",
)
FORMAT = click.option(
    "-f",
    "--format",
    metavar="EXT",
    help="Format: png, jpg, webp, tif, bmp, gif or avif.  [default: jpg and webp stay, else png]",
)
COMPRESSION = click.option(
    "--compression",
    type=click.IntRange(0, 9),
    default=3,
    show_default=True,
    metavar="N",
    help="Compression of PNG and TIFF, 0 to 9.",
)
QUALITY = click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    metavar="N",
    help="Quality of JPEG, WebP and AVIF, 1 to 100.",
)
MAX_PIXELS = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Refuse images with more pixels.  [default: 128 Mi]",
)
STRIP = click.option(
    "--strip-metadata", is_flag=True, help="Write no EXIF, XMP or resolution (the colour profile stays)."
)
ENSEMBLE = click.option(
    "-x", "--ensemble", is_flag=True, help="Average eight orientations (self-ensemble), 8 times slower."
)


class Size(ParamType):
    """`heads=6` to ("heads", 6); the value is JSON, or else text."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """See `click.ParamType`."""
        if isinstance(value, tuple):
            return value
        key, separator, text = str(value).partition("=")
        if not separator or not key.isidentifier():
            raise UsageError(f"{param.opts[0]} {value}: give a size of the network and its value, such as scale=2")
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        return key, tuple(found) if isinstance(found, list) else found


class Crops(ParamType):
    """`100x128` to (100, 128)."""

    name = "COUNTxSIDE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """See `click.ParamType`."""
        if isinstance(value, tuple):
            return value
        parts = re.fullmatch(r"([1-9]\d{0,5})[x×]([1-9]\d{0,4})", str(value))
        if not parts:
            self.fail(f"{value!r} is not a number of crops and their side in pixels such as 100x128", param, ctx)
        return int(parts[1]), int(parts[2])


_CROPS = (
    click.option(
        "--crops",
        type=Crops(),
        help="LR crops and their side, taken at random, such as 100x128.  [default: 300x64 where there is detail]",
    ),
    click.option("--prepared", is_flag=True, help="FOLDER holds LR crops: shrink none, take the middle of each."),
    click.option(
        "--seed",
        type=click.IntRange(0, 10**12),
        default=0,
        show_default=True,
        metavar="NUMBER",
        help="Number that decides random crops.",
    ),
)


def crops(command: Command) -> Command:
    """Give `command` the options of calibration crops; it gets them as one mapping, `cut`."""

    @functools.wraps(command)
    def call(*args: Any, crops: tuple[int, int] | None, prepared: bool, seed: int, **given: Any) -> Any:
        cut: dict[str, Any] = {}
        if prepared:
            cut = {"place": "prepared", "count": 10**6, "side": 0}
        elif crops:
            cut = {"place": "random", "seed": seed}
        if crops:
            cut |= {"count": crops[0], "side": crops[1]}
        return command(*args, cut=cut, **given)

    for option in reversed(_CROPS):
        call = option(call)
    return cast(Command, call)


RANGE = click.option(
    "--range",
    "white",
    metavar="WHITE",
    help="White of an ONNX or ncnn file of others: 1, 255, or 1:255 for image and result.  [default: found by trial]",
)
DENOISE = click.option(
    "--denoise",
    type=Number(0, 1),
    metavar="SHARE",
    help="Mix MODEL with its twin that keeps noise: 0 is the twin, 1 is MODEL.  [default: MODEL alone]",
)
_OVERRIDES = (
    RANGE,
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
    DENOISE,
    click.option(
        "--twin", metavar="FILE", help="Twin for --denoise.  [default: the file beside MODEL with wdn in its name]"
    ),
)


def overrides(command: Command) -> Command:
    """Give `command` the options that override what weights tell; it gets them as one mapping, `overrides`."""

    @functools.wraps(command)
    def call(*args: Any, config: tuple[tuple[str, Any], ...], white: str | None, **given: Any) -> Any:
        named = {"range": white, **{key: given.pop(key) for key in ("arch", "denoise", "twin")}}
        overrides = {**dict(config), **{key: value for key, value in named.items() if value is not None}}
        return command(*args, overrides=overrides, **given)

    for option in reversed(_OVERRIDES):
        call = option(call)
    return cast(Command, call)


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
