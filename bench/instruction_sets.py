"""The native engine with every instruction set of this processor, in turn, as a table in Markdown.

    python bench/instruction_sets.py [--net T,S,M,L,W64,anime,general] [--scale 3] [--size 360x640] [--threads 1]
        [--seconds 3] [--only amx-int8,avx512-vnni] [-o FILE]

T, S, M and L have the layers of the published ETDS, W64 seven of 64 channels; anime and general those of the networks
of Real-ESRGAN of these names (PReLU, and the image added at the end). The weights are random: the time does not depend
on them. The limit of each instruction set is measured beside every sample.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from sharpbit import modelfile
from sharpbit.app.bench import machine, markdown, report_phase
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_chain import IntegerChain, Layer, Slopes, read
from sharpbit.runtime import Runtime
from sharpbit.runtime.native import NativeRuntime, instruction_sets
from sharpbit.verbs.bench import Candidate, Row, Rules, bench

# Channels, and layers that give them.
NETS = {"T": (16, 6), "S": (32, 5), "M": (32, 7), "L": (48, 8), "W64": (64, 7), "anime": (64, 17), "general": (64, 33)}
SLOPED = ("anime", "general")
HERE = "instruction_sets:open_set"  # this file, as the opener of processes of their own


def open_set(path: Path, engine: str, *, threads: int | None = None, device: str | None = None) -> Runtime:
    """The chain in `path` with the instruction set `engine`."""
    return NativeRuntime(read(path)[0], threads=threads, instruction_set=engine)


def chain(channels: int, layers: int, scale: int, *, sloped: bool) -> IntegerChain:
    """Random weights, and multipliers that keep the values of each layer between the ends of a byte."""
    rng = np.random.default_rng(0)
    made = []
    for inputs, outputs in pairwise([3, *[channels] * layers, 3 * scale**2]):
        weight = rng.integers(-127, 128, (outputs, inputs, 3, 3)).astype(np.int8)
        multiplier = np.full(outputs, 1 / (60 * (9 * inputs) ** 0.5), np.float32)
        last = len(made) == layers
        zero = np.zeros(outputs, np.uint8) if last else rng.integers(0, 128, outputs, np.uint8)
        slopes = Slopes(multiplier * np.float32(1 if last else 0.25), zero) if sloped else None
        made.append(Layer(weight, rng.integers(-9999, 9999, outputs).astype(np.int32), multiplier, slopes))
    return IntegerChain(tuple(made), scale, sloped)


def write(network: IntegerChain, path: Path) -> Path:
    """The chain as a native file."""
    header = Header(
        name=path.stem,
        architecture="integer",
        config={"scale": network.scale, "hidden": [layer.outputs for layer in network.layers[:-1]]},
        scale=network.scale,
        receptive_field=2 * len(network.layers) + 1,
        parameters=network.macs,
        precision="int8",
        range=(0.0, 255.0),
    )
    path.write_bytes(modelfile.native(header, network.payload())[1])
    return path


def least(rows: list[Row]) -> str:
    """The fastest sample of each: what is left where a shared machine is never quiet for long."""
    found = [f"{row.label} {row.latency.min_ms:.1f}" for row in rows if row.latency is not None]
    return f"Least of all samples, ms: {', '.join(found)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="T,S,M,L,W64")
    parser.add_argument("--scale", type=int, default=3)
    parser.add_argument("--size", default="360x640")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", help="instruction sets; all but plain C++ where none is named")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    sets = given.only.split(",") if given.only else [name for name in instruction_sets() if name != "c"]
    height, width = map(int, given.size.split("x"))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for net in given.net.split(","):
            path = write(chain(*NETS[net], given.scale, sloped=net in SLOPED), Path(folder) / f"{net}.sharpbit")
            every = [Candidate(f"{net} x{given.scale} {name}", str(path), name, HERE) for name in sets]
            rows += bench(every, [(height, width)], Rules(threads=given.threads, seconds=given.seconds), report_phase)
    text = f"{markdown(rows, machine(given.threads))}\n\n{least(rows)}"
    if given.output:
        given.output.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
