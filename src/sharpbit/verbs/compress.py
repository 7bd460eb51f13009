"""One call from a float network to the file that should be deployed, with a receipt that says what each step bought."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from sharpbit.data import calibration
from sharpbit.errors import ModelError, SharpbitError, UsageError
from sharpbit.model import Model
from sharpbit.model.foreign import of_module
from sharpbit.modelfile.history import Receipt
from sharpbit.quant import order
from sharpbit.system.atomic import check_target
from sharpbit.system.progress import Phases, counted
from sharpbit.verbs.compression import images as data_of
from sharpbit.verbs.compression.images import Images
from sharpbit.verbs.compression.measuring import Reference, measured, times
from sharpbit.verbs.compression.receipts import all_versions, write_receipt
from sharpbit.verbs.compression.state import State, remove
from sharpbit.verbs.compression.targets import Targets, distance, sentence
from sharpbit.verbs.compression.ways import FLOAT, Way, Ways, sensitivities
from sharpbit.verbs.quantize import QuantizationSettings

SUFFIXES = (".sharpbit", ".onnx")
CUT = calibration.AT_DETAIL
NEAR = 1.05  # of two files whose times are that near, the smaller one is taken

Row = dict[str, Any]


@dataclass(frozen=True)
class Compressed:
    """What `compress` found.

    Attributes:
        path: the file that was written; None where nothing meets the targets.
        rows: one table a way, in the order of the tries: `step`, `error` or all that `Measured` has, `misses`,
            `seconds`, and what was done.
        chosen: name of the step that was taken, or that came nearest.
        why: one sentence on the choice.
        receipt: the receipt, as it stands in the file.
        tried: folder in which what was tried lies; None where it was removed.
    """

    path: Path | None
    rows: tuple[Row, ...]
    chosen: str
    why: str
    receipt: Receipt
    tried: Path | None


def compress(
    model: Model | nn.Module,
    calibrate: str | Path,
    output: str | Path,
    *,
    data: Sequence[str | Path] = (),
    max_drop: float | None = None,
    max_ms: float | None = None,
    max_bytes: int | None = None,
    size: tuple[int, int] | None = None,
    bits: int | tuple[int, ...] = 8,
    budget: float | str | None = None,
    every: bool = False,
    minutes: float | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    source: Mapping[str, Any] | None = None,
    progress: Phases | None = None,
) -> Compressed:
    """Make the fastest file of a network that meets what is asked for, and measure it through its engine.

    Ways are tried one after the other, cheapest first, until one meets all targets: the plain chain of a network that
    can be re-parameterized, integers for the native engine, an integer graph, 8 bits for general engines, the same
    refined, and with the most sensitive layers in float. What was tried is kept beside `output` until one succeeds, so
    a call that was ended goes on where it was.

    Args:
        model: a float model, or any network in PyTorch of an image in `[0, 1]`.
        calibrate: folder of ordinary images, ten or more. Some are kept apart to measure on.
        output: the file to write: `.sharpbit`, `.onnx`, or without an ending, which then comes with the best way.
        data: folders of test images; `max_drop` is for these then, and for the images kept apart where there are none.
        max_drop: largest loss against the float network in dB; 0.1 where no target is given at all.
        max_ms: longest time of one image of `size`, in milliseconds.
        max_bytes: most bytes of the file without its header.
        size: height and width in pixels of the LR image that is timed; 180 and 320 by default.
        bits: bits of weights and activations, 8 by default; the native engine takes 8 alone.
        budget: limit of mixed precision, see `sharpbit.quantize`.
        every: try all ways even where one before them meets the targets; False by default.
        minutes: begin no further way after so many; None, the default, tries all.
        threads: threads of the engines; None, the default, takes every core that the process may use.
        overwrite: replace `output` if it exists; False by default.
        source: what the receipt says of where the model comes from; by default its architecture and weights.
        progress: called with the name of a phase, how much of it is done, and how much there is.

    Returns:
        The file and all that was measured. Its `path` is None if no way meets the targets; nothing is written then.

    Raises:
        UsageError: a target or an ending that cannot be, a model that is quantized already, no images.
        OutputExists: `output` exists and `overwrite` is false.
        ModelError: a network has operators that sharpbit does not know.

    Examples:
        `PHOTOS` is a folder of images:

        >>> import sharpbit
        >>> net = sharpbit.build("edsr", scale=2, blocks=1, width=4)
        >>> found = sharpbit.compress(net, "PHOTOS", "small.sharpbit", max_drop=9, size=(36, 64))
        >>> found.path.name, [row["step"] for row in found.rows]
        ('small.sharpbit', ['float', 'integers'])
    """
    targets = Targets(max_drop, max_ms, max_bytes, size or Targets().size)
    QuantizationSettings(bits, budget=budget)  # refuses widths that cannot be
    target = _checked(Path(output), overwrite)
    model = model if isinstance(model, Model) else of_module(model)
    order.check(model.net, "compressing", model.arch.name)
    images = data_of.split(calibrate, data, model.scale)
    run = _Run(model, images, targets, target, threads, progress)
    run.ways.bits, run.ways.budget = bits, budget
    source = dict(source or {}) | {"architecture": model.arch.name, "weights": _weights(model)}
    described = [data_of.described(item, model.scale) for item in images.sets]
    calibrated = data_of.fingerprint(images.calibrate)
    state = State(_folder(target), _key(source, described, calibrated, targets.size, bits, budget, threads))
    run.try_all(state, every=every, minutes=minutes)
    rows, chosen = run.settle(state)
    receipt = Receipt(
        by="compress",
        source=source,
        calibrated=calibrated | {"measured_on": described, "apart": images.apart},
        targets=targets.table(),
        steps=tuple(rows),
        chosen=chosen["step"],
        versions=all_versions(),
    )
    if chosen["misses"]:
        why = f"no way meets the targets; {chosen['step']} comes nearest: it {sentence(chosen['misses'])}"
        return Compressed(None, tuple(rows), chosen["step"], why, receipt, state.folder)
    made = state.path(state.tried[chosen["step"]])
    assert made is not None
    path = target if target.suffix else target.with_name(target.name + made.suffix)
    write_receipt(made, path, receipt, overwrite=overwrite)
    remove(state.folder)
    return Compressed(path, tuple(rows), chosen["step"], _reason(rows, chosen), receipt, None)


class _Run:
    """One run: tries ways, and chooses."""

    def __init__(
        self,
        model: Model,
        images: Images,
        targets: Targets,
        target: Path,
        threads: int | None,
        progress: Phases | None,
    ) -> None:
        self.images, self.targets, self.threads, self.progress = images, targets, threads, progress
        self.word = ""
        self.ways = Ways(model, self._crops, suffix=target.suffix.lower(), progress=self._phase)
        self._cut: Any = None

    def _crops(self) -> Any:
        if self._cut is None:
            scale = self.ways.model.scale
            self._cut = calibration.from_paths(
                self.images.calibrate, scale, self.images.folder, CUT, progress=self._phase
            )
        return self._cut

    def _phase(self, name: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(f"{self.word}{name}", done, total)

    def try_all(self, state: State, *, every: bool, minutes: float | None) -> None:
        """Try the ways until one meets the targets; what `state` has already is not tried again."""
        began = time.monotonic()
        ways = self.ways.all
        self.ways.worst = sensitivities(list(state.tried.values()))
        reference: Reference | None = None
        for number, way in enumerate(ways, 1):
            self.word = f"{number}/{len(ways)} {way.name}: "
            late = minutes is not None and time.monotonic() - began > 60 * minutes and way.rounds
            if late or self._pointless(way, state, every=every):
                continue
            if way.name not in state.tried:
                self._try(way, state, reference)
            path = state.path(state.tried[way.name])
            if way.name == FLOAT and path is not None:
                count = counted(self._phase, "measuring", self._images)
                reference = Reference(path, self.images, self.threads, count)

    @property
    def _images(self) -> int:
        return sum(len(item.large) for item in self.images.sets)

    def _pointless(self, way: Way, state: State, *, every: bool) -> bool:
        """Whether a way need not be tried: one before meets all, or what it could mend is not what is missed."""
        if way.name in state.tried or not way.rounds:
            return False
        found = [
            self._misses(table) for name, table in state.tried.items() if "error" not in table and self._round(name)
        ]
        if not every and any(not misses for misses in found):
            return True
        return way.last_resort and not any("max_drop" in misses for misses in found[-1:])

    def _round(self, name: str) -> bool:
        return any(way.name == name and way.rounds for way in self.ways.all)

    def _misses(self, table: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        return self.targets.misses(table, self.images.judged)

    def _try(self, way: Way, state: State, reference: Reference | None) -> None:
        began = time.monotonic()
        row: Row = {"step": way.name}
        path = None
        try:
            path, done = way.write(state.folder)
            count = counted(self._phase, "measuring", self._images)
            found = measured(path, self.images, reference, self.targets.size, self.threads, count)
            row |= {"did": done, **found.table()}
        except (SharpbitError, MemoryError) as error:
            if way.name == FLOAT:
                raise
            row["error"], path = str(error) or "no memory for it", None
        row["seconds"] = round(time.monotonic() - began, 1)
        state.add(way.name, row, path)

    def settle(self, state: State) -> tuple[list[Row], Row]:
        """All rows with their times measured in turn, and the one that is taken, or comes nearest."""
        self.word = ""
        rows = [dict(table) for table in state.tried.values()]
        good = {row["step"]: row for row in rows if "error" not in row}
        paths = {name: path for name, row in good.items() if (path := state.path(row)) is not None}
        count = counted(self._phase, "timing in turn", 1)
        for name, taken in times(paths, self.targets.size, self.threads, count).items():
            good[name]["ms"] = taken
        suffixes = {way.name: way.suffix for way in self.ways.all}
        for row in rows:
            row.pop("file", None)
            row.pop("sha256", None)
            if "error" not in row:
                row["misses"] = self._misses(row)
        fits = [row for name, row in good.items() if self.ways.suffix in ("", suffixes.get(name))]
        if not fits:
            reasons = "; ".join(str(row["error"]) for row in rows if "error" in row)
            raise ModelError(f"no way makes a {self.ways.suffix} file of this network: {reasons}")
        meeting = [row for row in fits if not row["misses"]]
        if not meeting:
            return rows, min(fits, key=lambda row: distance(row["misses"]))
        fastest = min(row["ms"] for row in meeting)
        return rows, min((row for row in meeting if row["ms"] <= NEAR * fastest), key=lambda row: row["bytes"])


def _checked(path: Path, overwrite: bool) -> Path:
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"the result can be {' or '.join(SUFFIXES)}, or have no ending, not {path.name!r}")
    for suffix in SUFFIXES if not path.suffix else ("",):
        check_target(path.with_name(path.name + suffix), overwrite=overwrite)
    return path


def _folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.compress")


def _weights(model: Model) -> str:
    state = {key: value.detach().cpu().contiguous() for key, value in model.net.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()


def _key(*parts: Any) -> dict[str, Any]:
    return {"parts": parts, "versions": all_versions()}


def _reason(rows: Sequence[Row], chosen: Row) -> str:
    float_ms = next((row["ms"] for row in rows if row["step"] == FLOAT), None)
    gain = f", {float_ms / chosen['ms']:.2g} times as fast as float" if float_ms and chosen["step"] != FLOAT else ""
    worst = max((drop for drop in chosen["drop"].values() if drop is not None), default=0.0)
    return f"{chosen['step']} meets the targets: it loses {worst:.3f} dB at most{gain}"
