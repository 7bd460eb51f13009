"""PAMS, DDTB, CADyQ and CABM on a small SRResNet: train, measure, one table, and whether what papers say holds in it.

    python evidence/qat.py --data IMAGES --benchmarks BENCHMARKS               all rows with the first seed
    python evidence/qat.py ... --seeds 11 12 --rows pams8-again cadyq            some rows with further seeds
    python evidence/qat.py ... --measure                                         only what was trained already
    python evidence/qat.py ... --measure --keep research                         and keep small files of some

IMAGES is a folder of images to train on, at any depth; BENCHMARKS/Set5/HR/*.png and so on are the benchmarks. The
rows are the recipes of `recipes/evidence`. What other rows begin with, the float network and PAMS at 8 bits, is trained
with the first seed alone. Run again, it goes on from the last checkpoint, and measures again only what has changed. The
table has all that lies in RUNS: `evidence.md`, `evidence.csv` and `evidence.json` are written there. Prints the
Markdown; ends with 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import platform
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import sharpbit
from sharpbit import model as models
from sharpbit import recipe
from sharpbit.data.pairs import Pairs
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.system.atomic import open_atomic
from sharpbit.verbs.evaluate import evaluate

RECIPES = Path(__file__).parents[1] / "recipes" / "evidence"
FLOAT = "float"
ORDER = (
    *(FLOAT, "pams8", "pams4", "pams3", "pams2", "ddtb8", "ddtb4", "ddtb3", "ddtb2"),
    *("pams8-again", "cadyq-light", "cadyq", "cabm"),
)
SHARED = (FLOAT, "pams8")  # by all seeds
SEED = 10
PATCH, STEP = 48, 42  # small pixels; neighbours share 6 of them, as published
KEPT = (FLOAT, "pams8", "pams4", "ddtb8", "ddtb4", "ddtb2", "cadyq-light", "cadyq")  # of the first seed, for later work
SAME = 0.05  # dB, within which two PSNRs are called equal
SEEDS = 3  # that a smaller difference needs before it counts
Set = dict[str, float | None]


@dataclass(frozen=True)
class Row:
    """A trained network and what was measured of it.

    Attributes:
        name: as in `ORDER`.
        seed: of its training.
        weight: bits of weights.
        act: bits of activations, or those to choose from.
        steps: of training.
        minutes: that these took: of a hundred steps in the middle, times their number; None of too few.
        image: by the name of the set, numbers of whole images: `psnr` in dB, `fqr` in bits, `published` and `bitops`
            in 1e9 for an image.
        patch: the same of images upscaled patch by patch.
        weights: SHA-256 of the file.
    """

    name: str
    seed: int
    weight: str
    act: str
    steps: int
    minutes: float | None
    image: dict[str, Set]
    patch: dict[str, Set]
    weights: str


@dataclass(frozen=True)
class Claim:
    """A statement of the papers, held against the rows.

    Attributes:
        text: what is said.
        differences: in dB by set, one for each seed that both rows have.
        verdict: in words.
        holds: None where it cannot be said.
    """

    text: str
    differences: dict[str, list[float]]
    verdict: str
    holds: bool | None


def path_of(name: str) -> Path:
    """The recipe of a row."""
    return RECIPES / ("small-x2.toml" if name == FLOAT else f"small-{name}-x2.toml")


def folder_of(name: str, seed: int, runs: Path) -> Path:
    """Where its results lie."""
    return runs / f"seed-{seed}" / path_of(name).stem


def train(names: Sequence[str], seeds: Sequence[int], pairs: Pairs, runs: Path, *, quiet: bool = False) -> None:
    """Train what is not there yet, in the order in which one begins with the other."""
    for seed in seeds:
        for name in (name for name in ORDER if name in names):
            folder = folder_of(name, seed, runs)
            if (folder / "trained.safetensors").exists():
                continue
            if name in SHARED and seed != SEED:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder_of(name, SEED, runs) / "trained.safetensors", folder)
                continue
            recipe.run(path_of(name), data=pairs, out=folder, seed=seed, quiet=quiet)


def measure(runs: Path, sets: Sequence[Benchmark], threads: int | None = None) -> list[Row]:
    """All rows of which there are weights; numbers of weights that were measured before are taken from `row.json`."""
    rows = []
    for folder in sorted(runs.glob("seed-*"), key=lambda folder: int(folder.name.removeprefix("seed-"))):
        seed = int(folder.name.removeprefix("seed-"))
        for name in ORDER:
            path = folder_of(name, seed, runs) / "trained.safetensors"
            if path.exists() and (name not in SHARED or seed == SEED):
                rows.append(_measured(name, seed, path, sets, threads))
    return sorted(rows, key=lambda row: (ORDER.index(row.name), row.seed))


def _measured(name: str, seed: int, path: Path, sets: Sequence[Benchmark], threads: int | None) -> Row:
    weights, kept = hashlib.sha256(path.read_bytes()).hexdigest(), path.with_name("row.json")
    if kept.exists():
        row = Row(**json.loads(kept.read_text()))
        if row.weights == weights and list(row.image) == [item.name for item in sets]:
            return row
    print(f"measuring {name}, seed {seed}", file=sys.stderr)
    steps = {step.verb: step.settings for step in recipe.read(path_of(name)).step}
    bits = steps.get("fake_quantize", {"weight": 32, "act": 32})
    act = "/".join(map(str, bits["act"])) if isinstance(bits["act"], list) else str(bits["act"])
    image, patch = (_numbers(path, sets, threads, side) for side in (None, PATCH))
    taken = steps["train"]["steps"]
    row = Row(name, seed, str(bits["weight"]), act, taken, minutes(path, taken), image, patch, weights)
    with open_atomic(kept, overwrite=True) as file:
        file.write(json.dumps(asdict(row)).encode())
    return row


def _numbers(path: Path, sets: Sequence[Benchmark], threads: int | None, side: int | None) -> dict[str, Set]:
    result = evaluate(path, sets, threads=threads, engine="torch", patch=side, step=STEP if side else None)
    found: dict[str, Set] = {}
    for score in result.sets:
        cost = score.cost
        found[score.name] = {
            "psnr": score.psnr,
            "fqr": cost.fqr if cost else None,
            "published": cost.published / 1e9 if cost and cost.published else None,
            "bitops": cost.bitops / 1e9 if cost else None,
        }
    return found


def minutes(path: Path, steps: int) -> float | None:
    """From the times in the log, of which an interruption or a busy hour is no part."""
    lines = [json.loads(line) for line in path.with_name("log.jsonl").read_text().splitlines()]
    later = ((a, b) for a, b in pairwise(lines) if b["step"] > a["step"])
    rates = [(b["time"] - a["time"]) / (b["step"] - a["step"]) for a, b in later]
    return statistics.median(rates) * steps / 60 if rates else None


def claims(rows: Sequence[Row]) -> list[Claim]:
    """What the papers say, of the rows that are there."""
    return [
        _claim(rows, "DDTB is not worse than PAMS at 4 bits", "ddtb4", "pams4", least=0.0),
        _claim(rows, "DDTB is better than PAMS at 2 bits", "ddtb2", "pams2", least=0.01),
        _saving(rows, "cadyq-light"),
        _saving(rows, "cadyq"),
    ]


def _claim(rows: Sequence[Row], text: str, one: str, other: str, *, least: float) -> Claim:
    """That `one` has `least` dB more on every set, in whole images."""
    differences = _differences(rows, one, other, "image")
    if not differences:
        return Claim(text, differences, "not trained", None)
    means = {name: round(statistics.mean(values), 2) for name, values in differences.items()}
    seeds = min(len(values) for values in differences.values())
    if seeds < SEEDS and any(abs(mean) < SAME for mean in means.values()):
        return Claim(
            text, differences, f"cannot be said: less than {SAME} dB apart, with {seeds} of {SEEDS} seeds", None
        )
    holds = all(mean >= least for mean in means.values())
    return Claim(text, differences, "holds" if holds else "does not hold", holds)


def _saving(rows: Sequence[Row], name: str) -> Claim:
    """That CADyQ needs fewer BitOPs than 8 bits at the same PSNR, both patch by patch and trained for as long."""
    text = f"CADyQ ({name}) needs fewer BitOPs than 8 bits (pams8-again), at a PSNR within {SAME} dB"
    differences = _differences(rows, name, "pams8-again", "patch")
    if not differences:
        return Claim(text, differences, "not trained", None)
    means = [statistics.mean(values) for values in differences.values()]
    ratios = {
        rule: statistics.mean(
            float(a.patch[data][rule] or 0) / float(b.patch[data][rule] or 1)
            for a, b in _pairs(rows, name, "pams8-again")
            for data in differences
        )
        for rule in ("published", "bitops")
    }
    cost = f"{100 * ratios['published']:.0f} % of the BitOPs as published, {100 * ratios['bitops']:.1f} % of all"
    seeds = min(len(values) for values in differences.values())
    if seeds < SEEDS and all(abs(mean) <= 2 * SAME for mean in means):
        return Claim(text, differences, f"cannot be said with {seeds} of {SEEDS} seeds; {cost}", None)
    same, fewer = all(abs(mean) <= SAME for mean in means), all(ratio < 1 for ratio in ratios.values())
    verdict = "holds" if same and fewer else "does not hold"
    return Claim(text, differences, f"{verdict}; {cost}", same and fewer)


def _pairs(rows: Sequence[Row], one: str, other: str) -> list[tuple[Row, Row]]:
    named = {(row.name, row.seed): row for row in rows}
    return [(row, named[other, row.seed]) for row in rows if row.name == one and (other, row.seed) in named]


def _differences(rows: Sequence[Row], one: str, other: str, way: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for a, b in _pairs(rows, one, other):
        for name, numbers in getattr(a, way).items():
            found.setdefault(name, []).append(numbers["psnr"] - getattr(b, way)[name]["psnr"])
    return found


def markdown(rows: Sequence[Row], found: Sequence[Claim]) -> str:
    """Both tables; costs are those of the last set, the largest."""
    sets = list(rows[0].image) if rows else []
    columns = [
        *sets,
        *(f"{name}, patches" for name in sets),
        "FQR",
        "BitOPs as published, G",
        "BitOPs of all layers, G",
    ]
    lines = [
        f"| method | weights | activations | seed | {' | '.join(columns)} | minutes |",
        f"|---|---|---|---|{'---|' * len(columns)}---|",
    ]
    for row in rows:
        psnrs = [f"{numbers['psnr']:.2f}" for way in (row.image, row.patch) for numbers in way.values()]
        cost = row.patch[sets[-1]]
        costs = [_text(cost[key], digits) for key, digits in (("fqr", 2), ("published", 3), ("bitops", 1))]
        cells = [row.name, row.weight, row.act, str(row.seed), *psnrs, *costs, _text(row.minutes, 1)]
        lines.append(f"| {' | '.join(cells)} |")
    notes = (
        f"PSNR of Y in dB. In patches: {PATCH} small pixels, one every {STEP}. FQR and BitOPs: of an image of"
        f" {sets[-1] if sets else 'the last set'}, in patches. Minutes: of training. {machine()}."
    )
    lines += ["", notes, "", f"| claim | {' | '.join(sets)} | seeds | |", f"|---|{'---|' * len(sets)}---|---|"]
    for claim in found:
        cells = [spread(claim.differences.get(name, [])) for name in sets]
        count = min((len(values) for values in claim.differences.values()), default=0)
        lines.append(f"| {claim.text} | {' | '.join(cells)} | {count} | {claim.verdict} |")
    return "\n".join([*lines, "", "Differences in dB: mean over seeds, and from the least to the largest.", ""])


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.mean(values):+.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):+.3f} to {max(values):+.3f})"


def flat(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One record for each row, set and way, for machines."""
    return [
        {"method": row.name, "weight": row.weight, "act": row.act, "seed": row.seed, "set": name, "way": way, **numbers}
        for row in rows
        for way in ("image", "patch")
        for name, numbers in getattr(row, way).items()
    ]


