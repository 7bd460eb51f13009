"""The command `sharpbit video`."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from sharpbit.app import options


class _Time(options.ParamType):
    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Seconds, as text so that none is rounded, from `12.5` or `1:02:03.5`."""
        parts = re.fullmatch(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)", str(value))
        if not parts:
            self.fail(f"{value!r} is not a time in seconds such as 12.5, or 1:02:03.5", param, ctx)
        hours, minutes, seconds = (part or "0" for part in parts.groups())
        whole, _, fraction = seconds.partition(".")
        return f"{int(hours) * 3600 + int(minutes) * 60 + int(whole)}.{fraction or 0}"


class _Option(options.ParamType):
    name = "KEY=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """An option of an encoder and its value."""
        if isinstance(value, tuple):
            return value
        key, separator, text = str(value).partition("=")
        if not separator or not key:
            self.fail(f"{value!r} is not an option and its value such as preset=6", param, ctx)
        return key, text


@click.command(cls=options.FilesAndOptions)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="File whose ending decides the format, a folder, or - for y4m to standard output.  [default: beside the"
    " input, NAME_x2.mkv]",
)
@options.SCALE
@click.option(
    "-n",
    "--model",
    metavar="MODEL",
    help="An embedded model or the path of a model file; auto takes what suits most of some frames.  [default: auto]",
)
@options.WIDTH
@options.HEIGHT
@click.option(
    "--fit",
    "--size",
    type=options.Fit(),
    help="Largest width and height of the result, its aspect ratio kept.  [default: none]",
)
@click.option(
    "--encoder",
    default="av1",  # as in sharpbit.video.encoders, which would import numpy
    show_default=True,
    metavar="NAME",
    help="Encoder: av1, vp9, ffv1 (lossless), prores, h264 (x264, GPL), h265 (x265, GPL), or another of FFmpeg.",
)
@click.option("--crf", metavar="N", help="Quality as the encoder counts it, less being better.  [default: 25 for av1]")
@click.option(
    "--option",
    "encoder_options",
    multiple=True,
    type=_Option(),
    help="An option of the encoder such as preset=6; several are allowed.  [default: preset=10 for av1]",
)
@click.option(
    "--pix-fmt", "pixel_format", metavar="NAME", help="Pixel format such as yuv420p10le.  [default: as the source]"
)
@click.option("--start", type=_Time(), help="Time at which the result begins.  [default: the beginning]")
@click.option("--end", type=_Time(), help="Time at which the result ends.  [default: the end]")
@click.option("--preview", is_flag=True, help="Make four seconds from --start or the middle, before beside after.")
@click.option(
    "--tolerance",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    metavar="LEVELS",
    help="Levels of 255 by which what counts as unchanged may differ; 0 reuses what is equal alone.",
)
@options.ENSEMBLE
@click.option(
    "-t",
    "--tile-size",
    default=0,
    show_default=True,
    metavar="PIXELS",
    help="Side of tiles in LR pixels; 0 chooses.",
)
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
@options.THREADS
@options.ENGINE
@options.DEVICE
@options.JSON
@click.option("--quiet", is_flag=True, help="Print errors only.")
def video(**given: Any) -> None:
    """Upscale videos, folders of videos, or - for y4m from standard input.

    Audio, subtitles, attachments, chapters and metadata are copied, and every frame keeps its time. A run that was
    ended, by Ctrl-C or otherwise, goes on with the same command.
    """
    from sharpbit.app.video import Given, run_video

    sys.exit(run_video(Given(**given)))
