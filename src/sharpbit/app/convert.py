"""`sharpbit reparameterize`: read, convert, prove, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app import dump
from sharpbit.errors import UsageError
from sharpbit.export import AUTHORS, EXPORTS, SUFFIXES
from sharpbit.reparam.receipt import EquivalenceReceipt, receipt
from sharpbit.system.atomic import check_target
from sharpbit.verbs.compression.receipts import add_receipt


def convert(
    source: str, target: str, form: str, *, overwrite: bool, as_json: bool, overrides: Mapping[str, Any] | None = None
) -> str:
    """Write `source` in a plain form to `target`, if the two are the same function, and say so.

    Raises:
        SharpbitError: `target` exists or is none of `.safetensors`, `.onnx` and `.pth`, `source` is no model or has no
            such form, or the two differ.
    """
    path = Path(target)
    writers = {".safetensors": models.save, ".onnx": EXPORTS["onnx"], SUFFIXES[AUTHORS]: EXPORTS[AUTHORS]}
    if path.suffix.lower() not in writers:
        raise UsageError(f"the result can be {' or '.join(writers)}, not {path.name!r}")
    check_target(path, overwrite=overwrite)
    before = models.load(zoo.path_of(source), **(overrides or {}))
    after = models.reparameterize(before, form)
    proof = receipt(before.net, after.net, before.scale)
    proof.check()
    writers[path.suffix.lower()](after, path, overwrite=overwrite)
    did = {"form": form, "layers": proof.layers, "parameters": proof.parameters, "differs": proof.double}
    add_receipt(path, "reparameterize", zoo.path_of(source), did=did)
    return dump({"file": target, "form": form, **asdict(proof)}) if as_json else f"{target}\n{_lines(proof)}"


def _lines(proof: EquivalenceReceipt) -> str:
    sizes = ", ".join(f"{height}x{width}" for height, width in proof.sizes)
    facts = {
        "layers": "{:,} -> {:,}".format(*proof.layers),
        "parameters": "{:,} -> {:,}".format(*proof.parameters),
        "largest difference": f"{proof.difference:.2g} over whole images, in float32",
        "at the border": f"{proof.border:.2g} in what the outermost pixels become",
        "in float64": f"{proof.double:.2g}",
        "tried": f"random images of {sizes} pixels",
    }
    return "\n".join(f"{key:<20}{value}" for key, value in facts.items())
