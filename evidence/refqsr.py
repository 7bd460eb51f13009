"""RefQSR on a small SRResNet: 8 and 4 bits in two passes against 8 and 4 bits everywhere, and without what is its own.

    python evidence/refqsr.py --data IMAGES --sets BENCHMARKS/Set14 BENCHMARKS/BSD100 PHOTOS2K
    python evidence/refqsr.py ... --seeds 10 11 12                   with further seeds
    python evidence/refqsr.py --sets ... --measure                   only what was trained already

IMAGES is a folder of images to train on, at any depth. The rows are the recipes of `recipes/evidence/refqsr`; they
begin with DDTB at 8 bits and have the float network as their teacher, both trained with the first seed alone by recipes
of `recipes/evidence`, or taken from RUNS where `evidence/qat.py` left them. Run again, it goes on from the last
checkpoint. Prints the table and what holds in it; ends with 1 if RefQSR is not better than 4 bits everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from qat import RECIPES, SAME, SEED, SEEDS, machine, minutes, spread

from sharpbit import recipe
from sharpbit.data.pairs import Pairs
from sharpbit.errors import SharpbitError
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.measure.patchwise import Cost
from sharpbit.system.atomic import open_atomic
from sharpbit.verbs.evaluate import evaluate

SHARED = ("small-x2", "small-ddtb8-x2")  # by all rows and seeds
ROWS = {  # row: recipe
    "8 bits": "small-ddtb8-again-x2",
    "4 bits": "small-ddtb4-again-x2",
    "4 bits, gates kept": "small-ddtb4-kept-x2",
    "RefQSR 8-4": "small-refqsr-x2",
    "RefQSR 8-4 without RefER": "small-refqsr-no-refer-x2",
    "RefQSR 8-4, few bits in place of the RefER": "small-refqsr-low-x2",
    "RefQSR 8-4, own reference": "small-refqsr-self-x2",
}
PATCH, STEP = 48, 42  # small pixels; neighbours share 6 of them, as published
CLAIMS = (
    ("RefQSR 8-4", "4 bits", "RefQSR is better than 4 bits everywhere"),
    ("RefQSR 8-4", "4 bits, gates kept", "the same, of 4 bits with the gates of 8"),
    ("RefQSR 8-4", "8 bits", "RefQSR keeps what 8 bits everywhere give"),
    ("RefQSR 8-4", "RefQSR 8-4 without RefER", "RefERs help"),
    ("RefQSR 8-4", "RefQSR 8-4, own reference", "it is the reference that helps"),
)


@dataclass(frozen=True)
class Row:
    """A trained network, and what was measured of it patch by patch.

    Attributes:
        name: as in `ROWS`.
        seed: of its training.
        psnr: dB by set.
        fqr: mean bits of activations by set.
        bitops: in 1e9 for an image, as published, by set.
        queries: share of the pixels in queries by set; 0 where there is one pass.
        minutes: of training.
        weights: SHA-256 of the file.
    """

    name: str
    seed: int
    psnr: dict[str, float]
    fqr: dict[str, float]
    bitops: dict[str, float]
    queries: dict[str, float]
    minutes: float | None
    weights: str


def train(seeds: Sequence[int], pairs: Pairs, runs: Path, *, quiet: bool = False) -> None:
    """Train what is not there yet."""
    first = runs / f"seed-{SEED}"
    for name in SHARED:
        if not (first / name / "trained.safetensors").exists():
            recipe.run(RECIPES / f"{name}.toml", data=pairs, out=first / name, seed=SEED, quiet=quiet)
    for seed in seeds:
        folder = runs / f"seed-{seed}"
        for name in SHARED:
            target = folder / name / "trained.safetensors"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((first / name / "trained.safetensors").read_bytes())
        for name in ROWS.values():
            if not (folder / name / "trained.safetensors").exists():
                recipe.run(RECIPES / "refqsr" / f"{name}.toml", data=pairs, out=folder / name, seed=seed, quiet=quiet)


def measure(runs: Path, sets: Sequence[Benchmark], threads: int | None = None) -> list[Row]:
    """All rows of which there are weights; numbers of weights that were measured before are taken from `row.json`."""
    rows = []
    for name, file in ROWS.items():
        for folder in sorted(runs.glob("seed-*"), key=lambda folder: int(folder.name.removeprefix("seed-"))):
            path = folder / file / "trained.safetensors"
            if path.exists():
                rows.append(_measured(name, int(folder.name.removeprefix("seed-")), path, sets, threads))
    return rows


def _measured(name: str, seed: int, path: Path, sets: Sequence[Benchmark], threads: int | None) -> Row:
    weights, kept = hashlib.sha256(path.read_bytes()).hexdigest(), path.with_name("row.json")
    if kept.exists():
        row = Row(**json.loads(kept.read_text()))
        if row.weights == weights and list(row.psnr) == [item.name for item in sets]:
            return row
    print(f"measuring {name}, seed {seed}", file=sys.stderr)
    steps = {step.verb: step.settings for step in recipe.read(RECIPES / "refqsr" / f"{ROWS[name]}.toml").step}
    result = evaluate(path, sets, threads=threads, engine="torch", patch=PATCH, step=STEP)
    costs = [_told(score.cost) for score in result.sets]
    names = [item.name for item in sets]
    fqr, bitops, queries = (dict(zip(names, column, strict=True)) for column in zip(*costs, strict=True))
    psnr = {score.name: score.psnr for score in result.sets}
    row = Row(name, seed, psnr, fqr, bitops, queries, minutes(path, steps["train"]["steps"]), weights)
    with open_atomic(kept, overwrite=True) as file:
        file.write(json.dumps(asdict(row)).encode())
    return row


def _told(cost: Cost | None) -> tuple[float, float, float]:
    """FQR, BitOPs in 1e9 and the share of queries, means over the images of a set, as they were counted."""
    assert cost is not None
    assert cost.fqr is not None
    assert cost.published is not None
    return cost.fqr, cost.published / 1e9, cost.queries or 0.0


def differences(rows: Sequence[Row], one: str, other: str) -> dict[str, list[float]]:
    """In dB by set, one for each seed that both have."""
    named = {(row.name, row.seed): row for row in rows}
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.name == one and (other, row.seed) in named:
            for name, psnr in row.psnr.items():
                found.setdefault(name, []).append(psnr - named[other, row.seed].psnr[name])
    return found


def verdict(found: dict[str, list[float]]) -> str:
    """What may be said of differences: fewer than three seeds say nothing of less than 0.05 dB."""
    if not found:
        return "not trained"
    means, seeds = [statistics.mean(values) for values in found.values()], min(map(len, found.values()))
    if seeds < SEEDS and any(abs(mean) < SAME for mean in means):
        return f"cannot be said with {seeds} of {SEEDS} seeds"
    if all(min(values) > 0 for values in found.values()):
        return "better on every set, with every seed"
    if all(max(values) < 0 for values in found.values()):
        return "worse on every set, with every seed"
    return "differs by set or seed"


def markdown(rows: Sequence[Row]) -> str:
    sets = list(rows[0].psnr)
    lines = [
        f"| network | seed | {' | '.join(f'{name}: PSNR, FQR, BitOPs (G), queries' for name in sets)} | minutes |",
        f"|---|---|{'---|' * len(sets)}---|",
    ]
    for row in rows:
        cells = [
            f"{row.psnr[name]:.3f}, {row.fqr[name]:.2f}, {row.bitops[name]:.3f}, {row.queries[name]:.3f}"
            for name in sets
        ]
        taken = "" if row.minutes is None else f"{row.minutes:.1f}"
        lines.append(f"| {row.name} | {row.seed} | {' | '.join(cells)} | {taken} |")
    lines += [
        "",
        f"PSNR of Y in dB; patches of {PATCH} small pixels, one every {STEP}; BitOPs as published. {machine()}.",
    ]
    lines += ["", f"| claim | {' | '.join(sets)} | seeds | |", f"|---|{'---|' * len(sets)}---|---|"]
    for one, other, text in CLAIMS:
        found = differences(rows, one, other)
        seeds = min(map(len, found.values()), default=0)
        lines.append(
            f"| {text} | {' | '.join(spread(found.get(name, [])) for name in sets)} | {seeds} | {verdict(found)} |"
        )
    return "\n".join([*lines, "", "Differences in dB: mean over seeds, and from the least to the largest.", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of images to train on")
    parser.add_argument("--sets", nargs="+", required=True, type=Path, help="folders of test images")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "refqsr")
    parser.add_argument("--seeds", nargs="+", type=int, default=[SEED])
    parser.add_argument("--threads", type=int, help="threads that work; all by default")
    parser.add_argument("--measure", action="store_true", help="train nothing")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    sets = [item for folder in given.sets for item in find(folder)]
    if not given.measure:
        if given.data is None:
            parser.error("give the folder of the images to train on with --data, or train nothing with --measure")
        train(given.seeds, Pairs.from_folder(given.data, 2), given.runs)
    rows = measure(given.runs, sets, given.threads)
    if not rows:
        parser.error(f"{given.runs} holds no trained networks; leave out --measure")
    text = markdown(rows)
    with open_atomic(given.runs / "refqsr.md", overwrite=True) as file:
        file.write(text.encode())
    print(text)
    found = differences(rows, *CLAIMS[0][:2])
    return 1 if any(statistics.mean(values) <= 0 for values in found.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SharpbitError as error:
        sys.exit(f"refqsr_evidence: {error}")
