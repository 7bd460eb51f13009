"""Small networks as files of ncnn, written line by line as its own converters write them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

NUMBERS = {"Input": 16, "Split": 33, "Convolution": 6, "PReLU": 23, "ReLU": 26, "PixelShuffle": 69, "Interp": 50}
NUMBERS |= {"BinaryOp": 40, "Sigmoid": 30, "Reorg": 55, "Eltwise": 10, "Concat": 5}


def chain(state, scale, *, skip=True, fused=False, half=True):
    """The table of layers of a Compact network and the bytes of its weights.

    Args:
        state: a state dict with the published names.
        scale: factor of the pixel shuffle.
        skip: whether the image is added at the end.
        fused: whether a leaky ReLU of slope 0.1 stands in the convolutions, in place of a PReLU.
        half: whether kernels are stored in float16.
    """
    table = [("Input", "in0", [], ["data"], {}), ("Split", "s", ["data"], ["a", "b"], {})]
    blob, weights = "a", b""
    numbers = sorted({int(key.split(".")[1]) for key in state if key.endswith("bias")})
    for number in numbers:
        kernel, bias = (np.asarray(state[f"body.{number}.{part}"], np.float32) for part in ("weight", "bias"))
        settings = {0: len(bias), 1: 3, 4: 1, 5: 1, 6: kernel.size}
        if fused and number != numbers[-1]:
            settings |= {9: 2, 10: (0.1,)}
        table.append(("Convolution", f"conv{number}", [blob], [blob := f"c{number}"], settings))
        packed = kernel.astype("<f2").tobytes() if half else kernel.astype("<f4").tobytes()
        weights += struct.pack("<I", 0x01306B47 if half else 0) + packed + bytes(-len(packed) % 4) + bias.tobytes()
        slope = state.get(f"body.{number + 1}.weight")
        if slope is not None and not fused:
            table.append(("PReLU", f"act{number}", [blob], [blob := f"p{number}"], {0: len(slope)}))
            weights += np.asarray(slope, np.float32).tobytes()
    table.append(("PixelShuffle", "shuffle", [blob], ["pixels"], {0: scale}))
    if skip:
        table.append(("Interp", "resize", ["b"], ["large"], {0: 1, 1: float(scale), 2: float(scale)}))
        table.append(("BinaryOp", "add", ["pixels", "large"], ["output"], {0: 0}))
    return table, weights


def text(table):
    """The table as text."""
    lines = ["7767517", f"{len(table)} {sum(len(layer[3]) for layer in table)}"]
    for kind, name, inputs, outputs, settings in table:
        words = []
        for key, value in settings.items():
            many = isinstance(value, tuple)
            values = ",".join(
                f"{one:e}" if isinstance(one, float) else str(one) for one in (value if many else [value])
            )
            words.append(f"{-23300 - key}={len(value)},{values}" if many else f"{key}={values}")
        lines.append(" ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *words]))
    return "\n".join(lines).encode()


def binary(table):
    """The table as numbers."""
    blobs = {name: number for number, name in enumerate(name for layer in table for name in layer[3])}

    def word(value):
        return struct.pack("<f" if isinstance(value, float) else "<i", value)

    data = struct.pack("<3i", 7767517, len(table), len(blobs))
    for kind, _, inputs, outputs, settings in table:
        data += struct.pack("<3i", NUMBERS[kind], len(inputs), len(outputs))
        data += b"".join(word(blobs[name]) for name in (*inputs, *outputs))
        for key, value in settings.items():
            if isinstance(value, tuple):
                data += struct.pack("<2i", -23300 - key, len(value)) + b"".join(map(word, value))
            else:
                data += word(key) + word(value)
        data += word(-233)
    return data


def write(folder: Path, table, weights, *, form="text") -> Path:
    """Both files in `folder`; the path of the table."""
    path = folder / ("net.param" if form == "text" else "net.param.bin")
    path.write_bytes(text(table) if form == "text" else binary(table))
    (folder / "net.bin").write_bytes(weights)
    return path
