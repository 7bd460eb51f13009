"""The same network on every engine at hand: time, what really ran, memory, and quality beside it, as Markdown.

    python bench/engines.py --weights ETDS [--data BENCHMARKS] [--calibrate IMAGES] [--net S,M] [--scale 3] [-o FILE]

ETDS is a folder of published checkpoints. Each is made plain, written as float ONNX, and quantized; every engine gets
the same files. ncnn and LiteRT are other formats, to which nothing here converts: it is said that they are missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sharpbit.app.bench import machine, markdown, report_phase
from sharpbit.errors import SharpbitError
from sharpbit.runtime import Samples, open_engine
from sharpbit.system.atomic import open_atomic
from sharpbit.verbs.bench import Candidate, Row, Rules, bench

NETS = {"T": "ETDS_M5C16", "S": "ETDS_M4C32", "M": "ETDS_M6C32", "L": "ETDS_M7C48"}
SIZES = {2: (540, 960), 3: (360, 640), 4: (270, 480)}  # (height, width); all become 1920x1080
PACKAGES = ("numpy", "onnxruntime", "openvino", "torch", "ncnn", "ai-edge-litert")
HERE = "engines:open_variant"  # this file, as the opener of processes of their own


class TorchVariant:
    """PyTorch compiled or in another precision, as a runtime."""

    def __init__(self, path: Path, threads: int | None, *, compiled: bool, half: bool) -> None:
        import torch

        self._plain = open_engine(path, "torch", threads=threads)
        for name in ("scale", "halo", "tile", "wide", "samples", "instruction_set", "threads", "device", "notes"):
            setattr(self, name, getattr(self._plain, name))
        self.engine = self._plain.engine + (", compiled" if compiled else "")
        self.precision = "bfloat16" if half else "float32"
        net: Any = self._plain._net  # type: ignore[attr-defined]
        self._net = torch.compile(net) if compiled else net
        self._half = half

    def __call__(self, tiles: Iterable[Samples]) -> Iterator[Samples]:
        import torch

        torch.set_num_threads(self.threads)  # type: ignore[attr-defined]
        for tile in tiles:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._half):
                out = self._net(torch.from_numpy(tile)[None].permute(0, 3, 1, 2))
            yield np.asarray(out[0].float().permute(1, 2, 0).numpy())


def open_variant(path: Path, engine: str, *, threads: int | None = None, device: str | None = None) -> Any:
    """As `sharpbit.runtime.open_engine`, with the variants that only this table has."""
    if engine == "openvino bf16":
        from sharpbit.runtime.openvino import OpenvinoRuntime

        return OpenvinoRuntime(path, threads=threads, precision="bf16")
    if engine in ("torch compiled", "torch bf16"):
        return TorchVariant(path, threads, compiled="compiled" in engine, half="bf16" in engine)
    return open_engine(path, engine, threads=threads, device=device)


def candidates(name: str, floats: Path, weights: Path, integers: Path | None) -> list[Candidate]:
    found = [
        Candidate(f"{name} ONNX Runtime fp32", str(floats), "onnx"),
        Candidate(f"{name} OpenVINO fp32", str(floats), "openvino"),
        Candidate(f"{name} OpenVINO bf16", str(floats), "openvino bf16", HERE),
        Candidate(f"{name} PyTorch eager fp32", str(weights), "torch"),
        Candidate(f"{name} PyTorch compiled fp32", str(weights), "torch compiled", HERE),
        Candidate(f"{name} PyTorch eager bf16", str(weights), "torch bf16", HERE),
    ]
    if integers is not None:
        found += [
            Candidate(f"{name} sharpbit native int8", str(integers), "native"),
            Candidate(f"{name} OpenVINO int8", str(integers), "openvino"),
            Candidate(f"{name} ONNX Runtime int8", str(integers), "onnx"),
        ]
    return found


def files(checkpoint: Path, folder: Path, calibrate: str | None, kept: Path | None) -> tuple[Path, Path, Path | None]:
    """The network in plain form: float ONNX, float weights, and, where it can be quantized here, integers."""
    from sharpbit import export, model  # not at the top: processes of their own would pay for it

    plain = model.reparameterize(model.load(checkpoint))
    floats, weights = (folder / f"{checkpoint.stem}{end}" for end in (".onnx", ".safetensors"))
    integers = (kept or folder) / f"{checkpoint.stem}_int8.onnx"
    export.EXPORTS["onnx"](plain, floats, overwrite=True)
    model.save(plain, weights, overwrite=True)
    if integers.exists():
        return floats, weights, integers
    if calibrate is None:
        report_phase("no integer rows: give images to quantize with, by --calibrate")
        return floats, weights, None
    command = [sys.executable, "-m", "sharpbit.app.cli", "quantize", weights, "--bits", "8", "--calibrate", calibrate]
    done = subprocess.run([*command, "-o", integers], capture_output=True, text=True, check=False)
    if done.returncode:
        report_phase(f"no integer rows: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
        return floats, weights, None
    return floats, weights, integers


def missing() -> Iterator[str]:
    """Why the optional rows are not there."""
    for package, what in {"ncnn": "ncnn", "ai_edge_litert": "LiteRT"}.items():
        reason = "its package is not installed" if find_spec(package) is None else "nothing here converts to its format"
        yield f"{what} was not measured: {reason}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder of published checkpoints")
    parser.add_argument("--calibrate", help="folder of images to quantize with")
    parser.add_argument("--integers", type=Path, help="folder that keeps the integer files for the next run")
    parser.add_argument("--data", nargs="*", default=[], help="sets of test images, for the quality")
    parser.add_argument("--net", default="T,S,M,L")
    parser.add_argument("--scale", default="2,3,4")
    parser.add_argument("--size", help="WIDTHxHEIGHT of the input image instead of what becomes 1920x1080")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--only", default="", help="rows whose names hold one of these words, such as int8,fp32")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    rows: list[Row] = []
    rules = Rules(threads=given.threads, seconds=given.seconds, data=tuple(given.data))
    for net in given.net.split(","):
        for scale in map(int, given.scale.split(",")):
            found = sorted(given.weights.rglob(f"{NETS[net]}_x{scale}.pth"))
            if not found:
                raise SystemExit(f"{given.weights} holds no {NETS[net]}_x{scale}")
            with tempfile.TemporaryDirectory() as folder:
                try:
                    every = candidates(
                        f"{net} x{scale}", *files(found[0], Path(folder), given.calibrate, given.integers)
                    )
                    some = [item for item in every if any(word in item.label for word in given.only.split(","))]
                    size = tuple(map(int, given.size.split("x")))[::-1] if given.size else SIZES[scale]
                    rows += bench(some, [(size[0], size[1])], rules, report_phase)
                except SharpbitError as error:
                    raise SystemExit(f"{found[0].name}: {error}") from None
    numbers = ", ".join(f"{name} {version(name)}" for name in PACKAGES if find_spec(name.replace("-", "_")))
    text = "\n".join([markdown(rows, machine(given.threads)), f"Versions: {numbers}.", *missing(), ""])
    if given.output:
        with open_atomic(given.output, overwrite=True) as file:
            file.write(text.encode())
    print(text)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
