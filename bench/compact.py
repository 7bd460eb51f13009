"""A Compact network in integers on the native engine beside what runs it elsewhere, as a table in Markdown.

    python bench/compact.py WEIGHTS [--size 320x180] [--threads 1] [--rounds 15] [--only native,openvino-bf16]
        [--native FILE.sharpbit] [--files FOLDER] [-o FILE]

All are opened in one process and take turns, bytes in and bytes out (docs/bench.md).
WEIGHTS is a .pth file of SRVGGNetCompact, or the two files of ncnn, which ncnn itself then runs too where it is
installed. All others are made of these weights here: integers are calibrated on noise, as the time does not depend on
them. Medians and least of the rounds; CPU time is what the process itself had, which other processes disturb less: with
one thread it is the time on a quiet machine. `--only native:avx512-vnni` keeps the native engine to an instruction set.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from sharpbit.app.bench import machine
from sharpbit.export import EXPORTS
from sharpbit.measure.cold_start import image
from sharpbit.measure.limit import Limits
from sharpbit.measure.upscaling import by
from sharpbit.model import Model, load
from sharpbit.modelfile.integer_chain import read
from sharpbit.runtime import Runtime
from sharpbit.runtime.native import NativeRuntime, instruction_sets
from sharpbit.runtime.onnx import open_onnx
from sharpbit.runtime.openvino import OpenvinoRuntime
from sharpbit.runtime.torch import TorchRuntime
from sharpbit.verbs.quantize import quantize

BESIDE = 0.005  # seconds of the limit, beside each sample
FILES = {
    "native": "native.sharpbit",
    "onnx-f32": "float.onnx",
    "openvino-f32": "float.onnx",
    "openvino-bf16": "float.onnx",
    "openvino-int8": "int8.onnx",
    "torch-f32": "",
    "torch-bf16": "",
    "ncnn": "",
}


class Half(TorchRuntime):
    """Weights in PyTorch, convolutions in bfloat16."""

    def run(self, tile: np.ndarray) -> np.ndarray:
        """One tile through the network."""
        self.precision = "bfloat16"
        with torch.autocast("cpu", torch.bfloat16):
            return super().run(tile)


class Ncnn:
    """The two files of ncnn in ncnn itself. See `sharpbit.runtime.Runtime`."""

    def __init__(self, path: Path, threads: int | None) -> None:
        import ncnn

        self._ncnn, self._net = ncnn, ncnn.Net()
        self._net.opt.num_threads = threads or 1
        assert self._net.load_param(str(path)) == 0
        assert self._net.load_model(str(path.with_suffix(".bin"))) == 0
        self.engine, self.precision, self.instruction_set = f"ncnn {ncnn.__version__}", "ncnn's default", ""
        self.scale, self.halo, self.tile, self.wide = load(path).scale, None, None, False
        self.samples, self.threads, self.device, self.notes = np.float32, threads or 1, "cpu", ()

    def __call__(self, tiles: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Tiles through the network, one after the other."""
        for tile in tiles:
            run = self._net.create_extractor()
            run.input("data", self._ncnn.Mat(np.ascontiguousarray(tile.transpose(2, 0, 1))).clone())
            yield np.asarray(run.extract("output")[1]).transpose(1, 2, 0)


def open_peer(path: Path, engine: str, *, threads: int | None = None) -> Runtime:
    """The file with what `engine` names."""
    name, _, kind = engine.partition("-")
    if engine.startswith("native"):
        named = engine.partition(":")[2] or None
        return NativeRuntime(read(path)[0], threads=threads, instruction_set=named)
    if name == "openvino":
        return OpenvinoRuntime(path, threads=threads, precision="bf16" if kind == "bf16" else "f32")
    if name == "torch":
        return Half(path, threads=threads) if kind == "bf16" else TorchRuntime(path, threads=threads)
    return Ncnn(Path(path), threads) if name == "ncnn" else open_onnx(path, threads=threads)


def made(weights: Path, folder: Path, wanted: Set[str]) -> None:
    """The files that engines open, in `folder`."""
    model = load(weights)
    noise = [np.random.default_rng(k).integers(0, 256, (288, 288, 3), np.uint8) for k in range(2)]

    def integers(method: str) -> Model:
        return quantize(model, noise, method=method)

    if "native.sharpbit" in wanted:
        EXPORTS["native"](integers("sloped"), folder / "native.sharpbit")
    if "int8.onnx" in wanted:
        EXPORTS["onnx"](integers("minmax"), folder / "int8.onnx")
    if "float.onnx" in wanted:
        EXPORTS["onnx"](model, folder / "float.onnx")


def measured(runtimes: Mapping[str, Runtime], size: tuple[int, int], rounds: int, gmac: float) -> list[str]:
    """The table, a line each."""
    source = image(size)
    calls = [by(one) for one in runtimes.values()]
    limits = Limits(next(iter(runtimes.values())).threads)
    kinds = [one.instruction_set for one in runtimes.values()]
    wall: list[list[float]] = [[] for _ in calls]
    spent: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call(source)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            limits.measure(kinds[number], BESIDE)
            began = time.perf_counter(), time.process_time()
            call(source)
            wall[number].append(1e3 * (time.perf_counter() - began[0]))
            spent[number].append(1e3 * (time.process_time() - began[1]))
    lines = [
        "| | what ran | CPU ms | least | ms | least | GMAC/s of CPU | of limit | times the first |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    first = np.median(spent[0])
    for number, (name, one) in enumerate(runtimes.items()):
        cpu, real = np.median(spent[number]), np.median(wall[number])
        limit = limits.of(kinds[number])
        share = f"{100 * gmac / cpu * 1e3 / limit[1]:.0f} % of {limit[0]}" if limit and one.threads == 1 else ""
        lines.append(
            f"| {name} | {one.engine}, {one.precision} {one.instruction_set} | {cpu:.1f} | {min(spent[number]):.1f} |"
            f" {real:.1f} | {min(wall[number]):.1f} | {gmac / cpu * 1e3:.0f} | {share} | {cpu / first:.2f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", help="engines; all that there are where none is named")
    parser.add_argument("--native", type=Path, help="the network in integers, where it is made already")
    parser.add_argument("--files", type=Path, help="a folder where the files that are made stay, and are found again")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    slower = [f"native:{name}" for name in instruction_sets()[1:] if name != "c"]
    names = given.only.split(",") if given.only else [*FILES, *slower]
    if given.weights.suffix != ".param" or find_spec("ncnn") is None:
        names = [name for name in names if name != "ncnn"]
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as passing:
        place = given.files or Path(passing)
        place.mkdir(parents=True, exist_ok=True)
        wanted = {FILES[name.partition(":")[0]] for name in names} - {""}
        ready = {file: place / file for file in wanted if (place / file).exists()}
        ready |= {"native.sharpbit": given.native} if given.native else {}
        made(given.weights, place, wanted - set(ready))
        runtimes = {}
        for name in names:
            file = FILES[name.partition(":")[0]]
            path = ready.get(file, place / file) if file else given.weights
            runtimes[name] = open_peer(path, name, threads=given.threads)
        gmac = sum(weight.numel() for weight in load(given.weights).net.parameters() if weight.dim() > 1)
        lines = measured(runtimes, (height, width), given.rounds, gmac * height * width / 1e9)
    facts = ", ".join(f"{key} {value}" for key, value in machine(given.threads).items())
    text = "\n".join([f"{given.weights.stem}, {given.size}, {facts}", "", *lines])
    if given.output:
        given.output.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
