"""Videos beside what people use on a CPU, on one clip in one run: frames a second, and a contact sheet.

    python bench/video_beside.py CLIP --ncnn-python PATH --weights FOLDER [--sheet sheet.png]

`lanczos` is `ffmpeg -vf scale` with that filter; `ncnn` is realesr-animevideov3 as it is run without a GPU: FFmpeg
writes frames to a disk, ncnn reads and writes them one by one on all cores, FFmpeg encodes them. The rest is
`sharpbit video`. All are twice as large, by SVT-AV1 of the same preset and quality, and each is a command whose start
counts. `--ncnn-python` names a Python with `ncnn`, `numpy` and `pillow`; ncnn gets fewer frames: it takes seconds for
each.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

ENCODER = ["-c:v", "libsvtav1", "-preset", "10", "-crf", "25", "-pix_fmt", "yuv420p"]
NCNN = """
import sys, pathlib, ncnn, numpy as np
from PIL import Image
net = ncnn.Net()
net.load_param(sys.argv[1] + ".param")
net.load_model(sys.argv[1] + ".bin")
for path in sorted(pathlib.Path(sys.argv[2]).glob("*.png")):
    pixels = np.array(Image.open(path).convert("RGB"))
    mat = ncnn.Mat.from_pixels(pixels, ncnn.Mat.PixelType.PIXEL_RGB, pixels.shape[1], pixels.shape[0])
    mat.substract_mean_normalize([], [1 / 255] * 3)
    extractor = net.create_extractor()
    extractor.input("data", mat)
    out = np.array(extractor.extract("output")[1]).transpose(1, 2, 0)
    pixels = np.clip(np.rint(out * 255), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(pathlib.Path(sys.argv[3]) / path.name, compress_level=1)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--ncnn-python")
    parser.add_argument("--weights", type=Path, help="The folder of realesr-animevideov3-x2.param and .bin.")
    parser.add_argument("--start", default="8")
    parser.add_argument("--frames", type=int, default=192)
    parser.add_argument("--ncnn-frames", type=int, default=8)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--crop", default="0.35,0.3", help="Where the crops of the sheet begin, in parts of a side.")
    given = parser.parse_args()
    sharpbit = [sys.executable, "-m", "sharpbit", "video", "--overwrite", "--quiet"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part = folder / "part.mkv"  # what all of them get, without loss
        width, height = cut(given.clip, part, given.start, given.frames)
        few = folder / "few.mkv"
        cut(given.clip, few, given.start, given.ncnn_frames)
        scale = f"scale={2 * width}:{2 * height}:flags=lanczos"
        commands = {
            "lanczos": [["ffmpeg", "-v", "error", "-i", part, "-vf", scale, *ENCODER, folder / "lanczos.mkv"]],
            "sharpbit fast": [[*sharpbit, part, "-n", "x2-photo-fast", "-o", folder / "sharpbit fast.mkv"]],
            "sharpbit": [[*sharpbit, part, "-o", folder / "sharpbit.mkv"]],
        }
        if given.ncnn_python and given.weights:
            (folder / "in").mkdir()
            (folder / "out").mkdir()
            model = given.weights / "realesr-animevideov3-x2"
            commands["ncnn"] = [
                ["ffmpeg", "-v", "error", "-i", few, folder / "in" / "%06d.png"],
                [given.ncnn_python, "-c", NCNN, model, folder / "in", folder / "out"],
                ["ffmpeg", "-v", "error", "-i", folder / "out" / "%06d.png", *ENCODER, folder / "ncnn.mkv"],
            ]
        print(f"{given.clip.name}: {width}x{height} -> {2 * width}x{2 * height}, load {os.getloadavg()[0]:.1f}")
        for method, steps in commands.items():
            frames = given.ncnn_frames if method == "ncnn" else given.frames
            began, spent = time.perf_counter(), children()
            for step in steps:
                subprocess.run(list(map(str, step)), check=True, env={**os.environ, "SVT_LOG": "1"})
            seconds, spent = time.perf_counter() - began, children() - spent
            print(
                f"  {method:<14}{frames / seconds:8.2f} frames/s, {1000 * spent / frames:8.1f} ms of the cores a frame,"
                f" {frames} frames",
                flush=True,
            )
        if given.sheet:
            at = tuple(float(value) for value in given.crop.split(","))
            sheet(part, [folder / f"{method}.mkv" for method in commands], given.ncnn_frames // 2, at, given.sheet)
            print(f"  {given.sheet}")


def cut(clip: Path, output: Path, start: str, frames: int) -> tuple[int, int]:
    """Some frames of a clip, without loss; their width and height."""
    command = ["ffmpeg", "-v", "error", "-ss", start, "-i", clip, "-an", "-frames:v", frames]
    subprocess.run([*map(str, command), "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", str(output)], check=True)
    with av.open(str(output)) as file:
        return file.streams.video[0].width, file.streams.video[0].height


def children() -> float:
    """The seconds of all cores that commands have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sheet(source: Path, results: list[Path], number: int, at: tuple[float, ...], output: Path, side: int = 360) -> None:
    """The same part of one frame of all of them, side by side; the source with its pixels twice as large."""
    tiles = []
    for path in (source, *results):
        with av.open(str(path)) as file:
            frame = next(frame for index, frame in enumerate(file.decode(video=0)) if index == number)
        pixels = frame.to_ndarray(format="rgb24")
        if path == source:
            pixels = pixels.repeat(2, 0).repeat(2, 1)
        left, top = (int(share * size) // 2 * 2 for share, size in zip(at, pixels.shape[1::-1], strict=True))
        tile = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
        draw = ImageDraw.Draw(tile)
        draw.rectangle((0, 0, side, 14), fill="black")
        draw.text((4, 2), "source" if path == source else path.stem, fill="white")
        tiles.append(tile)
    whole = Image.new("RGB", (side * len(tiles), side))
    for place, tile in enumerate(tiles):
        whole.paste(tile, (place * side, 0))
    whole.save(output)


if __name__ == "__main__":
    main()
