"""What each verb on the way from a network to a file that is deployed buys: recipes of verbs, each file measured.

python evidence/compose.py recipes/compose/*.toml --weights WEIGHTS --calibrate PHOTOS --data Set5 [Set14] -o OUT

A recipe names its steps in order. Each is a `sharpbit` command that writes one file; in it `{weights}` is the
published file, `{photos}` the folder of `--calibrate`, the name of a step its file, and `{out}` the file of its own
without the ending. Every number comes from the file of its step, through the engine that runs it. OUT gets the files,
`table.md` and `figure.svg`; `OUT/RECIPE.sharpbit` (or .onnx) is the last file with a receipt of all steps, which
`sharpbit verify` runs again. What was measured is kept, so that a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.app.cli import app
from sharpbit.image import read
from sharpbit.image.resize import shrink
from sharpbit.measure.upscaling import by
from sharpbit.modelfile.history import Receipt
from sharpbit.report.markdown import table
from sharpbit.report.scatter import Point, plot
from sharpbit.verbs.compression import images as data_of
from sharpbit.verbs.compression.images import HELD_OUT
from sharpbit.verbs.compression.measuring import Reference, measured, opened
from sharpbit.verbs.compression.receipts import all_versions, last_receipt, sha256_of, write_receipt
from sharpbit.verbs.compression.state import State
from sharpbit.verbs.inspect import inspect
from sharpbit.verbs.inspection import Inspection

ROUNDS = 3  # of times
WIDTHS = {"int8": 8, "float32": 32}  # bits of what is multiplied, where a file does not say it layer by layer
Row = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Steps from a network to a file.

    Attributes:
        name: name of the file of the recipe, without its ending.
        title: name of the network, for people.
        weights: the published file, below the folder of weights.
        size: height and width in pixels of the LR image that is timed, the corner of a photo.
        steps: commands by the name of their step, in order.
    """

    name: str
    title: str
    weights: str
    size: tuple[int, int]
    steps: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """The recipe in a file."""
        found = tomllib.loads(path.read_text())
        height, width = found["size"]
        return cls(path.stem, found["title"], found["weights"], (height, width), found["steps"])


def carry_out(recipe: Recipe, given: argparse.Namespace) -> list[Row]:
    """Carry out the steps that were not yet, and write the last file with its receipt; the rows of all steps."""
    source, folder = given.weights / recipe.weights, given.output / recipe.name
    names: dict[str, Path] = {"weights": source, "photos": given.calibrate}
    scale = inspect(source).scale
    assert scale is not None
    images = data_of.split(given.calibrate, given.data, scale)
    sets = [data_of.described(item, scale) for item in images.sets]
    state = State(folder, {"source": sha256_of(source), "sets": sets, "size": recipe.size, "threads": given.threads})
    reference, rows, path = None, [], source
    for step, command in recipe.steps.items():
        words = shlex.split(command)
        path = names[step] = folder / f"{step}{Path(words[-1]).suffix}"
        if state.tried.get(step, {}).get("command") != command:
            print(f"{recipe.name}: {command}", flush=True)
            started = time.monotonic()
            filled = [word.format(**names, out=path.with_suffix("")) for word in words]
            app.main([*filled, "--overwrite"], standalone_mode=False)
            if not path.is_file():
                sys.exit(f"{recipe.name}: the step {step} made no file")
            row = {"step": step, "command": command, "seconds": round(time.monotonic() - started, 1)}
            size = (recipe.size[0] * scale, recipe.size[1] * scale)
            row |= _costs(inspect(path, output_size=size))
            row |= measured(path, images, reference, recipe.size, given.threads).table()
            state.add(step, row, path)
        if reference is None:
            reference = Reference(path, images, given.threads)
        rows.append({key: value for key, value in state.tried[step].items() if key not in ("file", "sha256")})
    photo = read(images.held_out.large[0]).rgb8()[: recipe.size[0] * scale, : recipe.size[1] * scale]
    small = shrink(np.ascontiguousarray(photo), scale)
    for row, taken in zip(rows, seconds([names[step] for step in recipe.steps], small, given.threads), strict=True):
        row |= {"ms": round(1e3 * taken, 1), "size": small.shape[:2]}
    before = last_receipt(path)
    receipt = Receipt(
        by="compose",
        source={"name": source.name, "sha256": sha256_of(source)},
        calibrated={**({} if before is None else before.calibrated), "measured_on": sets, "apart": images.apart},
        steps=tuple(rows),
        chosen=path.stem,
        versions=all_versions(),
    )
    write_receipt(path, given.output / f"{recipe.name}{path.suffix}", receipt, overwrite=True)
    return rows


