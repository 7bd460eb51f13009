"""The receipt in a model file: what made it of what, and what it claims of itself, for `sharpbit verify`."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from sharpbit._version import __version__
from sharpbit.errors import SharpbitError
from sharpbit.measure.upscaling import by
from sharpbit.modelfile import Header, ModelFile, with_header
from sharpbit.modelfile.history import Receipt, read
from sharpbit.system.atomic import open_atomic
from sharpbit.system.extras import versions
from sharpbit.verbs.compression.images import fingerprint
from sharpbit.verbs.compression.measuring import identity, opened

PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "openvino")
CARRIERS = (".sharpbit", ".onnx", ".safetensors")  # files that have a header


def add_receipt(
    path: Path,
    by_verb: str,
    source: Path,
    *,
    did: Mapping[str, Any] | None = None,
    calibrated_on: Sequence[Path] = (),
) -> None:
    """Put a receipt into a file that was just written: what made it of what, and what it does with the test image.

    Where the source has a receipt, its step stands before the new one, so the order of the verbs and the images that
    they saw are kept. A file without a header is left as it is.

    Args:
        path: the file.
        by_verb: the verb that wrote it, such as `quantize`.
        source: the file that it was made from.
        did: what the verb did, as JSON has it; None, the default, says nothing more.
        calibrated_on: the images that it was calibrated on; none by default.
    """
    if path.suffix.lower() not in CARRIERS:
        return
    row: dict[str, Any] = {"step": by_verb, "did": dict(did or {})}
    try:
        runtime = opened(path)
        row |= identity(ModelFile(path), runtime, by(runtime))
    except SharpbitError as error:  # such as an engine that is not there: the file is good all the same
        row["error"] = str(error)
    before = last_receipt(source)
    earlier = {} if before is None else before.calibrated
    receipt = Receipt(
        by=by_verb,
        source={"name": source.name, "sha256": sha256_of(source)},
        calibrated=fingerprint(calibrated_on) if calibrated_on else earlier,
        steps=(*(() if before is None else before.taken), row),
        chosen=by_verb,
        versions=all_versions(),
    )
    write_receipt(path, path, receipt, overwrite=True)


def last_receipt(path: str | PathLike[str]) -> Receipt | None:
    """The receipt of a file; None where it has none, or is a file of somebody else."""
    file = ModelFile.of(path)
    header = file.header if file.suffix in CARRIERS else None
    table = header.history[-1] if header is not None and header.history else {}
    found = read(table, file.name) if table.get("verb") == Receipt.verb else None
    return found if isinstance(found, Receipt) else None  # an earlier one is of what it was made of


def write_receipt(made: Path, path: Path, receipt: Receipt, *, overwrite: bool = False) -> Header:
    """Write the file `made` to `path`, with the receipt as the last entry of its history."""
    file = ModelFile(made)
    header = file.verified
    assert header is not None
    header = replace(header, history=(*header.history, receipt.table()))
    content = with_header(file, header)
    with open_atomic(path, overwrite=overwrite) as out:
        out.write(content)
    return header


def all_versions() -> dict[str, str]:
    """The versions of sharpbit, Python, and the packages that work where they are installed."""
    found = {name: version for name, version in versions(PACKAGES).items() if version is not None}
    return {"sharpbit": __version__, "python": platform.python_version(), **found}


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
