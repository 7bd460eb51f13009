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
from sharpbit.export import _native_pair, _pair
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_pair import LEAST_TILE, MOST_TILE
from sharpbit.runtime import open_engine
from sharpbit.system.atomic import check_target
from sharpbit.system.deprecated import old_names
from sharpbit.twopass.classifier import SMALLEST
from sharpbit.twopass.clustering import check_shared
from sharpbit.twopass.detail import contrast, levels
from sharpbit.verbs import pair as pairing
from sharpbit.verbs.compression.receipts import add_receipt, sha256_of
from sharpbit.verbs.pair import COUNT, MAX_DROP, Outlook

PATCH, SHARED = 48, 6  # LR pixels of a patch, and what neighbours share; of a .sharpbit pair:
TILE = 32
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
    native = target.suffix.lower() == ".sharpbit"
    _check(given, target, native=native)
    paths = [zoo.path_of(name) for name in (given.large, given.small)]
    if native:
        return _native(given, paths, target)
    parts = [_pair.part(path) for path in paths]
    _pair.check(*(one.header for one in parts))
    networks = [open_engine(path, "onnx", threads=given.threads) for path in paths]
    with _bar(given) as bar:
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
    paces = {"costly": pace.large, "cheap": pace.small, "whole": pace.whole}
    facts = {**_facts(given, paths, header, entry), "seconds_a_pixel": paces, "time": taken}
    return dump(facts) if given.as_json else _lines(facts)


def _native(given: PairOptions, paths: list[Path], target: Path) -> str:
    """The same for the native engine, which cuts tiles with what their network reaches and routes them itself."""
    parts = [_native_pair.part(path) for path in paths]
    _pair.check(*(header for header, _ in parts))
    networks = [open_engine(path, "native", threads=given.threads) for path in paths]
    with _bar(given) as bar:
        found, how = _settled(given, networks, bar, tiled=True)
    threshold = contrast(how["detail"]) if found is None else math.floor(found.detail)
    entry = {"patch": given.patch, **how, "detail": levels(threshold)}
    header = _native_pair.write(parts[0], parts[1], entry, given.patch, threshold, target, overwrite=given.overwrite)
    facts = _facts(given, paths, header, entry)
    if given.calibrate is not None:
        pair = open_engine(target, "native", threads=given.threads)
        facts["time"] = pairing.share_of_time(pair, networks[0], Path(given.calibrate), given.count or COUNT)
        if facts["time"] >= 1:
            words = f"{paths[0].name} alone is quicker than the pair, as tiles bring along what it reaches"
            click.echo(f"note: {words}; take a larger --patch, or a quicker small network", err=True)
    return dump(facts) if given.as_json else _lines(facts)


def _bar(given: PairOptions) -> tqdm[Any]:
    hidden = True if given.quiet or given.as_json else None  # None: hidden unless on a terminal
    return tqdm(total=1.0, disable=hidden, delay=1, leave=False, bar_format=BAR)


def _facts(given: PairOptions, paths: list[Path], header: Header, entry: dict[str, Any]) -> dict[str, Any]:
    """Put the receipt into the file that was written; what is printed of it."""
    images = [] if given.calibrate is None else spread_over(in_folder(given.calibrate), given.count or COUNT)
    did = {"small": {"name": paths[1].name, "sha256": sha256_of(paths[1])}, "detail": entry["detail"]}
    add_receipt(Path(given.output), "pair", paths[0], did=did, calibrated_on=images)
    facts = {key: getattr(header, key) for key in ("name", "scale", "licence", "sha256")}
    return {"file": given.output, **facts, **entry}


def _check(given: PairOptions, target: Path, *, native: bool) -> None:
    if target.suffix.lower() not in (".onnx", ".sharpbit"):
        raise UsageError(f"a pair is saved as .onnx or .sharpbit, not {target.name!r}")
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
    if native:
        if given.shared:
            raise UsageError("tiles of a .sharpbit pair bring along what their network reaches; leave --shared out")
        if not LEAST_TILE <= given.patch <= MOST_TILE:
            raise UsageError(
                f"a tile of a .sharpbit pair has {LEAST_TILE} to {MOST_TILE} pixels a side, not {given.patch}"
            )
    else:
        check_shared(given.patch, given.shared)
        if given.patch < SMALLEST:
            raise UsageError(f"a patch has at least {SMALLEST} pixels a side, not {given.patch}")
    check_target(target, overwrite=given.overwrite)


def _settled(
    given: PairOptions, networks: list[Any], bar: Any, *, tiled: bool = False
) -> tuple[Outlook | None, dict[str, Any]]:
    """What the threshold will do, where that was measured, and what the file says of it."""
    if given.calibrate is None:
        return None, {"detail": given.detail}
    photos = pairing.measured(
        networks[0],
        networks[1],
        Path(given.calibrate),
        given.patch,
        given.shared,
        tiled=tiled,
        count=given.count or COUNT,
        progress=bar.update,
    )
    most = MAX_DROP if given.max_drop is None else given.max_drop
    found = pairing.chosen(photos, most)
    return found, {**asdict(found), "max_drop": most, "photos": len(photos)}


def _lines(facts: dict[str, Any]) -> str:
    lines = {
        "detail": f"{facts['detail']:.3f} grey levels: patches of {facts['patch']} pixels with less take the small one",
    }
    if "seconds_a_pixel" in facts:
        pace = {key: 1e6 * value for key, value in facts["seconds_a_pixel"].items()}
        words = f"{pace['costly']:.2f} and {pace['cheap']:.2f} µs in patches, {pace['whole']:.2f} whole"
        lines["time of a pixel"] = words
    if "share" in facts:
        lines |= {
            "small network": f"{facts['share']:.3f} of the pixels, on {facts['photos']} photos",
            "PSNR": f"{-facts['drop']:+.3f} dB against the large network in the same patches, predicted",
        }
    if facts.get("time") is not None:
        how = "predicted" if "seconds_a_pixel" in facts else "on one of the photos"
        lines["time"] = f"{facts['time']:.2f} of that of the large network on whole images, {how}"
    if facts["licence"]:
        lines["licence"] = facts["licence"]
    return "\n".join([facts["file"], *(f"{key:<20}{value}" for key, value in lines.items())])


__getattr__ = old_names(__name__, {"Settings": "PairOptions"})
