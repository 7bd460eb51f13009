"""The command `sharpbit serve`."""

from __future__ import annotations

from typing import Any

import click

from sharpbit.app import options


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 lets other machines in, who then need a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A name under which the server is reached; several are allowed.  [default: addresses and localhost]",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    metavar="N",
    help="Images that are worked on at the same time.",
)
@click.option(
    "--max-mib", type=click.IntRange(1, 65536), default=100, show_default=True, metavar="MIB", help="Largest upload."
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=64 << 20,
    show_default="64 Mi",
    metavar="PIXELS",
    help="Refuse images with more pixels.",
)
@click.option(
    "--max-result-pixels",
    type=click.IntRange(1),
    default=256 << 20,
    show_default="256 Mi",
    metavar="PIXELS",
    help="Refuse work whose result has more pixels.",
)
@click.option(
    "--max-seconds",
    type=options.Number(1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="Longest time for one image.",
)
@click.option(
    "--queue",
    type=click.IntRange(1, 10000),
    default=100,
    show_default=True,
    metavar="N",
    help="Most images that wait; further ones are refused for the moment.",
)
@click.option(
    "--per-client",
    type=click.IntRange(1, 10000),
    default=32,
    show_default=True,
    metavar="N",
    help="Most images of one address that wait or run.",
)
@click.option(
    "--keep",
    type=options.Number(0.1, 100000),
    default=60,
    show_default=True,
    metavar="MINUTES",
    help="Minutes after which a result is deleted.",
)
@options.THREADS
@options.ENGINE
@options.DEVICE
def serve(**given: Any) -> None:
    """Serve a page that upscales images, and an HTTP API, on this machine.

    The page compares before and after, and nothing leaves this machine. Other machines reach it with --host alone, and
    need the token that is printed then; the environment variable SHARPBIT_TOKEN sets it. Ctrl-C ends the server;
    images and results are gone then.
    """
    from sharpbit.app.serve import Serve, run_serve

    run_serve(Serve(**given))
