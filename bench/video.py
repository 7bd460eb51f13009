"""Video against the network alone, in one run: decode, network and encode together, and what reuse saves.

    python bench/video.py CLIP [--model x2-photo-fast] [--fit 1920x1080] [--seconds 2] [--ffmpeg]

Each figure is the most of so many rounds, which take turns. `network` is the model on the decoded frames, one after the
other, and nothing else; `video` is what the command does, and `without reuse` the same where no part of a frame is
taken from the one before. `screen` is a recording that is drawn here: a page on which a small rectangle moves in every
third frame.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import sharpbit
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
    parser.add_argument("--model", default="x2-photo-fast")
    parser.add_argument("--fit")
    parser.add_argument("--encoder", default="av1")
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--seconds", type=Fraction, default=Fraction(2))
    parser.add_argument("--start", type=Fraction, default=Fraction(8))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ffmpeg", action="store_true", help="Also ffmpeg -vf scale with lanczos and SVT-AV1.")
    given = parser.parse_args()
    fit = None if given.fit is None else tuple(int(side) for side in given.fit.split("x"))
    options = dict(option.split("=") for option in given.option)
    with tempfile.TemporaryDirectory() as folder:
        screen = drawn(Path(folder) / "screen.mkv")
        films = {given.clip.name: (given.clip, given.start), "screen": (screen, Fraction(0))}
        for name, (path, start) in films.items():
            best = {
                "network": 0.0,
                "video": 0.0,
                "without reuse": 0.0,
                **({"ffmpeg lanczos": 0.0} if given.ffmpeg else {}),
            }
            reused = 0.0
            for _ in range(given.rounds):
                best["network"] = max(best["network"], alone(path, given.model, fit, start, given.seconds))
                for key in ("without reuse", "video"):
                    with nothing_reused() if key == "without reuse" else contextlib.nullcontext():
                        report = sharpbit.upscale_video(
                            path,
                            Path(folder) / "out.mkv",
                            model=given.model,
                            fit=fit,
                            encoder=given.encoder,
                            options=options,
                            start=start,
                            end=start + given.seconds,
                            overwrite=True,
                        )
                    best[key] = max(best[key], report.fps)
                reused = report.reused
                if given.ffmpeg:
                    best["ffmpeg lanczos"] = max(best["ffmpeg lanczos"], lanczos(path, report, start, given, folder))
            with Source(os.fspath(path), decode=False) as source:
                rate = float(source.rate)
            size = f"{report.size[1]}x{report.size[0]} -> {report.result_size[1]}x{report.result_size[0]}"
            print(f"{name}: {size}, {rate:.3g} frames/s are real time, load {os.getloadavg()[0]:.1f}")
            for key, value in best.items():
                print(f"  {key:<16}{value:7.2f} frames/s  {value / best['network']:6.2f} of the network alone")
            print(f"  reused {reused:.1%}")


@contextlib.contextmanager
def nothing_reused():
    own = Making._restart
    Making._restart = lambda self, waiting: lambda: True
    try:
        yield
    finally:
        Making._restart = own


def alone(path: Path, model: str, fit: tuple[int, int] | None, start: Fraction, seconds: Fraction) -> float:
    """Frames of a second that the network makes, with the resizing to the size that was asked for."""
    size = Size(fit=None if fit is None else (fit[1], fit[0]))
    with Source(os.fspath(path)) as source:
        nets = networks(source, model, size, EngineOptions(AUTO))
        frames = []
        for frame in source.frames():
            if start <= frame.pts * source.time_base < start + seconds:
                frames.append(to_rgb(frame, source.shape.colour))
            elif frames:
                break
    began = time.perf_counter()
    for pixels in frames:
        image = sharpbit.image.ImageData(pixels, None, sharpbit.image.Metadata(), (), "video", choice=nets.choice)
        made = nets.upscaler.whole(image)
        if nets.chain.resized:
            for _ in sized([(made, None)], image, nets.chain):
                pass
    return len(frames) / (time.perf_counter() - began)


def lanczos(path: Path, report: object, start: Fraction, given: argparse.Namespace, folder: str) -> float:
    """Frames of a second that FFmpeg makes with its best ordinary filter and the same encoder."""
    height, width = report.result_size
    output = str(Path(folder) / "ffmpeg.mkv")
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-ss",
        str(float(start)),
        "-t",
        str(float(given.seconds)),
        "-i",
        str(path),
    ]
    command += [
        "-an",
        "-vf",
        f"scale={width}:{height}:flags=lanczos",
        "-c:v",
        "libsvtav1",
        "-preset",
        "8",
        "-crf",
        "25",
    ]
    began = time.perf_counter()
    subprocess.run([*command, output], check=True, env={**os.environ, "SVT_LOG": "1"})
    return report.frames / (time.perf_counter() - began)


def drawn(path: Path, size: tuple[int, int] = (480, 848), frames: int = 96) -> Path:
    """A recording of a screen."""
    page = np.full((*size, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    for line in range(20, size[0] - 30, 14):
        for word in range(20, size[1] - 60, 52):
            page[line : line + 8, word : word + random.integers(12, 46)] = random.integers(0, 90, 3)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=24)
        stream.height, stream.width, stream.pix_fmt = *size, "bgr0"
        for number in range(frames):
            here = page.copy()
            left = 20 + 4 * (number // 3)
            here[-24:-8, left : left + 40] = (200, 40, 40)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(here, "rgb24").reformat(format="bgr0")))
        out.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
