"""RefQSR against its own parts: two passes against as many bits everywhere, and without what is its own.

    python evidence/refqsr.py --data IMAGES --sets BENCHMARKS/Set14 BENCHMARKS/BSD100 PHOTOS2K
    python evidence/refqsr.py ... --network carn-m --weights carn_m_x234.pth     on the published CARN-M
    python evidence/refqsr.py ... --seeds 10 11 12                   with further seeds
    python evidence/refqsr.py ... --rows "4 bits" "RefQSR 8-4"       some rows alone
    python evidence/refqsr.py --sets ... --measure                   only what was trained already
    python evidence/refqsr.py ... --untrained                        as training begins, without a step of it
    python evidence/refqsr.py ... --longer 5 --runs FOLDER           every row trained for five times as many steps

IMAGES is a folder of images to train on, at any depth. The rows are recipes: of the small SRResNet those of
`recipes/evidence/refqsr`, of CARN-M those of `recipes/evidence/carn-m` (`_refqsr_rows.py`). They begin with DDTB at 8
bits and have the float network as their teacher, both with the first seed alone; the float CARN-M is the published one,
with a residual block for each place. Run again, it goes on from the last checkpoint. Prints the table and what holds in
it; ends with 1 if RefQSR 8-4 is not better than 4 bits everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from _refqsr_rows import FLOAT, NETWORKS, SMALL, Network
from qat import SAME, SEED, SEEDS, machine, minutes, spread

from sharpbit import model as models
from sharpbit import recipe
from sharpbit.data.pairs import Pairs
from sharpbit.errors import SharpbitError
from sharpbit.measure.benchmarks import Benchmark, find
from sharpbit.measure.patchwise import Cost
from sharpbit.system.atomic import open_atomic
from sharpbit.verbs.evaluate import evaluate

TRAINED = "trained.safetensors"
PATCH, STEP = 48, 42  # small pixels; neighbours share 6 of them, as published


@dataclass(frozen=True)
class Row:
    """A trained network, and what was measured of it patch by patch.

    Attributes:
        name: as in `Network.rows`.
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


def published_float(weights: Path, runs: Path) -> None:
    """Put the published CARN-M, with a residual block for each place, where its recipes look for it."""
    target = runs / f"seed-{SEED}" / FLOAT / "trained.safetensors"
    if target.exists():
        return
    wide = models.load(weights, scale=2, unrolled=True)
    one = models.build("carn", scale=2, groups=wide.config.groups, width=wide.config.width, unrolled=True)
    state = wide.net.state_dict()
    one.net.load_state_dict({name: state[name] for name in one.net.state_dict()})
    target.parent.mkdir(parents=True, exist_ok=True)
    models.save(replace(one, about={"name": FLOAT, "licence": "MIT"}), target)


def train(
    seeds: Sequence[int],
    pairs: Pairs,
    runs: Path,
    what: Network = SMALL,
    *,
    rows: Sequence[str] = (),
    longer: int = 1,
    untrained: bool = False,
    quiet: bool = False,
) -> None:
    """Train what is not there yet.

    Args:
        seeds: of the rows.
        pairs: training images.
        runs: folder of all results.
        what: the network.
        rows: names of the rows; all by default.
        longer: how many times the steps of their recipes they are trained; what all begin with is not.
        untrained: whether rows stop before their first step.
        quiet: whether progress is hidden.
    """
    first = runs / f"seed-{SEED}"
    for name in what.shared:
        if not (first / name / TRAINED).exists():
            recipe.run(what.path(name), data=pairs, out=first / name, seed=SEED, quiet=quiet)
    begun = [path.parent.name for path in first.glob(f"*/{TRAINED}") if path.parent.name not in what.rows.values()]
    for seed in seeds:
        folder = runs / f"seed-{seed}"
        for name in begun:
            target = folder / name / TRAINED
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((first / name / TRAINED).read_bytes())
        for name in (what.rows[row] for row in rows or what.rows):
            if _weights(folder / name, untrained=untrained) is None:
                steps = 0 if untrained else None
                path = made_by(what, name, runs, longer)
                recipe.run(path, data=pairs, out=folder / name, seed=seed, stop_after=steps, quiet=quiet)


def made_by(what: Network, name: str, runs: Path, longer: int) -> Path:
    """The recipe of a row; trained longer, one of as many times the steps, in epochs as many times as long."""
    path = what.path(name)
    if longer == 1:
        return path
    text, found = re.subn(
        r"^(steps|epoch) = (\d+)$", lambda match: f"{match[1]} = {int(match[2]) * longer}", path.read_text(), flags=re.M
    )
    assert found == 2, f"{path} has not one number of steps and of an epoch"
    target = runs / f"longer-{longer}" / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_atomic(target, overwrite=True) as file:
        file.write(text.encode())
    return target


