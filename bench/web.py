"""How long a browser takes for an image: the engine of `deploy --to web`, and ONNX Runtime Web beside it.

python bench/web.py [--size 640x360] [--rounds 9] [--ort DIST]

DIST is the folder `dist` of the npm package onnxruntime-web. Each way has a page of its own in headless Chromium,
warmed up; the pages take turns, and the median and the fastest of the rounds are printed. Bytes of pixels in, bytes
out.
"""

from __future__ import annotations

import argparse
import base64
import functools
import json
import os
import shutil
import statistics
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from memory import machine
from playwright.sync_api import Page, sync_playwright

from sharpbit import zoo
from sharpbit.deployment import web
from sharpbit.modelfile import ModelFile

MODELS = ("x2-clean-fast", "x2-clean-balanced")
FLOAT = "x2-clean-float"  # the network of the second in float
OURS = """async ({name, threads}) => {
  const {Pool} = await import("/pool.js"), parts = await (await fetch("/parts.json")).json();
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const model = parts.models.find((model) => model.name === name);
  const source = await (await fetch("/all.js")).text();
  const engine = await WebAssembly.compile(bytes(parts.engine));
  const pool = new Pool(source, engine, {[name]: bytes(model.data)}, threads);
  window.run = (image) => pool.upscale(image, model, () => {});
}"""
THEIRS = """async ({name, threads, provider}) => {
  const ort = await import("/ort/ort.all.min.mjs");
  Object.assign(ort.env.wasm, {numThreads: threads, wasmPaths: "/ort/"});
  const session = await ort.InferenceSession.create(`/${name}.onnx`, {executionProviders: [provider]});
  const whole = !name.endsWith("float"), [given] = session.inputNames, [made] = session.outputNames;
  window.run = async ({pixels, width, height}) => {
    const from = new Uint8Array(pixels), count = width * height;
    const data = whole ? new Uint8Array(3 * count) : new Float32Array(3 * count);
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < 3; c++) {
        if (whole) data[3 * i + c] = from[4 * i + c];
        else data[c * count + i] = from[4 * i + c] / 255;
      }
    }
    const shape = whole ? [1, height, width, 3] : [1, 3, height, width];
    const result = await session.run({[given]: new ort.Tensor(whole ? "uint8" : "float32", data, shape)});
    const values = await result[made].getData(), out = new Uint8ClampedArray(16 * count);
    for (let i = 0; i < 4 * count; i++) {
      for (let c = 0; c < 3; c++) out[4 * i + c] = whole ? values[3 * i + c] : values[4 * c * count + i] * 255;
      out[4 * i + 3] = 255;
    }
    return out.buffer;
  };
}"""
ONCE = """async ({width, height}) => {
  const bytes = new Uint8Array(4 * width * height).map((_, i) => i % 4 === 3 ? 255 : (i * i) % 253);
  const image = {width, height, pixels: bytes.buffer};
  const begun = performance.now();
  await window.run(image);
  return performance.now() - begun;
}"""


class Handler(SimpleHTTPRequestHandler):
    """Files, with what a page needs to have threads."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def lay(folder: Path, ort: Path | None) -> None:
    models = [web._model(ModelFile(zoo.path_of(name)))[1] for name in MODELS]
    engine = base64.b64encode((web.HERE / "engine.wasm").read_bytes()).decode()
    (folder / "parts.json").write_text(json.dumps({"models": models, "engine": engine}))
    (folder / "all.js").write_text(web.worker())
    (folder / "index.html").write_text("<!doctype html><title>bench</title>")
    shutil.copyfile(web.HERE / "pool.js", folder / "pool.js")
    for name in (*MODELS, FLOAT):
        shutil.copyfile(zoo.path_of(name), folder / f"{name}.onnx")
    if ort:
        (folder / "ort").symlink_to(ort.resolve())


def ways(threads: int, ort: Path | None) -> list[tuple[str, str, dict[str, Any]]]:
    counts = sorted({1, threads})
    found = [(f"sharpbit, {n} threads", OURS, {"name": name, "threads": n}) for name in MODELS for n in counts]
    if ort:
        found += [
            (f"onnxruntime-web {provider}, {n} threads", THEIRS, {"name": name, "threads": n, "provider": provider})
            for name in (*MODELS, FLOAT)
            for provider in (("wasm", "webgpu") if name == FLOAT else ("wasm",))
            for n in (counts if provider == "wasm" else [1])
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ort", type=Path)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        lay(Path(name), given.ort)
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        pages: list[tuple[str, str, Page, list[float]]] = []
        for label, code, facts in ways(threads, given.ort):
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            try:
                page.evaluate(code, facts)
                for _ in range(3):
                    page.evaluate(ONCE, {"width": width, "height": height})
            except Exception as error:  # such as a browser without WebGPU
                print(f"{facts['name']}, {label}: {str(error).splitlines()[0]}")
                continue
            pages.append((facts["name"], label, page, []))
        loads = [os.getloadavg()[0]]
        for _ in range(given.rounds):
            for _, _, page, times in pages:
                times.append(page.evaluate(ONCE, {"width": width, "height": height}))
        loads.append(os.getloadavg()[0])
        version = browser.version
        browser.close()
        server.shutdown()
    print(
        f"{given.size}, Chromium {version}, {given.rounds} rounds, load {loads[0]:.1f} to {loads[1]:.1f}, {machine()}\n"
    )
    print("| model | engine | median ms | fastest ms |\n|---|---|---:|---:|")
    for model, label, _, times in pages:
        print(f"| {model} | {label} | {statistics.median(times):.0f} | {np.min(times):.0f} |")


if __name__ == "__main__":
    main()
