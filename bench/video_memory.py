"""The most memory that a long video takes, as its frames are made, and whether one was lost or doubled.

    python bench/video_memory.py [CLIP] [--every 1000] [--model x2-photo-fast]

Without a clip one of 10,000 frames of 64x48 is made.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import av
import numpy as np

import sharpbit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--every", type=int, default=1000)
    parser.add_argument("--model", default="x2-photo-fast")
    given = parser.parse_args()
    done = 0

    def progress(frames: float) -> None:
        nonlocal done
        done += int(frames)
        if done and done % given.every == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000  # kB on Linux
            print(f"{done:>6} frames: at most {peak} MB", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        clip, output = given.clip or drawn(Path(folder) / "a.mp4"), Path(folder) / "b.mp4"
        sharpbit.upscale_video(clip, output, model=given.model, progress=progress)
        before, after = times(clip), times(output)
        print(f"{len(before)} frames became {len(after)}, their times {'the same' if before == after else 'OTHERS'}")


def drawn(path: Path, frames: int = 10_000) -> Path:
    """A long video of small frames, each of which differs from the one before."""
    y, x = np.mgrid[:48, :64]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            blue = np.where((x + 2 * number) % 64 < 20, 200, 40)
            waves = [128 + 90 * np.sin((x + number) / 9), 128 + 90 * np.cos((y + number) / 7), blue]
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.stack(waves, -1).astype(np.uint8), "rgb24")))
        out.mux(stream.encode(None))
    return path


def times(path: Path) -> list[object]:
    """When each frame of a video is shown, in seconds."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


if __name__ == "__main__":
    main()
