"""The native format: an integer chain or graph as the engine of sharpbit reads it (docs/format.md)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sharpbit import modelfile
from sharpbit.arch.integer import Integer, chain_of
from sharpbit.errors import UsageError
from sharpbit.model import Model
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_graph_payload import native_file
from sharpbit.quant.graph.network import IntegerGraphNetwork
from sharpbit.system.atomic import open_atomic


def export(model: Model, path: Path, *, overwrite: bool = False) -> Header:
    """Write an integer model as `.sharpbit`.

    Raises:
        UsageError: `path` does not end in `.sharpbit`, or the model is not in integers.
        OutputExists: `path` exists and `overwrite` is false.
    """
    if path.suffix.lower() != ".sharpbit":
        raise UsageError(f"a native model is saved as .sharpbit, not {path.name!r}")
    if not isinstance(model.net, Integer | IntegerGraphNetwork):
        raise UsageError(
            f"the native format holds networks in integers, and {model.called} is none; sharpbit quantize makes one of"
            " the float network (--calibrate FOLDER -o NAME.sharpbit)"
        )
    header = model.header()
    if isinstance(model.net, IntegerGraphNetwork):
        header, data = native_file(model.net.graph, header)
    else:
        sizes = {"scale": model.scale, "hidden": header.config.get("hidden", [])}  # the payload has the rest
        header = replace(header, config=sizes, range=(0.0, 255.0))
        header, data = modelfile.native(header, chain_of(model.net).payload())
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(data)
    return header


EXPORT = export
