"""A large and a small network in integers in one native file: tiles with little detail go through the small one."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

from sharpbit import modelfile
from sharpbit.errors import ModelError
from sharpbit.modelfile import Header, ModelFile, integer_graph_payload
from sharpbit.modelfile.integer_chain import IntegerChain
from sharpbit.modelfile.integer_graph import IntegerGraph

PAIR = 1 << 17  # beside the scale in the first number: the payload of one network has no such bit
ARCHITECTURE = "integer_pair"  # in the header of a file
LEAST_TILE, MOST_TILE = 8, 256
MOST = (1 << 32) - 1

Single = IntegerChain | IntegerGraph


@dataclass(frozen=True)
class IntegerPair:
    """Two networks, and the rule that chooses one for each tile (docs/format.md).

    Attributes:
        large: the network for tiles with much detail.
        small: the network for the others, of the same scale.
        tile: side of a tile in LR pixels, 8 to 256; tiles lie on a grid that begins in the first pixel.
        threshold: detail from which on a tile is for the large network (`sharpbit.twopass.detail.contrasts`).

    Raises:
        ModelError: the two do not fit together, or a number is none that the engine takes.
    """

    large: Single
    small: Single
    tile: int
    threshold: int

    def __post_init__(self) -> None:
        if self.large.scale != self.small.scale:
            raise ModelError(
                f"an integer pair has two networks of one scale, not of {self.large.scale} and {self.small.scale}"
            )
        if not LEAST_TILE <= self.tile <= MOST_TILE or not 0 <= self.threshold <= MOST:
            raise ModelError(
                f"an integer pair has tiles of {LEAST_TILE} to {MOST_TILE} pixels, not {self.tile}, and a threshold"
                f" from 0 to {MOST}, not {self.threshold}"
            )
        for network in (self.large, self.small):
            if isinstance(network, IntegerGraph) and (network.halo is None or network.multiple > 1):
                raise ModelError(
                    "a network of an integer pair gives the same wherever a tile begins; this integer graph depends on"
                    " it, or takes multiples of some pixels"
                )

    @property
    def scale(self) -> int:
        """The upscaling factor of both."""
        return self.large.scale

    def payload(self) -> bytes:
        """The pair in the native format: what the engine reads."""
        parts = [struct.pack("<III", self.scale | PAIR, self.tile, self.threshold)]
        for network in (self.large, self.small):
            data = single_payload(network)
            parts += [struct.pack("<I", len(data)), data]
        return b"".join(parts)

    @classmethod
    def from_payload(cls, data: bytes, source: str) -> IntegerPair:
        """Read the native format; `source` names the file in errors.

        Raises:
            ModelError: cut off, too long, or not such a pair.
        """
        try:
            first, tile, threshold = struct.unpack_from("<III", data)
            position = 12
            networks: list[Single] = []
            for _ in range(2):
                (size,) = struct.unpack_from("<I", data, position)
                part = data[position + 4 : position + 4 + size]
                if len(part) != size:
                    raise struct.error("cut off")
                networks.append(_single(part, source))
                position += 4 + size
            if position != len(data) or not first & PAIR:
                raise struct.error(f"{len(data) - position} bytes too many")
        except struct.error as error:
            raise ModelError(f"{source}: its integer pair is damaged ({error}); get it again") from None
        try:
            pair = cls(networks[0], networks[1], tile, threshold)
            if first & ~PAIR != pair.scale:
                raise ModelError(f"an integer pair of networks x{pair.scale} does not upscale {first & ~PAIR} times")
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from None
        return pair


def single_payload(network: Single) -> bytes:
    """One network in the native format."""
    return network.payload() if isinstance(network, IntegerChain) else integer_graph_payload.payload(network)


def _single(data: bytes, source: str) -> Single:
    graph = len(data) >= 4 and struct.unpack_from("<I", data)[0] & integer_graph_payload.GRAPH
    return integer_graph_payload.from_payload(data, source) if graph else IntegerChain.from_payload(data, source)


def config(pair: IntegerPair) -> dict[str, int]:
    """What the header of a file says of the pair's sizes."""
    return {"scale": pair.scale, "tile": pair.tile, "threshold": pair.threshold}


def native_file(pair: IntegerPair, header: Header) -> tuple[Header, bytes]:
    """The header of this pair, with the name, history and licence of `header`, and all bytes of the file."""
    about: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "config": config(pair),
        "scale": pair.scale,
        "receptive_field": None,
        "precision": "int8",
        "range": (0.0, 255.0),
    }
    return modelfile.native(replace(header, **about), pair.payload())


def read(file: str | PathLike[str]) -> tuple[IntegerPair, Header]:
    """The pair in a `.sharpbit` file, and its header.

    Raises:
        ModelError: not such a file, damaged, or its header describes another pair.
    """
    file = ModelFile.of(file)
    header = file.verified
    if header is None or header.architecture != ARCHITECTURE or file.suffix != ".sharpbit":
        raise ModelError(f"{file.path} holds no integer pair; 'sharpbit pair' makes one")
    pair = IntegerPair.from_payload(file.payload, str(file.path))
    if header.scale != pair.scale or header.config != config(pair):
        raise ModelError(f"{file.path}: its header tells of another pair than the one that it holds; get it again")
    return pair, header
