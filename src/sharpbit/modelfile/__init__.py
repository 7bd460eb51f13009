"""The header that every model file carries, read and checked without torch (the format: docs/format.md).

A safetensors file holds it under the key `sharpbit` of `__metadata__`, an ONNX file under the same key of
`metadata_props`, a native file at its start; all as one JSON object.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path

from sharpbit.modelfile.container import KEY, digest, split
from sharpbit.modelfile.file import ModelFile
from sharpbit.modelfile.header import FORMAT, PAIR, REFQSR, Header, Metric, several
from sharpbit.modelfile.rewrite import native_start, with_header

__all__ = [
    "KEY",
    "PAIR",
    "REFQSR",
    "Header",
    "Metric",
    "ModelFile",
    "digest",
    "native",
    "operators",
    "read",
    "several",
    "stamp",
    "with_header",
]


def read(file: str | PathLike[str], *, verify: bool = False) -> Header | None:
    """The header of a model file, or None if it is a safetensors or ONNX file of somebody else.

    Args:
        file: The path of a `.safetensors`, `.onnx` or `.sharpbit` file, or the file itself, already opened.
        verify: Whether the payload is compared with the sha256 of the header, which itself is always checked.

    Raises:
        ModelError: It is not such a file, of an unknown format version, its header is damaged, or its payload does not
            match.
    """
    opened = ModelFile.of(file)
    return opened.verified if verify else opened.header


def stamp(header: Header, data: bytes, path: Path) -> Header:
    """The same header with the sha256 of the payload of `data`, a file that is about to be written to `path`."""
    return replace(header, format=FORMAT, sha256=digest(split(data, path)[1]))


def native(header: Header, payload: bytes) -> tuple[Header, bytes]:
    """A native file: the header, now with the sha256 of the payload, and all bytes of the file (docs/format.md)."""
    header = replace(header, format=FORMAT, sha256=digest([payload]))
    return header, native_start(header) + payload


def operators(file: str | PathLike[str]) -> dict[str, int]:
    """How often each operator occurs in an ONNX file, branches included, most frequent first (NodeProto.op_type).

    Raises:
        ModelError: It is not a complete ONNX file.
    """
    return ModelFile.of(file).operators
