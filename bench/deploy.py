"""Which folder of `sharpbit deploy` takes how long for one image on this machine, as a table of Markdown.

    python bench/deploy.py [--size 640x360] [--rounds 9] [--threads 1] [MODEL...]

Each way runs as the example in its folder does, all in this process, in turn, on the demonstration image brought to
that size; the median and the least of the rounds are printed, of wall time, from pixels to pixels, and the largest
difference from our integers in grey levels. bench/web.py measures the page, which needs a browser.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from memory import machine
from PIL import Image

import sharpbit
from sharpbit import zoo
from sharpbit.runtime import EngineOptions, open_engine

DEMO = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
Work = Callable[[], np.ndarray]


def native(model: str, image: np.ndarray, threads: int) -> Work:
    engine = open_engine(zoo.path_of(model), EngineOptions("native", None, threads))
    return lambda: next(iter(engine([image])))


def by_onnx(folder: Path, image: np.ndarray, threads: int) -> Work:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    if given.type == "tensor(uint8)":
        return lambda: session.run(None, {given.name: image[None]})[0][0]

    def work() -> np.ndarray:
        planes = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        values = session.run(None, {given.name: planes})[0][0].transpose(1, 2, 0)
        return np.rint(np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8)

    return work


def by_litert(path: Path, image: np.ndarray, threads: int) -> Work:
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    whole = given["dtype"] == np.int8

    def work() -> np.ndarray:
        values = (image.astype(np.int16) - 128).astype(np.int8) if whole else image.astype(np.float32) / np.float32(255)
        interpreter.set_tensor(given["index"], values[None])
        interpreter.invoke()
        result = interpreter.get_tensor(made["index"])[0]
        pixels = result.astype(np.int16) + 128 if whole else np.rint(np.clip(result, 0, 1) * np.float32(255))
        return pixels.astype(np.uint8)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["x2-clean-fast", "x2-clean-balanced"])
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    image = np.asarray(Image.open(DEMO).convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    print(f"{given.size}, threads: {given.threads}; {machine()}\n")
    print("| model | folder | median ms | least ms | largest difference |\n|---|---|---:|---:|---:|")
    for model in given.models:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for kind in ("onnx", "tflite"):
                sharpbit.deploy(model, to=kind, output=folder / kind)
            float_model = f"{model.rsplit('-', 1)[0]}-float"
            ways = {
                "c, cpp, docker: our engine": native(model, image, given.threads),
                "onnx: ONNX Runtime, integers": by_onnx(folder / "onnx", image, given.threads),
                "tflite: LiteRT, integers": by_litert(
                    next((folder / "tflite").glob("*int8.tflite")), image, given.threads
                ),
            }
            if model.endswith("balanced"):  # the float network of a family is that of `balanced`
                sharpbit.deploy(float_model, to="onnx", output=folder / "float")
                ways["onnx: ONNX Runtime, float"] = by_onnx(folder / "float", image, given.threads)
                path = next((folder / "tflite").glob("*float.tflite"))
                ways["tflite: LiteRT, float"] = by_litert(path, image, given.threads)
            wanted = ways["c, cpp, docker: our engine"]().astype(int)
            apart = {way: int(np.abs(work().astype(int) - wanted).max()) for way, work in ways.items()}
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(given.rounds):
                for way, work in ways.items():
                    started = time.perf_counter()
                    work()
                    times[way].append(1000 * (time.perf_counter() - started))
        for way, found in times.items():
            print(f"| {model} | {way} | {statistics.median(found):.1f} | {min(found):.1f} | {apart[way]} |")


if __name__ == "__main__":
    main()