def seconds(paths: Sequence[Path], image: NDArray[np.uint8], threads: int) -> list[float]:
    """CPU time of the engine of each file for one image: the least of some rounds in turn."""
    upscalers = [by(opened(path, threads)) for path in paths]
    least = [math.inf] * len(paths)
    for _ in range(ROUNDS):
        for number, upscale in enumerate(upscalers):
            started = time.process_time()
            upscale(image)
            least[number] = min(least[number], time.process_time() - started)
    return least


def _costs(facts: Inspection) -> Row:
    """Parameters, and BitOPs of the image that is timed; of a pair at the share of the small network in calibration."""
    entry: Mapping[str, Any] = next((table for table in facts.history[::-1] if table.get("verb") == "pair"), {})
    share = float(entry.get("share") or 0)
    width = next((bits for name, bits in WIDTHS.items() if (facts.precision or "").startswith(name)), None)
    macs = (facts.macs or 0) * (1 - share) + (facts.small or {}).get("macs", 0) * share
    bitops = facts.bitops if facts.bitops is not None and not entry else None if width is None else macs * width**2
    parameters = facts.parameters + facts.small["parameters"] if facts.small else facts.parameters
    return {"parameters": parameters, "macs": macs, "bitops": bitops}


def printed(found: Sequence[tuple[Recipe, list[Row]]]) -> list[str]:
    """The lines of the table: a row a step."""
    sets = list(found[0][1][0]["psnr"])
    head = (
        "network",
        "step",
        "engine",
        *(f"{name}, dB" for name in sets),
        "parameters",
        "G BitOPs",
        "bytes",
        "CPU ms",
        "MiB",
    )
    rows = []
    for recipe, steps in found:
        for row in steps:
            engine = f"{row['engine'].removeprefix('sharpbit ').split()[0]}, {row['precision']}"
            bitops = "" if row["bitops"] is None else f"{row['bitops'] / 1e9:,.0f}"
            numbers = (
                f"{row['parameters']:,}",
                bitops,
                f"{row['bytes']:,}",
                f"{row['ms']:.1f}",
                f"{row['memory_mib']:.0f}",
            )
            rows.append((recipe.title, row["step"], engine, *(f"{row['psnr'][name]:.3f}" for name in sets), *numbers))
    return table(head, rows, "lll" + "r" * (len(sets) + 5))


def drawn(found: Sequence[tuple[Recipe, list[Row]]]) -> str:
    """Quality against time of every step, a panel a network."""
    panels = {}
    for recipe, steps in found:
        name = next((name for name in steps[0]["psnr"] if name != HELD_OUT), HELD_OUT)
        title = f"{recipe.title}: dB on {name} against CPU ms of {recipe.size[1]}x{recipe.size[0]}"
        panels[title] = [Point(row["step"], row["ms"], row["psnr"][name]) for row in steps]
    return plot(panels)


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out recipes, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, required=True, help="folder of published weights")
    parser.add_argument("--calibrate", type=Path, required=True, help="folder of photos")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="sets of test images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    found = [(recipe, carry_out(recipe, given)) for recipe in map(Recipe.read, given.recipes)]
    lines = printed(found)
    (given.output / "table.md").write_text("\n".join(lines) + "\n")
    (given.output / "figure.svg").write_text(drawn(found))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
