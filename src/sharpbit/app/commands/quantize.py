"""The command `sharpbit quantize`."""

from __future__ import annotations

import re
from typing import Any

import click

from sharpbit.app import options
from sharpbit.errors import UsageError


class Bits(options.ParamType):
    """`8` to 8, and `8,6,4` to (8, 6, 4)."""

    name = "BITS"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | tuple[int, ...]:
        """See `click.ParamType`."""
        if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", str(value)):
            raise UsageError(f"--bits {value}: give a width such as 8, or several to choose from, such as 8,6,4")
        widths = tuple(map(int, str(value).split(",")))
        return widths if len(widths) > 1 else widths[0]


class Budget(options.ParamType):
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


@click.command(cls=options.ManyFolders)
@click.argument("model", metavar="MODEL")
@options.overrides
@click.option("--calibrate", required=True, metavar="FOLDER", help="Calibration images, ten or more (required).")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Path of the result: .onnx, .sharpbit or .safetensors (required).",
)
@click.option(
    "--bits",
    type=Bits(),
    default=8,
    show_default=True,
    help="Bits of weights and activations; several, such as 8,6,4, are allocated by layer (mixed precision).",
)
@click.option(
    "--budget",
    type=Budget(),
    help="Budget of mixed precision: mean bits, or a share of the cost in 8 bits such as 40%.  [default: none]",
)
@click.option("--method", default="auto", show_default=True, metavar="NAME", help="Method, see docs/quantize.md.")
@click.option(
    "--refine",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="STEPS",
    help="Steps in which the result learns from the float network.",
)
@options.crops
@click.option(
    "--batch",
    type=click.IntRange(1, 10**6),
    default=8,
    show_default=True,
    metavar="CROPS",
    help="LR crops that are calibrated on at once; adc clips more the more batches there are.",
)
@click.option("--asymmetric", is_flag=True, help="Give 8-bit weights a zero point too, as published.")
@click.option("--unfrozen", is_flag=True, help="Keep clipping ranges as parameters, for sharpbit refine.")
@click.option(
    "--gate",
    type=options.Number(),
    default=45.0,
    show_default=True,
    metavar="DB",
    help="Mean distance from float that the methods sloped and graph reach with as little in 16 bits as they can; with"
    " graph no image may be more than 10 dB farther.",
)
@click.option(
    "--keep", multiple=True, metavar="GLOB", help="Layers that stay in float, such as 'upsample.*'.  [default: none]"
)
@click.option(
    "--data",
    multiple=True,
    metavar="FOLDER...",
    help="Sets of test images to measure before and after.  [default: none]",
)
@click.option(
    "--max-drop",
    type=options.Number(),
    metavar="DB",
    help="Fail, and name the worst layers, if a set loses more.  [default: any]",
)
@click.option("--sensitivity", is_flag=True, help="List the layers whose rounding costs most.")
@click.option("--blame", "sensitivity", is_flag=True, hidden=True)
@click.option("--report", metavar="FILE", help="Write a report (.html or .md) on all layers.  [default: none]")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
@options.QUIET
def quantize(
    bits: int | tuple[int, ...],
    refine: int,
    keep: tuple[str, ...],
    budget: float | str | None,
    batch: int,
    asymmetric: bool,
    cut: dict[str, Any],
    gate: float,
    **given: Any,
) -> None:
    """Turn MODEL, an embedded name or a file, into integers, and print what that cost.

    The method lossless takes chains of convolutions and ReLU (ETDS, ECBSR, ABPN, and what reparameterize makes), sloped
    those with PReLU or the image added at the end (Compact, which is Real-ESRGAN's general-x4v3), graph networks with
    skips, concatenations, gates and pools (RRDB, EDSR, RLFN); auto is the one of the three that fits. tuned, adc,
    search, minmax, percentile and ptq4sr take any network.

    In stages: quantize --unfrozen, then refine, then freeze.
    """
    from sharpbit.system.extras import need

    need("train", "quantizing")
    from sharpbit.app.quantize import run_quantize
    from sharpbit.data.calibration import Cut
    from sharpbit.verbs.quantize import QuantizationSettings

    settings = QuantizationSettings(bits, refine, keep, budget, batch, asymmetric, gate)
    click.echo(run_quantize(settings=settings, cut=Cut(**cut), **given))
