"""Networks with skips and concatenations in integers on the native engine beside general engines, as a table.

    python bench/graph.py [--net edsr|rcan|rrdb|FILE] [--size 320x180] [--threads 1] [--rounds 7]
        [--only native,openvino-f32] [-o FILE]

`edsr` has the shape of EDSR-baseline x2 (16 blocks of 64 channels), `rcan` that of RCAN x2 with 8 blocks (64 channels,
whose gates come from means of the whole image), `rrdb` that of RRDB x4 with 6 blocks (64 channels, growth 32). FILE is
a network that `sharpbit quantize` takes. Weights of shapes are random and integers are calibrated on noise, as times do
not depend on them. All are opened in one process and take turns, bytes in and bytes out (docs/bench.md).
`openvino-int8` runs the QDQ file that `sharpbit quantize --method minmax` makes. `native:avx2` keeps the native engine
to an instruction set.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.app.bench import machine
from sharpbit.arch.graph import Network, graph_of
from sharpbit.export import EXPORTS
from sharpbit.measure.cold_start import image
from sharpbit.measure.limit import Limits
from sharpbit.measure.upscaling import by
from sharpbit.model import Model, load
from sharpbit.model.foreign import of_module
from sharpbit.modelfile.integer_graph import IntegerGraph
from sharpbit.quant.graph import GraphSettings, quantize_graph
from sharpbit.runtime import Runtime
from sharpbit.runtime.native import NativeRuntime
from sharpbit.runtime.onnx import open_onnx
from sharpbit.runtime.openvino import OpenvinoRuntime
from sharpbit.verbs.quantize import quantize

BESIDE = 0.005  # seconds of the limit, beside each sample
NAMES = ("native", "onnx-f32", "openvino-f32", "openvino-bf16", "openvino-int8")


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Edsr(nn.Module):
    """The shape of EDSR-baseline."""

    scale = 2

    def __init__(self, blocks: int = 16, width: int = 64) -> None:
        super().__init__()
        self.first, self.last, self.up = conv(3, width), conv(width, 3), conv(width, 4 * width)
        self.blocks = nn.ModuleList(nn.ModuleList((conv(width, width), conv(width, width))) for _ in range(blocks))
        self.end = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """RGB to RGB."""
        y = first = self.first(x)
        for one, two in self.blocks:
            y = two(F.relu(one(y))) * 0.1 + y
        y = F.pixel_shuffle(self.up(self.end(y) + first), 2)
        return self.last(y) * 0.05 + F.interpolate(x, scale_factor=2)


class Rcan(nn.Module):
    """The shape of RCAN x2, with few blocks."""

    scale = 2

    def __init__(self, blocks: int = 8, width: int = 64, narrow: int = 4) -> None:
        super().__init__()
        self.first, self.last, self.up = conv(3, width), conv(width, 3), conv(width, 4 * width)
        self.end, self.blocks = conv(width, width), nn.ModuleList()
        for _ in range(blocks):
            gate = (nn.Conv2d(width, narrow, 1), nn.Conv2d(narrow, width, 1))
            self.blocks.append(nn.ModuleList((conv(width, width), conv(width, width), *gate)))

    def forward(self, x: Tensor) -> Tensor:
        """RGB to RGB."""
        y = first = self.first(x)
        for one, two, down, up in self.blocks:
            z = two(F.relu(one(y)))
            y = z * torch.sigmoid(up(F.relu(down(z.mean((2, 3), keepdim=True))))) + y
        y = F.pixel_shuffle(self.up(self.end(y) + first), 2)
        return self.last(y) * 0.05 + F.interpolate(x, scale_factor=2)


class Rrdb(nn.Module):
    """The shape of RRDB x4."""

    scale = 4

    def __init__(self, blocks: int = 6, width: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.first, self.end, self.last = conv(3, width), conv(width, width), conv(width, 3)
        self.ups = nn.ModuleList(conv(width, width) for _ in range(3))
        widths = [(width + k * growth, growth if k < 4 else width) for k in range(5)]
        self.dense = nn.ModuleList(nn.ModuleList(conv(*pair) for pair in widths) for _ in range(3 * blocks))

    def forward(self, x: Tensor) -> Tensor:
        """RGB to RGB."""
        y = start = first = self.first(x)
        for number, convs in enumerate(self.dense):
            start = y if number % 3 == 0 else start
            parts = [y]
            for one in convs[:4]:
                parts.append(F.leaky_relu(one(torch.cat(parts, 1)), 0.2))
            y = convs[4](torch.cat(parts, 1)) * 0.2 + y
            y = y * 0.2 + start if number % 3 == 2 else y
        y = self.end(y) + first
        for one in self.ups[:2]:
            y = F.leaky_relu(one(F.interpolate(y, scale_factor=2)), 0.2)
        return self.last(F.leaky_relu(self.ups[2](y), 0.2)) * 0.05 + F.interpolate(x, scale_factor=4)


def opened(name: str, graph: IntegerGraph, folder: Path, threads: int) -> Runtime:
    """The network in what `name` says."""
    if name.startswith("native"):
        return NativeRuntime(graph, threads=threads, instruction_set=name.partition(":")[2] or None)
    if name == "onnx-f32":
        return open_onnx(folder / "float.onnx", threads=threads)
    file = "int8.onnx" if name == "openvino-int8" else "float.onnx"
    return OpenvinoRuntime(folder / file, threads=threads, precision="bf16" if name == "openvino-bf16" else "f32")


def table(runtimes: dict[str, Runtime], size: tuple[int, int], rounds: int, gmac: float) -> list[str]:
    """What was measured, a line each."""
    source = image(size)
    calls = {name: by(one) for name, one in runtimes.items()}
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    limits = Limits(next(iter(runtimes.values())).threads)
    for number in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call(source)
            if number:  # the first is left out
                times[name].append(1e3 * (time.perf_counter() - begin))
            limits.measure(runtimes[name].instruction_set, BESIDE)
    least = {name: min(found) for name, found in times.items()}
    lines = [
        "| | what ran | median ms | least ms | GMAC/s (least) | of limit | least, times the first |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in runtimes.items():
        limit, rate = limits.of(one.instruction_set), gmac / least[name] * 1e3
        share = f"{100 * rate / limit[1]:.0f} % of {limit[0]}" if limit and one.samples == np.uint8 else ""
        lines.append(
            f"| {name} | {one.engine}, {one.precision} {one.instruction_set} | {median(times[name]):.0f} |"
            f" {least[name]:.0f} | {rate:.0f} | {share} | {least[name] / least[next(iter(least))]:.2f} |"
        )
    return lines


def network(name: str) -> Model:
    """A float model whose net is a graph."""
    nets: dict[str, type[Edsr | Rcan | Rrdb]] = {"edsr": Edsr, "rcan": Rcan, "rrdb": Rrdb}
    if name not in nets:
        model = load(name)
        return model if isinstance(model.net, Network) else of_module(model.net, scale=model.scale, white=1.0)
    torch.manual_seed(0)
    net = nets[name]()
    return of_module(net, scale=net.scale, white=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="edsr")
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    names = given.only.split(",") if given.only else [*NAMES]
    width, height = map(int, given.size.split("x"))
    model = network(given.net)
    assert isinstance(model.net, Network)
    noise = torch.randint(0, 256, (4, 3, 24, 24), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    graph = quantize_graph(graph_of(model.net), model.scale, noise, GraphSettings(compensate=False, gate=0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if {*names} - {name for name in names if name.startswith("native")}:
            EXPORTS["onnx"](model, folder / "float.onnx")
        if "openvino-int8" in names:
            photos = [np.random.default_rng(k).integers(0, 256, (288, 288, 3), np.uint8) for k in range(2)]
            EXPORTS["onnx"](quantize(model, photos, method="minmax"), folder / "int8.onnx")
        runtimes = {name: opened(name, graph, folder, given.threads) for name in names}
        lines = table(runtimes, (height, width), given.rounds, graph.macs * height * width / 1e9)
    facts = ", ".join(f"{key} {value}" for key, value in machine(given.threads).items())
    text = "\n".join([facts, "", f"{given.net}, {given.size}", "", *lines])
    if given.output:
        given.output.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
