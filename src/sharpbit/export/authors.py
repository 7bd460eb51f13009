"""The authors' own format: a `.pth` file whose tensors have the names of their classes, which load it strictly."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sharpbit.arch import ARCHITECTURES, Architecture, same
from sharpbit.arch.integer import Integer
from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.modelfile import Header
from sharpbit.modelfile.history import Reparameterize
from sharpbit.quant import core
from sharpbit.quant.graph.network import IntegerGraphNetwork
from sharpbit.quant.ptq.published_clipping import authors_state
from sharpbit.quant.qat.published_names import bits_in_name
from sharpbit.system.atomic import open_atomic

SUFFIX = ".pth"
OURS = ("bicubic", "carry", "graph", "integer")  # which nobody else has


def export(model: Model, path: Path, *, overwrite: bool = False) -> Header:
    """Write the weights of a float or quantized, but not frozen, model for the programs of its authors.

    Raises:
        UsageError: `path` does not end in `.pth`, or the authors have no names for such a model.
        OutputExists: `path` exists and `overwrite` is false.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"weights for the authors' programs are saved as {SUFFIX}, not {path.name!r}")
    state = {key: value.detach().cpu().contiguous() for key, value in named(model).items()}
    buffer = io.BytesIO()
    torch.save({model.arch.wrapper: state} if model.arch.wrapper else state, buffer)
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(buffer.getvalue())
    return replace(model.header(), sha256=hashlib.sha256(buffer.getvalue()).hexdigest())


def named(model: Model) -> Mapping[str, Tensor]:
    """The tensors of a model under the names of its authors.

    Raises:
        UsageError: they have none for such a model.
    """
    arch, net = model.arch, model.net
    if isinstance(net, Integer | IntegerGraphNetwork):
        raise UsageError("the authors' programs have no integers; write the float or the quantized model, not frozen")
    if arch.name == "graph":
        raise UsageError(
            f"{model.called} was read from the file of somebody else, whose names of tensors are not known; write it as"
            " .onnx, or save it as .safetensors"
        )
    if any(True for _ in core.quantizers(net)):
        if arch.clipped is None:
            raise UsageError(f"the authors of {arch.name} have published no network with clipping ranges")
        return authors_state(net, arch.clipped)
    if model.about.get("precision", "float32") != "float32":
        raise UsageError("the authors' programs have no frozen networks; write the one with clipping ranges")
    if arch.authors is not None:
        found = (entry.source for entry in reversed(model.history) if isinstance(entry, Reparameterize))
        return arch.authors(net.state_dict(), model.config, next(found, ""))
    if arch.rename is not same:
        known = [name for name in ARCHITECTURES if _has_names(ARCHITECTURES[name])]
        raise UsageError(f"the names of {arch.name} are read, but not written; written are those of {', '.join(known)}")
    return net.state_dict()


def unnamed_bits(model: Model, path: Path) -> str:
    """A sentence where clipping ranges are written to a name that lacks their bits, their only place; else empty."""
    bits = [fixed.bits for _, fixed in core.quantizers(model.net)]
    if not bits or bits_in_name(path) is not None:
        return ""
    return f"how many bits the ranges have stands in the name of such a file alone; put {min(bits)}bit into it"


def _has_names(arch: Architecture) -> bool:
    return arch.name not in OURS and (arch.authors is not None or arch.rename is same)


EXPORT = export
