"""The command `sharpbit inspect`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--size",
    type=options.Fit(),
    help="Width and height of the result to count for.  [default: 640x360 upscaled]",
)
@options.patch
@options.overrides
@click.option(
    "--bits-map",
    metavar="IMAGE",
    type=click.Path(dir_okay=False),
    help="Upscale IMAGE and draw the bits of its patches.  [default: none]",
)
@click.option("-o", "--output", metavar="FILE.png", help="Path of that drawing.  [default: name of IMAGE, here]")
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@options.JSON
def inspect(
    model: str,
    size: tuple[int, int] | None,
    patch: int | None,
    step: int | None,
    bits_map: str | None,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    overrides: dict[str, Any],
) -> None:
    """Print what MODEL is: network, parameters, MACs, BitOPs, memory, what is not counted, licence, history.

    Each layer of a quantized network is listed. Costs are counted, not measured: 'sharpbit bench' measures. With
    --bits-map, upscale an image and draw how many bits each patch took, in colours over it. Of a network in two passes
    (RefQSR), both passes and the RefERs are listed for a patch, and the map shows which patch refers to which.
    """
    from sharpbit.system.extras import need

    need("train", "inspecting a model")
    if bits_map is not None:
        from sharpbit.app.bitsmap import run_bits_map

        click.echo(
            run_bits_map(
                model, bits_map, output, patch, step, overwrite=overwrite, as_json=as_json, overrides=overrides
            )
        )
        return
    from sharpbit.app.inspect import inspected
    from sharpbit.verbs.evaluate import cut_of
    from sharpbit.verbs.inspect import inspect as look

    cut = cut_of(patch, step)
    given = {} if cut is None else {"patch": cut.patch, "step": cut.step}
    click.echo(inspected(look(model, size, overrides=overrides, **given), as_json))
