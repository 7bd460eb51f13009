"""`sharpbit pair`: a large and a small network in one file, and from which detail on patches take which."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from sharpbit import zoo
from sharpbit.app import dump
from sharpbit.errors import UsageError
from sharpbit.export import _pair
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.runtime import open_engine
from sharpbit.system.atomic import check_target
from sharpbit.system.deprecated import old_names
from sharpbit.twopass.classifier import SMALLEST
from sharpbit.twopass.clustering import check_shared
from sharpbit.verbs import pair as pairing
from sharpbit.verbs.compression.receipts import add_receipt, sha256_of
from sharpbit.verbs.pair import COUNT, MAX_DROP, Outlook

BAR = "calibrating: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@dataclass(frozen=True)
class PairOptions:
    """What was given to `sharpbit pair`; see its help."""

    large: str
    small: str
    output: str
    calibrate: str | None
    max_drop: float | None
    count: int | None
    detail: float | None
    patch: int
    shared: int
    threads: int | None
    overwrite: bool
    as_json: bool
    quiet: bool


def run_pair(given: PairOptions) -> str:
    """Choose the threshold, write the file; what is to be printed.

    Raises:
        SharpbitError: what was given does not fit together, or the result exists; nothing is written then.
    """
    target = Path(given.output)
    _check(given, target)
    paths = [zoo.path_of(name) for name in (given.large, given.small)]
    parts = [_pair.part(path) for path in paths]
    _pair.check(*parts)
    networks = [open_engine(path, "onnx", threads=given.threads) for path in paths]
    hidden = True if given.quiet or given.as_json else None  # None: hidden unless on a terminal
    with tqdm(total=1.0, disable=hidden, delay=1, leave=False, bar_format=BAR) as bar:
        pace = pairing.Pace.of(networks[0], networks[1], given.patch)
        found, how = _settled(given, networks, bar)
    taken = None if found is None else pace.time(found.share, given.patch, given.shared)
    if pace.small >= pace.large:
        words = f"{paths[1].name} takes {pace.small / pace.large:.2f} times as long as {paths[0].name}"
        click.echo(f"note: {words}: the pair saves no time; the large network comes first", err=True)
    elif taken is not None and taken >= 1:
        words = f"{paths[0].name} on whole images is quicker than the pair, for what patches cost"
        click.echo(f"note: {words}; take a larger --patch, or a quicker small network", err=True)
    if found is not None and not found.share:
        words = f"no patch can do with {paths[1].name} within {how['max_drop']:g} dB"
        click.echo(f"note: {words}; allow more with --max-drop, or take a better network", err=True)
    entry = {"patch": given.patch, "shared": given.shared, **how}
    header = _pair.write(parts[0], parts[1], entry, target, overwrite=given.overwrite)
    images = [] if given.calibrate is None else spread_over(in_folder(given.calibrate), given.count or COUNT)
    did = {"small": {"name": paths[1].name, "sha256": sha256_of(paths[1])}, "detail": entry["detail"]}
    add_receipt(target, "pair", paths[0], did=did, calibrated_on=images)
    facts = {
        "file": given.output,
        "name": header.name,
        "scale": header.scale,
        "licence": header.licence,
        "sha256": header.sha256,
        **entry,
        "seconds_a_pixel": {"costly": pace.large, "cheap": pace.small, "whole": pace.whole},
        "time": taken,
    }
    return dump(facts) if given.as_json else _lines(facts)


def _check(given: PairOptions, target: Path) -> None:
    if target.suffix.lower() != ".onnx":
        raise UsageError(f"a pair is saved as .onnx, not {target.name!r}")
    if (given.calibrate is None) == (given.detail is None):
        raise UsageError(
            "where patches change networks is either measured, with --calibrate PHOTOS, or set, with --detail T; give"
            f" {'one of them' if given.detail is None else 'only one of them'}"
        )
    if given.detail is not None and (given.max_drop is not None or given.count is not None):
        raise UsageError("--max-drop and --count are for --calibrate; with --detail nothing is measured on photos")
    for name, number in (("--detail", given.detail), ("--max-drop", given.max_drop)):
        if number is not None and not math.isfinite(number):
            raise UsageError(f"{name} is a number, not {number}")
    check_shared(given.patch, given.shared)
    if given.patch < SMALLEST:
        raise UsageError(f"a patch has at least {SMALLEST} pixels a side, not {given.patch}")
    check_target(target, overwrite=given.overwrite)


def _settled(given: PairOptions, networks: list[Any], bar: Any) -> tuple[Outlook | None, dict[str, Any]]:
    """What the threshold will do, where that was measured, and what the file says of it."""
    if given.calibrate is None:
        return None, {"detail": given.detail}
    photos = pairing.measured(
        networks[0],
        networks[1],
        Path(given.calibrate),
        given.patch,
        given.shared,
        count=given.count or COUNT,
        progress=bar.update,
    )
    most = MAX_DROP if given.max_drop is None else given.max_drop
    found = pairing.chosen(photos, most)
    return found, {**asdict(found), "max_drop": most, "photos": len(photos)}


def _lines(facts: dict[str, Any]) -> str:
    pace = {key: 1e6 * value for key, value in facts["seconds_a_pixel"].items()}
    lines = {
        "detail": f"{facts['detail']:.3f} grey levels: patches of {facts['patch']} pixels with less take the small one",
        "time of a pixel": f"{pace['costly']:.2f} and {pace['cheap']:.2f} µs in patches, {pace['whole']:.2f} whole",
    }
    if "share" in facts:
        lines |= {
            "small network": f"{facts['share']:.3f} of the pixels, on {facts['photos']} photos",
            "PSNR": f"{-facts['drop']:+.3f} dB against the large network in the same patches, predicted",
            "time": f"{facts['time']:.2f} of that of the large network on whole images, predicted",
        }
    if facts["licence"]:
        lines["licence"] = facts["licence"]
    return "\n".join([facts["file"], *(f"{key:<20}{value}" for key, value in lines.items())])


__getattr__ = old_names(__name__, {"Settings": "PairOptions"})
