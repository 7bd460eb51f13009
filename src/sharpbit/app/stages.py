"""`sharpbit refine` and `sharpbit freeze`: the stages that follow `sharpbit quantize --unfrozen`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app import dump
from sharpbit.data.calibration import Cut, read_of
from sharpbit.errors import UsageError
from sharpbit.image.folder import in_folder
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.system.atomic import check_target
from sharpbit.system.progress import shown
from sharpbit.system.work_folder import remove_work
from sharpbit.verbs.compression.receipts import add_receipt
from sharpbit.verbs.refine import RefinementReceipt, refine_with_receipt
from sharpbit.verbs.refine import freeze as frozen


def run_refine(
    model: str,
    teacher: str,
    teacher_config: Sequence[tuple[str, Any]],
    calibrate: str,
    output: str,
    *,
    steps: int | None,
    epochs: int | None,
    lr: float,
    batch: int,
    cut: Mapping[str, Any],
    device: str,
    compiled: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> str:
    """Refine and write; what is to be printed.

    Raises:
        SharpbitError: what `model`, the teacher, the images or `output` cannot be.
    """
    path = _target(output, overwrite=overwrite)
    work = path.with_name(f"{path.name}.work")
    before = models.load(zoo.path_of(model))
    large = models.reconfigured(models.load(zoo.path_of(teacher)), **dict(teacher_config))
    with tqdm(disable=True if quiet or as_json else None, delay=1, leave=False) as bar:
        after, receipt = refine_with_receipt(
            before,
            large,
            calibrate,
            Refinement(rate=lr, batch=batch),
            steps=steps,
            epochs=epochs,
            cut=Cut(**cut),
            device=device,
            compiled=compiled,
            keep=work,
            progress=shown(bar),
        )
    models.save(after, path, overwrite=overwrite)
    remove_work(work)
    how, options = Cut(**cut), {"teacher_config": dict(teacher_config)} if teacher_config else {}
    did = {"steps": receipt.steps, "teacher": Path(teacher).name, **options}
    did |= {"crops": receipt.crops, "of_images": receipt.images, **how.facts(receipt.side)}
    add_receipt(path, "refine", zoo.path_of(model), did=did, calibrated_on=read_of(in_folder(calibrate), how))
    return dump({"file": output, **asdict(receipt)}) if as_json else "\n".join([output, *_lines(receipt)])


def run_freeze(model: str, output: str, *, overwrite: bool, as_json: bool) -> str:
    """Freeze and write; what is to be printed.

    Raises:
        SharpbitError: what `model` or `output` cannot be.
    """
    path = _target(output, overwrite=overwrite)
    header = models.save(frozen(models.load(zoo.path_of(model))), path, overwrite=overwrite)
    add_receipt(path, "freeze", zoo.path_of(model))
    facts = {"file": output, "precision": header.precision, "sha256": header.sha256}
    return dump(facts) if as_json else "\n".join(f"{key:<20}{value}" for key, value in facts.items())


def _target(output: str, *, overwrite: bool) -> Path:
    path = Path(output)
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"the result is a .safetensors file, not {path.name!r}; sharpbit export makes others of it")
    check_target(path, overwrite=overwrite)
    return path


def _lines(receipt: RefinementReceipt) -> list[str]:
    facts = {
        "refined": f"{receipt.steps} steps, {receipt.seconds:g} s",
        "learned from": f"{receipt.crops} crops of {receipt.side}x{receipt.side} pixels, of {receipt.images} images",
        "loss": "{:.3g} -> {:.3g}".format(*receipt.losses),
        "against float": "{:.2f} -> {:.2f} dB".format(*receipt.psnr),
    }
    return [f"{key:<20}{value}" for key, value in facts.items()]
