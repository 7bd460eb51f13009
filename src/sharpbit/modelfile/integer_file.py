"""Files that hold a network in integers: a chain, a graph, or a pair of them."""

from __future__ import annotations

from os import PathLike

from sharpbit.modelfile import Header, ModelFile, integer_chain, integer_graph, integer_graph_payload, integer_pair
from sharpbit.modelfile.integer_chain import IntegerChain
from sharpbit.modelfile.integer_graph import IntegerGraph
from sharpbit.modelfile.integer_pair import IntegerPair

IntegerNetwork = IntegerChain | IntegerGraph | IntegerPair


def read(file: str | PathLike[str]) -> tuple[IntegerNetwork, Header]:
    """The network in an integer file, `.onnx` or `.sharpbit`, and its header.

    Raises:
        ModelError: not an integer file of sharpbit, damaged, or its header describes another network.
    """
    file = ModelFile.of(file)
    header = None if file.suffix != ".sharpbit" else file.header
    if header is not None and header.architecture == integer_pair.ARCHITECTURE:
        return integer_pair.read(file)
    if header is not None and header.architecture == integer_graph.ARCHITECTURE:
        return integer_graph_payload.read(file)
    return integer_chain.read(file)


def payload(network: IntegerNetwork) -> bytes:
    """The network in the native format: what the engine reads."""
    return network.payload() if isinstance(network, IntegerPair) else integer_pair.single_payload(network)


def halo(network: IntegerNetwork) -> int | None:
    """Input pixels around a tile that its result depends on; None where tiles may not begin anywhere."""
    if isinstance(network, IntegerChain):
        return len(network.layers)
    return network.halo if isinstance(network, IntegerGraph) and network.multiple == 1 else None
