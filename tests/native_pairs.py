"""Pairs of integer networks for tests, and what they make of an image, told by numpy."""

from __future__ import annotations

import numpy as np

import integer_files
import integer_graphs
from sharpbit.modelfile import integer_graph_arithmetic as arithmetic
from sharpbit.modelfile.integer_chain import IntegerChain
from sharpbit.modelfile.integer_graph import IntegerGraph
from sharpbit.modelfile.integer_pair import IntegerPair
from sharpbit.twopass.detail import contrasts


def patchy(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Bytes `(h, w, 3)` whose noise is stronger in some places than in others."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 2, (-(-height // 16), -(-width // 16))).repeat(16, 0).repeat(16, 1)[:height, :width]
    noise = rng.integers(-60, 61, (height, width, 3)) * places[..., None] + rng.integers(-2, 3, (height, width, 3))
    return (128 + noise).astype(np.uint8)


def alone(network: IntegerChain | IntegerGraph, image: np.ndarray) -> np.ndarray:
    """What one network makes of the whole image."""
    return network.run(image) if isinstance(network, IntegerChain) else arithmetic.run(network, image)


def expected(pair: IntegerPair, image: np.ndarray) -> np.ndarray:
    """What the pair makes of an image: of each pixel what its network makes of the whole image."""
    small = contrasts(image, pair.tile) < pair.threshold
    chosen = small.repeat(pair.tile, 0).repeat(pair.tile, 1)[: image.shape[0], : image.shape[1]]
    chosen = chosen.repeat(pair.scale, 0).repeat(pair.scale, 1)[..., None]
    return np.where(chosen, alone(pair.small, image), alone(pair.large, image))


def median(image: np.ndarray, tile: int) -> int:
    """A threshold that gives about half of the tiles to each network."""
    return int(np.median(contrasts(image, tile))) + 1


def case() -> tuple[IntegerPair, np.ndarray, np.ndarray]:
    """A pair of a graph and a chain, an image, and its result."""
    image = patchy(45, 61)
    large = next(graph for graph in (make(3, False) for make in integer_graphs.GRAPHS.values()) if fits(graph))
    small = integer_files.chain(scale=large.scale, depth=2, channels=16)
    pair = IntegerPair(large, small, 8, median(image, 8))
    return pair, image, expected(pair, image)


def fits(graph: IntegerGraph) -> bool:
    """Whether a pair may have this graph, with a scale that chains have too."""
    return graph.halo is not None and graph.halo > 0 and graph.multiple == 1 and graph.scale <= 4
