"""An ONNX graph with a header in it, as a file."""

from __future__ import annotations

from pathlib import Path

import onnx

from sharpbit import modelfile
from sharpbit.modelfile import Header
from sharpbit.system.atomic import open_atomic


def save(proto: onnx.ModelProto, header: Header, path: Path, *, overwrite: bool) -> Header:
    """Write `proto` with `header`, which then has the sha256 of the payload.

    Raises:
        OutputExists: `path` exists and `overwrite` is false.
    """
    header = modelfile.stamp(header, proto.SerializeToString(), path)
    entry = proto.metadata_props.add()
    entry.key, entry.value = modelfile.KEY, header.to_json()
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(proto.SerializeToString())
    return header
