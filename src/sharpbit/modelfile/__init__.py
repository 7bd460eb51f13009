"""The header that every model file carries, read and checked without torch (the format: docs/format.md).

A safetensors file holds it under the key `sharpbit` of `__metadata__`, an ONNX file under the same key of
`metadata_props`, a native file at its start; all as one JSON object.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sharpbit.errors import ModelError
from sharpbit.modelfile.container import KEY, MAGIC, NATIVE, contents, digest, split
from sharpbit.modelfile.header import PAIR, REFQSR, Header, Metric, several
from sharpbit.modelfile.onnx import Initializer, initializers, operators

__all__ = [
    "KEY",
    "PAIR",
    "REFQSR",
    "Header",
    "Initializer",
    "Metric",
    "digest",
    "initializers",
    "native",
    "operators",
    "payload",
    "read",
    "several",
    "stamp",
]


def read(path: Path, *, verify: bool = False) -> Header | None:
    """The header of a model file, or None if it is a safetensors or ONNX file of somebody else.

    Args:
        path: `.safetensors`, `.onnx` or `.sharpbit`.
        verify: also compare the payload with the sha256 of the header.

    Raises:
        ModelError: not such a file, an unknown format version, or a payload that does not match.
    """
    data = contents(path)
    text, payload = split(data, path)
    if text is None:
        return None
    header = Header.from_json(text, str(path))
    if verify and header.sha256 != digest(payload):
        raise ModelError(
            f"{path}: the payload does not match the sha256 of its header; the file is damaged, get it again"
        )
    return header


def stamp(header: Header, data: bytes, path: Path) -> Header:
    """The same header with the sha256 of the payload of `data`, a file that is about to be written to `path`."""
    return replace(header, sha256=digest(split(data, path)[1]))


def native(header: Header, payload: bytes) -> tuple[Header, bytes]:
    """A native file: the header, now with the sha256 of the payload, and all bytes of the file (docs/format.md)."""
    header = replace(header, sha256=digest([payload]))
    text = header.to_json().encode()
    start = MAGIC + NATIVE.to_bytes(4, "little") + len(text).to_bytes(4, "little") + text
    return header, start + bytes(-len(start) % 64) + payload


def payload(path: Path) -> bytes:
    """The payload of a native file.

    Raises:
        ModelError: not such a file.
    """
    return b"".join(split(contents(path), path)[1])
