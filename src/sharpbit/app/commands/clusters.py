"""The command `sharpbit clusters`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options
from sharpbit.errors import UsageError


class HighLow(options.ParamType):
    """`8-4` to (8, 4)."""

    name = "HIGH-LOW"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """See `click.ParamType`."""
        high, _, low = str(value).partition("-")
        if not (high.isdigit() and low.isdigit() and 2 <= int(low) <= int(high) <= 16):
            raise UsageError(f"--bits {value}: give the bits of references and of queries, from 2 to 16, such as 8-4")
        return int(high), int(low)


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
    metavar="COSINE",
    help="Least cosine of two patches that count as alike.  [default: 0.5]",
)
@click.option(
    "--queries",
    type=options.Number(0, 1),
    metavar="SHARE",
    help="Find the threshold at which this share of the pixels lies in queries.  [default: --threshold as it is]",
)
@click.option(
    "--classifier",
    metavar="FILE.npz",
    help="Classifier of scripts/train_clustblock.py that tells patches apart.  [default: the embedded one]",
)
@click.option(
    "--match",
    "model",
    metavar="MODEL",
    help="Measure what the RefERs of MODEL (in float, quantized, or in two passes) would find.  [default: nothing]",
)
@click.option(
    "--bits",
    type=HighLow(),
    metavar="HIGH-LOW",
    help="Bits of references and of queries for --match.  [default: 8-4, or those of MODEL]",
)
@click.option(
    "--config",
    multiple=True,
    type=options.Size(),
    help="A size of published weights (.pth) for --match, such as unrolled=true.  [default: what weights tell]",
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
    With --match, a network is put into two passes on these patches, so that what its RefERs find is known before it is
    trained.
    """
    from sharpbit.app.clusters import ClusterOptions, run_clusters

    click.echo(run_clusters(ClusterOptions(patch=patch or (96,), **given)))
