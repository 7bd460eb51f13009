"""The bytes of a model file, taken apart: the text of its header, and its payload, which is all the rest."""

from __future__ import annotations

import hashlib
import json
from math import prod
from pathlib import Path
from typing import Any

from sharpbit.errors import ModelError
from sharpbit.modelfile.protobuf import fields

KEY = "sharpbit"
MAGIC = b"SHARPBIT"
NATIVE = 1  # version of the native file
_MAX_HEADER = 1 << 24
_BITS = {  # of the types of safetensors
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


ENDINGS = ".pth, .safetensors, .onnx, .sharpbit, or .param beside .bin (ncnn)"


def contents(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a model file") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None


def split(data: bytes, path: Path) -> tuple[str | None, list[bytes | memoryview]]:
    """The text of the header, None if the file is somebody else's, and the payload; by the ending of `path`.

    Raises:
        ModelError: not a complete file of that format, or no known one.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".onnx":
            return _split_onnx(memoryview(data))
        if suffix == ".safetensors":
            return _split_safetensors(data)
        if suffix == ".sharpbit":
            return _split_native(data)
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise ModelError(f"{path} is not a complete {suffix[1:]} file; get it again") from None
    raise ModelError(f"{path}: a model file ends in {ENDINGS}, not in {suffix or 'nothing'}")


def _split_safetensors(data: bytes) -> tuple[str | None, list[bytes | memoryview]]:
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= min(len(data) - 8, _MAX_HEADER):
        raise ValueError("header size")
    table = json.loads(data[8 : 8 + size])
    metadata = table.pop("__metadata__", {})
    _check_tensors(table, len(data) - 8 - size)
    canonical = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    return metadata.get(KEY), [canonical, memoryview(data)[8 + size :]]


def _check_tensors(table: dict[str, Any], size: int) -> None:
    """Refuse a table of tensors that do not lie one behind the other in `size` bytes, each as large as it says."""
    end = 0
    for entry in sorted(table.values(), key=lambda entry: entry["data_offsets"]):
        first, last = entry["data_offsets"]
        sides = entry["shape"]
        if not all(type(number) is int and number >= 0 for number in (first, last, *sides)):
            raise ValueError("a size or place is no number")
        if first != end or (last - first) * 8 != prod(sides) * _BITS[entry["dtype"]]:
            raise ValueError("tensors do not lie where they should")
        end = last
    if end != size:
        raise ValueError("data is cut off, or nobody's")


def _split_native(data: bytes) -> tuple[str, list[bytes | memoryview]]:
    version, size = (int.from_bytes(data[at : at + 4], "little") for at in (8, 12))
    start = 16 + size + -(16 + size) % 64
    if (
        data[:8] != MAGIC
        or version != NATIVE
        or size > _MAX_HEADER
        or start > len(data)
        or any(data[16 + size : start])
    ):
        raise ValueError("start")
    return data[16 : 16 + size].decode(), [memoryview(data)[start:]]


def _split_onnx(data: memoryview) -> tuple[str | None, list[bytes | memoryview]]:
    text = None
    payload: list[bytes | memoryview] = []
    has_graph = False
    for number, whole, content in fields(data):
        has_graph |= number == 7
        if number != 14:  # ModelProto.metadata_props
            payload.append(whole)
            continue
        pair = {key: bytes(value).decode() for key, _, value in fields(content)}
        if pair.get(1) == KEY:
            text = pair.get(2, "")
    if not has_graph:
        raise ValueError("no graph")
    return text, payload


def digest(payload: list[bytes | memoryview]) -> str:
    """SHA-256 in hexadecimal of the payload: all that is not header.

    ONNX: every field of the model except `metadata_props`, tags included, in the order of the file. Safetensors: the
    JSON of the tensor table with sorted keys and no spaces, then the data.
    """
    total = hashlib.sha256()
    for piece in payload:
        total.update(piece)
    return total.hexdigest()
