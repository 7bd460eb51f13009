"""The command `sharpbit clusters`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--patch",
    type=click.IntRange(16),
    multiple=True,
    metavar="PIXELS",
    help="Side of a patch in pixels.  [default: 96]",
)
@click.option(
    "--shared",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    metavar="PIXELS",
    help="Pixels that neighbouring patches share.",
)
@click.option(
    "--threshold",
    type=options.Number(),
    default=0.5,
    show_default=True,
    metavar="COSINE",
    help="Least cosine of two patches that count as alike.",
)
@click.option(
    "--shrink",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    metavar="N",
    help="Factor by which images are downscaled first.",
)
@click.option("-o", "--output", metavar="FILE.png", help="Draw the clusters over the image.  [default: none]")
@click.option("--overwrite", is_flag=True, help="Replace FILE.png if it exists.")
@options.JSON
@options.QUIET
def clusters(patch: tuple[int, ...], **given: Any) -> None:
    """Show which patches of images (or folders of them) are alike, as networks in two passes (RefQSR) see them.

    A reference gets many bits, a query few bits and the features of its reference; an isolated patch is like no other.
    """
    from sharpbit.app.clusters import ClusterOptions, run_clusters

    click.echo(run_clusters(ClusterOptions(patch=patch or (96,), **given)))
