"""Measure models on real images: one table and contact sheets.

    python evidence/real/run.py --scale 2 --photos Set14/HR --photos PHOTOS2K --weights WEIGHTS --out OUT MODEL...

MODEL is an embedded name or a file, also as NAME=FILE. `--weights` is a folder with `etds` and `real`, the published
networks to compare with; without it these are left out. The table holds means over each kind of image: PSNR (Y, border
= scale), SSIM, GMSD (gradient magnitude similarity deviation of Xue et al., 2014; less is better), with `--fit PHOTOS`
NIQE (`niqe.py`; less is better); and the flatness errors.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import cases
import methods
import numpy as np
from niqe import fitted, niqe
from PIL import Image, ImageDraw

from sharpbit.measure.flatness import flatness
from sharpbit.measure.psnr import luma, psnr
from sharpbit.measure.ssim import ssim

DETAIL = 96  # side of a detail on a sheet, in large pixels; shown at 200 %


def gmsd(image: np.ndarray, truth: np.ndarray) -> float:
    """Gradient magnitude similarity deviation of two images, on their luma averaged over 2x2."""
    maps = []
    for picture in (image, truth):
        y = luma(picture)
        y = y[: y.shape[0] // 2 * 2, : y.shape[1] // 2 * 2].reshape(y.shape[0] // 2, 2, y.shape[1] // 2, 2).mean((1, 3))
        rows, columns = y[:-2] + y[1:-1] + y[2:], y[:, :-2] + y[:, 1:-1] + y[:, 2:]
        maps.append(np.hypot(rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]) / 3)
    similarity = (2 * maps[0] * maps[1] + 170) / (maps[0] ** 2 + maps[1] ** 2 + 170)
    return float(similarity.std())


def detailed(image: np.ndarray, scale: int) -> tuple[int, int]:
    """The corner of the detail in which neighbouring pixels differ most."""
    values = image.astype(np.float32).mean(2)
    corners = [
        (y, x)
        for y in range(0, image.shape[0] - DETAIL, DETAIL // 2 // scale * scale)
        for x in range(0, image.shape[1] - DETAIL, DETAIL // 2 // scale * scale)
    ]
    parts = {corner: values[corner[0] : corner[0] + DETAIL, corner[1] : corner[1] + DETAIL] for corner in corners}
    return max(parts, key=lambda corner: float(np.abs(np.diff(parts[corner])).mean()))


def sheet(path: Path, case: cases.Case, results: dict[str, np.ndarray]) -> None:
    """One row of details: the small image, what each method makes of it, and the truth."""
    scale = case.large.shape[0] // case.small.shape[0]
    top, left = detailed(case.large, scale)
    shown = {"input": case.small.repeat(scale, 0).repeat(scale, 1), **results, "truth": case.large}
    image = Image.new("RGB", (len(shown) * (2 * DETAIL + 4), 2 * DETAIL + 14), "white")
    for number, (name, pixels) in enumerate(shown.items()):
        detail = Image.fromarray(np.ascontiguousarray(pixels[top : top + DETAIL, left : left + DETAIL]))
        x = number * (2 * DETAIL + 4)
        image.paste(detail.resize((2 * DETAIL, 2 * DETAIL), Image.Resampling.NEAREST), (x, 14))
        ImageDraw.Draw(image).text((x + 2, 1), name[:34], fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--photos", type=Path, action="append", default=[])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--fit", type=Path, help="pristine photos, for NIQE")
    parser.add_argument("--limit", type=int, default=14, help="photos of each folder")
    parser.add_argument("--side", type=int, default=720, help="of a photo, cut from its middle")
    parser.add_argument("--sheets", type=int, default=2, help="sheets of each kind")
    parser.add_argument("--skip", action="append", default=[], help="a standard method to leave out")
    parser.add_argument("--no-flat", action="store_true", help="do not measure flatness")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    upscalers = {k: v for k, v in methods.standard(args.scale, args.weights).items() if k not in args.skip}
    for name in args.models:
        label, _, path = name.rpartition("=")
        upscalers[label or Path(path).stem] = methods.model(path, args.scale)
    pristine = fitted(args.fit) if args.fit else None
    scores: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    shown: dict[str, int] = defaultdict(int)
    spent: dict[str, float] = defaultdict(float)
    kinds: list[str] = []
    every = [*(case for folder in args.photos for case in cases.photos(folder, args.scale, args.limit, args.side))]
    for case in (*every, *cases.drawn(args.scale)):
        results = {}
        for name, upscale in upscalers.items():
            start = time.perf_counter()
            results[name] = made = upscale(case.small)
            spent[name] += time.perf_counter() - start
            value = min(psnr(made, case.large, border=args.scale), 99.0)
            row = (value, ssim(made, case.large, border=args.scale), gmsd(made, case.large))
            row += (niqe(made, pristine),) if pristine else ()
            scores[case.kind, name].append(row)
        if case.kind not in kinds:
            kinds.append(case.kind)
        if shown[case.kind] < args.sheets:
            shown[case.kind] += 1
            sheet(args.out / "sheets" / f"{case.kind.replace(' ', '-')}-{case.name}.png", case, results)
    lines = ["| x" + str(args.scale) + " | " + " | ".join(kinds) + " | inside | border | white | s |"]
    lines.append("|---" * (len(kinds) + 5) + "|")
    for name, upscale in upscalers.items():
        cells = []
        for kind in kinds:
            mean = np.mean(scores[kind, name], 0)
            cells.append(f"{mean[0]:.2f} / {mean[1]:.4f} / {mean[2]:.4f}" + "".join(f" / {m:.1f}" for m in mean[3:]))
        flat = None if args.no_flat or "realesr" in name else flatness(upscale)
        cells += [str(flat.inside), str(flat.border), str(flat.white)] if flat else ["-"] * 3
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {spent[name]:.1f} |")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"table-x{args.scale}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
