"""Files of native/test/graphs.cpp: a payload, an image and its result each."""

import struct

import numpy as np

import integer_graphs
import native_pairs
from sharpbit.modelfile import integer_graph_arithmetic as arithmetic
from sharpbit.modelfile.integer_graph_payload import payload


def files(folder, both=False):
    """All operators, once, then a pair: every other graph has extreme numbers, or each is there with and without.

    Sizes are odd and even, and smaller than a tile and larger. Many more numbers are in test_native_graph.py, without
    sanitizers.
    """
    paths = []
    for number, (name, make) in enumerate(integer_graphs.GRAPHS.items()):
        for extreme in (False, True) if both else (number % 2 == 1,):
            graph = make(number, extreme)
            image = np.random.default_rng(number).integers(0, 256, (4 + number, 35 - 3 * number, 3), np.uint8)
            paths.append(folder / f"{name}-{extreme}")
            write(paths[-1], graph.scale, payload(graph), image, arithmetic.run(graph, image))
    pair, image, result = native_pairs.case()
    paths.append(folder / "pair")
    write(paths[-1], pair.scale, pair.payload(), image, result)
    return paths


def write(path, scale, data, image, result):
    sizes = struct.pack("<5I", scale, *image.shape[:2], len(data), 0)
    path.write_bytes(sizes + data + image.tobytes() + result.tobytes())
