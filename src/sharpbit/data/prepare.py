"""Training images cut into overlapping windows, with their LR images, as files.

The folder that comes out holds `HR/NAME_s001.png` and `LR_bicubic/X2/NAME_s001.png`; it is what `Pairs.from_folder`
reads, and `prepared.json` says how it was made.

Source: `scripts/data_preparation/extract_subimages.py` of XPixelGroup/BasicSR, with whose sizes (480, every 240, the
last window at the edge, nothing dropped) the networks of ETDS were trained.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sharpbit.data.trees import LARGE, SMALL, partner
from sharpbit.errors import UsageError
from sharpbit.image import is_image_name, open_writer, probe, read
from sharpbit.image.resize import shrink
from sharpbit.system.atomic import check_folder, open_atomic
from sharpbit.system.deprecated import old_names

Pixels = NDArray[np.uint8]

CUT = 12
"""Images are cut at the right and below to multiples of this by default, as those of the benchmarks."""
SETTINGS = "prepared.json"


@dataclass(frozen=True)
class PreparationPlan:
    """What is prepared, and how.

    Attributes:
        source: folder of the HR images; those in folders below it keep their place.
        out: folder of the windows.
        scales: upscaling factors that LR images are written for; default: 2, 3 and 4.
        small: folders of LR images by scale; where there is none, they are made by bicubic.
        size: side of a window in HR pixels; default: 480.
        step: distance from one window to the next in HR pixels; default: 240.
        cut: images are cut at the right and below to multiples of this, which every scale divides; default: 12. The
            published windows end where images do; a cut of the scale alone gives the same wherever it divides them.
    """

    source: Path
    out: Path
    scales: tuple[int, ...] = (2, 3, 4)
    small: Mapping[int, Path] = field(default_factory=dict)
    size: int = 480
    step: int = 240
    cut: int = CUT


@dataclass(frozen=True)
class Prepared:
    """What was done: images, windows of them, windows written by this run; and what should be known of images."""

    images: int
    windows: int
    written: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Image:
    """An image to cut: its files, and where its windows lie (top, left, height, width), with the name of each."""

    path: Path
    small: Mapping[int, Path]
    windows: Mapping[str, tuple[int, int, int, int]]


def starts(length: int, size: int, step: int) -> list[int]:
    """Where windows begin along a side: at every `step`, and at last so that one ends at the edge."""
    return [*range(0, length - size, step), max(0, length - size)]


def prepare(plan: PreparationPlan, *, workers: int = 1, quiet: bool = False) -> Prepared:
    """Write the windows that are not there yet. Files appear complete or not at all, so that a run can be repeated.

    Args:
        plan: images, scales and sizes of what is prepared.
        workers: number of threads, each with one image in memory; default: 1.
        quiet: whether progress is hidden; default: false.

    Raises:
        UsageError: sizes that do not fit together, no images, an LR image that is missing or has another size, or an
            `out` that was prepared otherwise. It is raised before anything is written.
        ImageError: an image that cannot be read or written.
    """
    _check(plan)
    notes: list[str] = []
    images = list(_images(plan, notes, quiet))
    _keep_settings(plan)
    todo = [(image, missing) for image in images if (missing := _missing(plan, image))]
    windows = sum(len(image.windows) for image in images)
    written = 0
    stop = threading.Event()
    done = windows - sum(len(missing) for _, missing in todo)
    with (
        ThreadPoolExecutor(workers, "prepare") as pool,
        tqdm(total=windows, initial=done, desc="preparing", unit="window", disable=quiet, delay=1) as bar,
    ):
        try:
            for future in as_completed([pool.submit(_cut, plan, *item, stop) for item in todo]):
                written += future.result()
                bar.update(future.result())
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return Prepared(len(images), windows, written, tuple(notes))


def _check(plan: PreparationPlan) -> None:
    if not plan.source.is_dir():
        raise UsageError(f"there is no folder {plan.source}; give one of training images, such as DIV2K_train_HR")
    check_folder(plan.out)
    if plan.out.resolve().is_relative_to(plan.source.resolve()):
        raise UsageError(f"{plan.out} lies in {plan.source}, whose images are read; choose a folder outside")
    for scale in plan.scales:
        if scale < 2 or plan.cut % scale:
            known = "2, 3, 4 or 6" if plan.cut == CUT else f"a --cut of {CUT}, or of all scales"
            raise UsageError(f"scale {scale} does not divide {plan.cut}; choose {known}")
        if plan.size % scale or plan.step % scale:
            raise UsageError(f"windows of {plan.size} every {plan.step} pixels cannot be made {scale} times smaller")
    if plan.size < 1 or not 1 <= plan.step <= plan.size:
        raise UsageError(f"windows of {plan.size} every {plan.step} pixels would leave gaps; choose a smaller step")
    for scale, folder in plan.small.items():
        if scale not in plan.scales:
            raise UsageError(f"LR images are given for x{scale}, which is not prepared; add --scale {scale}")
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder} of LR images for x{scale}")


def _images(plan: PreparationPlan, notes: list[str], quiet: bool) -> Iterator[_Image]:
    """What is to be cut, with all partners; only headers are read."""
    paths = sorted(path for path in plan.source.rglob("*") if is_image_name(path) and path.is_file())
    if not paths:
        raise UsageError(f"{plan.source} holds no images; give a folder of training images, such as DIV2K_train_HR")
    stems: dict[Path, Path] = {}
    for path in tqdm(paths, "reading sizes", disable=quiet, delay=2, unit="image"):
        stem = path.relative_to(plan.source).with_suffix("")
        if stem in stems:
            raise UsageError(f"{stems[stem]} and {path} differ in their ending only; rename or remove one of them")
        stems[stem] = path
        height, width = probe(path)
        small = {scale: partner(folder, stem, path, scale) for scale, folder in plan.small.items()}
        for scale, low in small.items():
            _compare(path, (height, width), low, probe(low), scale)
        height, width = height // plan.cut * plan.cut, width // plan.cut * plan.cut
        if not height or not width:
            notes.append(f"{path} has fewer than {plan.cut} pixels on a side: left out")
            continue
        if min(height, width) < plan.size:
            notes.append(f"{path} is smaller than a window of {plan.size} pixels: taken whole on that side")
        corners = [(y, x) for y in starts(height, plan.size, plan.step) for x in starts(width, plan.size, plan.step)]
        sides = min(plan.size, height), min(plan.size, width)
        yield _Image(path, small, {f"{stem}_s{k:03d}.png": (*corner, *sides) for k, corner in enumerate(corners, 1)})


def _compare(path: Path, large: tuple[int, int], partner: Path, small: tuple[int, int], scale: int) -> None:
    if any(b not in (a // scale, -(-a // scale)) for a, b in zip(large, small, strict=True)):
        raise UsageError(
            f"{partner} has {small[1]}x{small[0]} pixels, which is not {path} ({large[1]}x{large[0]}) made {scale}"
            " times smaller; are these folders of the same images, and of this scale?"
        )


def _keep_settings(plan: PreparationPlan) -> None:
    """Write how this is made; a folder that was made otherwise would become a mixture."""
    path = plan.out / SETTINGS
    made = {str(s): str(plan.small[s].resolve()) if s in plan.small else "by bicubic" for s in plan.scales}
    settings = {
        "source": str(plan.source.resolve()),
        "size": plan.size,
        "step": plan.step,
        "cut": plan.cut,
        "small": made,
    }
    if path.exists():
        try:
            before = json.loads(path.read_text("utf-8"))
            before.setdefault("cut", CUT)  # folders of earlier versions do not say it
            small = dict(before["small"])
            changed = {key: before[key] for key in ("source", "size", "step", "cut") if before[key] != settings[key]}
        except (ValueError, LookupError, TypeError):
            raise UsageError(f"{path} is not what this command wrote; give another folder") from None
        changed |= {f"LR x{scale}": old for scale, old in small.items() if made.get(scale, old) != old}
        if changed:
            how = ", ".join(f"{key} {value}" for key, value in changed.items())
            raise UsageError(f"{plan.out} was prepared otherwise ({how}); give another folder")
        settings["small"] = {**small, **made}  # another scale may be added later
    elif (plan.out / LARGE).exists():
        raise UsageError(f"{plan.out / LARGE} is there, and was not made by this command; give another folder")
    with open_atomic(path, overwrite=True) as file:
        file.write(json.dumps(settings, indent=2).encode())


def _targets(plan: PreparationPlan, name: str) -> dict[int, Path]:
    """The files of a window by scale, the true one (1) last."""
    small = {scale: plan.out / SMALL.format(scale) / name for scale in plan.scales}
    return {**small, 1: plan.out / LARGE / name}


def _missing(plan: PreparationPlan, image: _Image) -> list[str]:
    names = image.windows
    return [name for name in names if not all(path.exists() for path in _targets(plan, name).values())]


def _cut(plan: PreparationPlan, image: _Image, names: list[str], stop: threading.Event) -> int:
    """Write the windows with these names; small ones are cut out of the whole LR image, not made of windows."""
    if stop.is_set():
        return 0
    whole = read(image.path).rgb8()
    large = whole[: whole.shape[0] // plan.cut * plan.cut, : whole.shape[1] // plan.cut * plan.cut]
    pixels = {1: large}
    for scale in plan.scales:
        pixels[scale] = read(image.small[scale]).rgb8() if scale in image.small else shrink(large, scale)
    for number, name in enumerate(names):
        if stop.is_set():
            return number
        for scale, path in _targets(plan, name).items():
            if not path.exists():
                top, left, height, width = (value // scale for value in image.windows[name])
                _write(path, pixels[scale][top : top + height, left : left + width])
    return len(names)


def _write(path: Path, pixels: Pixels) -> None:
    height, width = pixels.shape[:2]
    with open_writer(
        path, "PNG", height=height, width=width, channels=3, alpha=False, dtype=np.uint8, overwrite=True
    ) as writer:
        writer.write(pixels)


__getattr__ = old_names(__name__, {"Plan": "PreparationPlan"})
