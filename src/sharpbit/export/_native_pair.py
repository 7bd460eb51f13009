"""A large and a small network in integers in one native file, for the engine of sharpbit (docs/format.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sharpbit.errors import UsageError
from sharpbit.export import _pair
from sharpbit.modelfile import Header, ModelFile, integer_pair
from sharpbit.modelfile.integer_file import IntegerNetwork, read
from sharpbit.modelfile.integer_pair import IntegerPair
from sharpbit.system.atomic import open_atomic


def part(path: Path) -> tuple[Header, IntegerNetwork]:
    """A file that can be one of a native pair.

    Raises:
        UsageError: it is in float, or a pair itself.
        ModelError: not an integer file of sharpbit, or damaged.
    """
    header = ModelFile(path).header if path.suffix.lower() in (".onnx", ".sharpbit") else None
    if header is None or header.precision != "int8" or header.architecture == integer_pair.ARCHITECTURE:
        raise UsageError(
            f"a .sharpbit pair is made of two networks in integers, which 'sharpbit quantize' makes; {path.name} is no"
            " such file"
        )
    network, header = read(path)
    return header, network


def write(
    large: tuple[Header, IntegerNetwork],
    small: tuple[Header, IntegerNetwork],
    entry: Mapping[str, Any],
    tile: int,
    threshold: int,
    path: Path,
    *,
    overwrite: bool = False,
) -> Header:
    """Write the pair.

    Args:
        large: the network for tiles with much detail.
        small: the network for the others.
        entry: what the history says of it besides: where the threshold comes from.
        tile: side of a tile in LR pixels.
        threshold: detail from which on a tile is for the large network, see `IntegerPair`.
        path: ends in `.sharpbit`.
        overwrite: replace what is there.

    Raises:
        ModelError: two networks that do not fit together.
        OutputExists: `path` exists and `overwrite` is false.
    """
    networks = [network for _, network in (large, small)]
    assert not any(isinstance(network, IntegerPair) for network in networks)
    pair = IntegerPair(networks[0], networks[1], tile, threshold)  # type: ignore[arg-type]
    header, data = integer_pair.native_file(pair, _pair.header_of(large[0], small[0], entry))
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(data)
    return header
