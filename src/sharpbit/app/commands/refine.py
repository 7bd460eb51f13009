"""The command `sharpbit refine`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--teacher", required=True, metavar="FLOAT", help="Float model that MODEL was made from (required).")
@click.option(
    "--teacher-config",
    multiple=True,
    type=options.Size(),
    help="An option of the teacher, such as mask=true for CRAFT as published.  [default: what the file says]",
)
@click.option("--calibrate", required=True, metavar="FOLDER", help="Calibration images, as in quantize (required).")
@click.option("-o", "--output", required=True, metavar="FILE", help="Path of the result, .safetensors (required).")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Steps of the optimizer.  [default: 500]")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    metavar="N",
    help="How often all crops are learned from.  [default: what --steps says]",
)
@click.option(
    "--lr",
    type=options.Number(0, 10, min_open=True),
    default=2e-3,
    show_default=True,
    metavar="RATE",
    help="Learning rate of Adam.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=2, show_default=True, metavar="CROPS", help="LR crops in a step."
)
@options.crops
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="Device: cpu, cuda or cuda:N.")
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the rounding first, which needs a C++ compiler; steps then take less time.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@options.JSON
@options.QUIET
def refine(**given: Any) -> None:
    """Train the clipping ranges of MODEL, which quantize --unfrozen has made, on the results of the float network.

    This is the boundary refinement of CRAFT: mean square error, Adam at a constant rate, no HR images. Freeze the
    result with sharpbit freeze. A run that was ended goes on with the same command: its state is in FILE.work until the
    result is there.
    """
    from sharpbit.system.extras import need

    need("train", "refining")
    from sharpbit.app.stages import run_refine

    click.echo(run_refine(**given))
