"""Video against the network alone, in one run: decode, network and encode together, and what reuse saves.

    python bench/video.py CLIP [--model x2-photo-fast] [--fit 1920x1080] [--seconds 8] [--threads 1]

Each figure is the median of so many rounds, which take turns. `network` is the model on the decoded frames, one after
the other, with the resizing to the size that was asked for, and nothing else; `video` is what the command does, and
`without reuse` the same where no part of a frame is taken from the one before. `screen` is a recording that is drawn
here: a page on which a small rectangle moves in every third frame. Beside frames a second stands the time of all cores
that a frame takes, which says what a machine can reach whose cores all work: where another program runs, only that can
be compared. With `--threads 1` the network has one core, and everything else the others.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np

import sharpbit
from sharpbit.image import ImageData, Metadata
from sharpbit.pipeline.resized import sized
from sharpbit.pipeline.size import Size
from sharpbit.runtime import AUTO, EngineOptions
from sharpbit.video.choosing import networks
from sharpbit.video.colour import to_rgb
from sharpbit.video.making import Making
from sharpbit.video.opening import Source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default=None, help="By default what suits each.")
    parser.add_argument("--fit", type=lambda text: tuple(int(side) for side in text.split("x")))
    parser.add_argument("--encoder", default="av1")
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--start", type=Fraction, default=Fraction(8))
    parser.add_argument("--seconds", type=Fraction, default=Fraction(8))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        screen = drawn(Path(folder) / "screen.mp4", int(24 * given.seconds))
        for name, path, start in ((given.clip.name, given.clip, given.start), ("screen", screen, Fraction(0))):
            compare(name, path, start, given, Path(folder) / "out.mkv")


def compare(name: str, path: Path, start: Fraction, given: argparse.Namespace, output: Path) -> None:
    """Print the figures of one video."""
    measured: dict[str, list[tuple[float, float]]] = {"network": [], "video": [], "without reuse": []}
    for _ in range(given.rounds):
        measured["network"].append(alone(path, start, given))
        for key in ("without reuse", "video"):
            began, spent = time.perf_counter(), time.process_time()
            with nothing_reused() if key == "without reuse" else contextlib.nullcontext():
                report = sharpbit.upscale_video(
                    path,
                    output,
                    model=given.model,
                    fit=given.fit,
                    encoder=given.encoder,
                    options=dict(option.split("=") for option in given.option),
                    start=start,
                    end=start + given.seconds,
                    threads=given.threads,
                    overwrite=True,
                )
            frames = report.frames
            measured[key].append(
                (frames / (time.perf_counter() - began), 1000 * (time.process_time() - spent) / frames)
            )
    with Source(os.fspath(path), decode=False) as source:
        rate = float(source.rate)
    (height, width), (high, wide) = report.size, report.result_size
    print(f"{name}: {width}x{height} -> {wide}x{high} by {'+'.join(report.models)}, {report.reused:.1%} reused")
    print(
        f"  {frames} frames, {rate:.3g} a second are real time; load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    )
    network = [median(values) for values in zip(*measured["network"], strict=True)]
    for key, values in measured.items():
        fps, spent = (median(each) for each in zip(*values, strict=True))
        print(
            f"  {key:<14}{fps:7.2f} frames/s, {fps / network[0]:5.2f} of the network;"
            f" {spent:6.1f} ms of the cores a frame, which allow {os.cpu_count() * 1000 / spent:6.1f} frames/s,"
            f" {network[1] / spent:5.2f} of the network"
        )


@contextlib.contextmanager
def nothing_reused():
    own = Making._restart
    Making._restart = lambda self, waiting: lambda: True
    try:
        yield
    finally:
        Making._restart = own


def alone(path: Path, start: Fraction, given: argparse.Namespace) -> tuple[float, float]:
    """Frames of a second that the network makes, and the milliseconds of all cores that one takes."""
    size = Size(fit=None if given.fit is None else given.fit[::-1])
    with Source(os.fspath(path)) as source:
        nets = networks(source, given.model, size, EngineOptions(AUTO, threads=given.threads))
        frames = []
        for frame in source.frames():
            if start <= frame.pts * source.time_base < start + given.seconds:
                frames.append(to_rgb(frame, source.shape.colour))
            elif frames:
                break
    images = [ImageData(pixels, None, Metadata(), (), "video", choice=nets.choice) for pixels in frames]
    nets.upscaler.whole(images[0])  # whatever is done once
    began, spent = time.perf_counter(), time.process_time()
    for image in images:
        made = nets.upscaler.whole(image)
        if nets.chain.resized:
            for _ in sized([(made, None)], image, nets.chain):
                pass
    return len(frames) / (time.perf_counter() - began), 1000 * (time.process_time() - spent) / len(frames)


def drawn(path: Path, frames: int, size: tuple[int, int] = (480, 848)) -> Path:
    """A recording of a screen, without loss."""
    page = np.full((*size, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    for line in range(20, size[0] - 30, 14):
        for word in range(20, size[1] - 60, 52):
            page[line : line + 8, word : word + random.integers(12, 46)] = random.integers(0, 90, 3)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            here = page.copy()
            left = 20 + 4 * (number // 3)
            here[-24:-8, left : left + 40] = (200, 40, 40)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(here, "rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
