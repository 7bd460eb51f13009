"""The bytes of a model file with another header; the payload stays as it is, and so does its sha256."""

from __future__ import annotations

import json

from sharpbit.errors import ModelError
from sharpbit.modelfile.container import KEY, MAGIC, NATIVE
from sharpbit.modelfile.file import ModelFile
from sharpbit.modelfile.header import Header
from sharpbit.modelfile.protobuf import fields, message

METADATA = 14  # ModelProto.metadata_props


def with_header(file: ModelFile, header: Header) -> bytes:
    """All bytes of `file` with `header` in place of its own.

    Args:
        file: A `.onnx`, `.sharpbit` or `.safetensors` file.
        header: The new header; it has the sha256 of the payload already.

    Raises:
        ModelError: It is none of these files.
    """
    if file.suffix == ".sharpbit":
        return native_start(header) + file.payload
    if file.suffix == ".onnx":
        return _onnx(memoryview(file.data), header.to_json())
    if file.suffix == ".safetensors":
        return _safetensors(file.data, header.to_json())
    raise ModelError(f"{file} has no header that could be written anew; it is no .onnx, .sharpbit or .safetensors file")


def native_start(header: Header) -> bytes:
    """A native file up to its payload."""
    text = header.to_json().encode()
    start = MAGIC + NATIVE.to_bytes(4, "little") + len(text).to_bytes(4, "little") + text
    return start + bytes(-len(start) % 64)


def _onnx(data: memoryview, text: str) -> bytes:
    kept = []
    for number, whole, content in fields(data):
        ours = number == METADATA and any(
            key == 1 and bytes(value) == KEY.encode() for key, _, value in fields(content)
        )
        if not ours:
            kept.append(bytes(whole))
    return b"".join(kept) + message([(METADATA, message([(1, KEY.encode()), (2, text.encode())]))])


def _safetensors(data: bytes, text: str) -> bytes:
    size = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + size])
    table["__metadata__"] = {**table.get("__metadata__", {}), KEY: text}
    head = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + data[8 + size :]
