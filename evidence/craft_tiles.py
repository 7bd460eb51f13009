"""How far the result of a network that sees everything depends on tiles: against the whole image, in one run.

    python evidence/craft_tiles.py --weights craft_x4.pth --data BENCHMARKS [--sets Set5] [--tiles 64 128] [--halos 16]

For each size of tile and halo: PSNR (as in the tables) of whole and of tiled images, the largest difference of a
value in grey levels, and the mean. Images that are one tile are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sharpbit.measure import psnr
from sharpbit.measure.benchmarks import find
from sharpbit.pipeline import tiles
from sharpbit.runtime import RUNTIMES, Tensor, available_cpus


def tiled(run: object, x: Tensor, scale: int, tile: int, halo: int) -> Tensor:
    """`x` in tiles, put together as `sharpbit upscale` does it."""
    strips = []
    for row in tiles.rows(*x.shape[:2], tile, halo):
        outs = run([piece.cut(x) for piece in row])  # type: ignore[operator]
        strips.append(np.concatenate([piece.trim(out, scale) for piece, out in zip(row, outs, strict=True)], 1))
    return np.concatenate(strips)


def levels(x: Tensor) -> np.ndarray:
    return np.rint(x.clip(0, 1) * 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path, help="folder of the benchmarks")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14"])
    parser.add_argument("--tiles", nargs="*", type=int, default=[64, 128, 256])
    parser.add_argument("--halos", nargs="*", type=int, default=[16, 32])
    parser.add_argument("--threads", type=int, default=available_cpus())
    given = parser.parse_args()
    name = "torch" if given.weights.suffix in (".pth", ".safetensors") else "onnx"
    runtime = RUNTIMES[name](given.weights, threads=given.threads)
    scale = runtime.scale
    print(f"{given.weights.name} x{scale}, {runtime.engine}; the images that have more than one tile, of all\n")
    print("| set | tile | halo | cut | PSNR whole | PSNR tiled | largest difference, levels | mean |")
    print("|---|---|---|---|---|---|---|---|")
    for entry in given.sets:
        (benchmark,) = find(given.data / entry)
        cases = {(tile, halo): [] for tile in given.tiles for halo in given.halos}  # type: ignore[var-annotated]
        for path in benchmark.large:
            small, large = benchmark.pair(path, scale)
            x = small.astype(np.float32) / np.float32(255)
            whole = levels(next(iter(runtime([x]))))
            for (tile, halo), rows in cases.items():
                if max(x.shape[:2]) <= tile:
                    continue
                cut = levels(tiled(runtime, x, scale, tile, halo))
                apart = np.abs(cut.astype(int) - whole)
                values = [psnr.of_values(*psnr.compared(out, large, scale, "y")) for out in (whole, cut)]
                rows.append((*values, apart.max(), apart.mean()))
        for (tile, halo), rows in cases.items():
            if not rows:
                continue
            before, after, largest, mean = zip(*rows, strict=True)
            drop = np.mean(after) - np.mean(before)
            print(
                f"| {benchmark.name} | {tile} | {halo} | {len(rows)} of {len(benchmark.large)} | {np.mean(before):.3f} "
                f"| {np.mean(after):.3f} ({drop:+.3f}) | {max(largest)} | {np.mean(mean):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