def measure(
    runs: Path,
    sets: Sequence[Benchmark],
    threads: int | None = None,
    what: Network = SMALL,
    *,
    longer: int = 1,
    untrained: bool = False,
) -> list[Row]:
    """All rows of which there are weights; numbers of weights that were measured before are taken from `row.json`."""
    rows = []
    for name, file in what.rows.items():
        for folder in sorted(runs.glob("seed-*"), key=lambda folder: int(folder.name.removeprefix("seed-"))):
            path = _weights(folder / file, untrained=untrained)
            if path is not None:
                seed = int(folder.name.removeprefix("seed-"))
                rows.append(_measured(name, seed, path, sets, threads, made_by(what, file, runs, longer)))
    return rows


def _weights(folder: Path, *, untrained: bool) -> Path | None:
    """The file that is measured, if it is there."""
    names = ("two_pass.safetensors", "fake_quantized.safetensors") if untrained else (TRAINED,)
    return next((folder / name for name in names if (folder / name).exists()), None)


def _measured(name: str, seed: int, path: Path, sets: Sequence[Benchmark], threads: int | None, by: Path) -> Row:
    trained = path.name == TRAINED
    weights = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = path.with_name("row.json" if trained else "start.json")
    if kept.exists():
        row = Row(**json.loads(kept.read_text()))
        if row.weights == weights and list(row.psnr) == [item.name for item in sets]:
            return row
    print(f"measuring {name}, seed {seed}", file=sys.stderr)
    steps = {step.verb: step.settings for step in recipe.read(by).step}
    result = evaluate(path, sets, threads=threads, engine="torch", patch=PATCH, step=STEP)
    costs = [_told(score.cost) for score in result.sets]
    names = [item.name for item in sets]
    fqr, bitops, queries = (dict(zip(names, column, strict=True)) for column in zip(*costs, strict=True))
    psnr = {score.name: score.psnr for score in result.sets}
    taken = minutes(path, steps["train"]["steps"]) if trained else 0.0
    row = Row(name, seed, psnr, fqr, bitops, queries, taken, weights)
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


def markdown(rows: Sequence[Row], what: Network = SMALL) -> str:
    """The table, and what holds in it."""
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
    for one, other, text in what.claims:
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
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--weights", type=Path, help="the published CARN-M, carn_m_x234.pth")
    parser.add_argument("--runs", type=Path, help="folder of results; runs/refqsr or runs/carn-m by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[SEED])
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="rows to train; all by default")
    parser.add_argument("--longer", type=int, default=1, metavar="TIMES", help="train rows for so many times the steps")
    parser.add_argument("--threads", type=int, help="threads that work; all by default")
    parser.add_argument("--measure", action="store_true", help="train nothing")
    parser.add_argument("--untrained", action="store_true", help="stop before the first step, and measure that")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    what = NETWORKS[given.network]
    runs: Path = given.runs or Path("runs") / what.folder
    if unknown := [row for row in given.rows if row not in what.rows]:
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(what.rows)}")
    if given.longer < 1:
        parser.error(f"--longer is a number of times, at least 1, and not {given.longer}")
    if given.longer > 1 and given.runs is None:
        parser.error("give the folder of the longer rows with --runs, beside the others")
    sets = [item for folder in given.sets for item in find(folder)]
    if not given.measure:
        if given.data is None:
            parser.error("give the folder of the images to train on with --data, or train nothing with --measure")
        if what is not SMALL:
            if given.weights is None:
                parser.error("give the published CARN-M with --weights")
            published_float(given.weights, runs)
        pairs = Pairs.from_folder(given.data, 2)
        train(given.seeds, pairs, runs, what, rows=given.rows, longer=given.longer, untrained=given.untrained)
    rows = measure(runs, sets, given.threads, what, longer=given.longer, untrained=given.untrained)
    if not rows:
        parser.error(f"{runs} holds no trained networks; leave out --measure")
    text = markdown(rows, what)
    with open_atomic(runs / ("untrained.md" if given.untrained else "refqsr.md"), overwrite=True) as file:
        file.write(text.encode())
    print(text)
    found = differences(rows, *what.claims[0][:2])
    return 1 if any(statistics.mean(values) <= 0 for values in found.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SharpbitError as error:
        sys.exit(f"refqsr_evidence: {error}")