def keep(runs: Path, folder: Path) -> None:
    """Write some of the trained networks, their kernels in 16 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        path = folder_of(name, SEED, runs) / "trained.safetensors"
        if path.exists():
            target = folder / f"{path.parent.name}.safetensors"
            models.save(models.load(path), target, overwrite=True, half=True)


def machine() -> str:
    """What this runs on."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    threads = f"{torch.get_num_threads()} of {len(names)} threads"
    return f"{name}, {threads}, PyTorch {torch.__version__}, sharpbit {sharpbit.__version__}"


def write(rows: Sequence[Row], found: Sequence[Claim], folder: Path) -> str:
    """The three files; returns the Markdown."""
    text, table, records = markdown(rows, found), io.StringIO(), flat(rows)
    writer = csv.DictWriter(table, list(records[0]) if records else [])
    writer.writeheader()
    writer.writerows(records)
    whole = {"machine": machine(), "rows": [asdict(row) for row in rows], "claims": [asdict(one) for one in found]}
    for ending, content in (("md", text), ("csv", table.getvalue()), ("json", json.dumps(whole, indent=1))):
        with open_atomic(folder / f"evidence.{ending}", overwrite=True) as file:
            file.write(content.encode())
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of images to train on")
    parser.add_argument("--benchmarks", required=True, type=Path, help="folder of the benchmarks")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "evidence")
    parser.add_argument("--seeds", nargs="+", type=int, default=[SEED])
    parser.add_argument("--rows", nargs="+", choices=ORDER, default=ORDER, metavar="ROW")
    parser.add_argument("--threads", type=int, help="threads that work; all by default")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write small files of some networks there")
    parser.add_argument("--measure", action="store_true", help="train nothing")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if not given.measure:
        if given.data is None:
            parser.error("give the folder of the images to train on with --data, or train nothing with --measure")
        train([*SHARED, *given.rows], given.seeds, Pairs.from_folder(given.data, 2), given.runs)
    rows = measure(given.runs, find(given.benchmarks), given.threads)
    if not rows:
        parser.error(f"{given.runs} holds no trained networks; leave out --measure")
    if given.keep:
        keep(given.runs, given.keep)
    found = claims(rows)
    print(write(rows, found, given.runs))
    return 1 if any(claim.holds is False for claim in found) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except sharpbit.errors.SharpbitError as error:
        sys.exit(f"evidence: {error}")
