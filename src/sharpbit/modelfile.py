"""The header that every model file carries, read and checked without torch (the format: docs/format.md).

A safetensors file holds it under the key `sharpbit` of `__metadata__`, an ONNX file under the same key of
`metadata_props`, a native file at its start; all as one JSON object.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sharpbit.errors import ModelError

FORMAT = 1
KEY = "sharpbit"
MAGIC = b"SHARPBIT"
NATIVE = 1  # version of the native file
REFQSR, PAIR = "refqsr", "pair"  # verbs of files with several graphs, of which an input `task` chooses
_MAX_HEADER = 1 << 24


@dataclass(frozen=True)
class Metric:
    """One measured number and how it was obtained.

    Attributes:
        name: such as `psnr`.
        value: in dB for PSNR.
        data: the pictures, such as `Set5`.
        protocol: channel, border, how the small pictures were made, what was measured.
    """

    name: str
    value: float
    data: str
    protocol: str


@dataclass(frozen=True)
class Header:
    """What a model file says of itself.

    Attributes:
        name: scale first, such as `x2-clean-balanced`.
        architecture: a name of the architecture catalog.
        config: the architecture's sizes.
        scale: upscaling factor.
        receptive_field: side in input pixels of what one output pixel sees; None where it sees everything.
        parameters: number of stored values.
        precision: of weights and arithmetic, such as `float32`.
        colour: channel order of the picture in and out.
        range: the values that stand for black and white.
        history: what was done to the weights, oldest first.
        data: what it was trained on, with its licence.
        licence: of the weights (SPDX).
        metrics: measured numbers.
        format: version of this header.
        sha256: of the payload, see `digest`; empty until the file is written.
    """

    name: str
    architecture: str
    config: dict[str, Any]
    scale: int
    receptive_field: int | None
    parameters: int
    precision: str = "float32"
    colour: str = "RGB"
    range: tuple[float, float] = (0.0, 1.0)
    history: tuple[dict[str, Any], ...] = ()
    data: str = ""
    licence: str = ""
    metrics: tuple[Metric, ...] = field(default=())
    format: int = FORMAT
    sha256: str = ""

    @property
    def halo(self) -> int | None:
        """Input pixels around a tile that its output depends on."""
        return None if self.receptive_field is None else self.receptive_field // 2

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> Header:
        """Read and check a header; `source` names the file in errors."""
        try:
            values = json.loads(text)
            version = values["format"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ModelError(f"{source}: its sharpbit header is not the JSON object that it should be") from None
        if version != FORMAT:
            raise ModelError(
                f"{source}: model file format {version!r} is not known to this sharpbit, which reads format {FORMAT};"
                " update sharpbit"
            )
        try:
            values["metrics"] = tuple(Metric(**metric) for metric in values.get("metrics", ()))
            values["history"] = tuple(values.get("history", ()))
            values["range"] = tuple(values.get("range", (0.0, 1.0)))
            header = cls(**values)
            _check(header)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{source}: its sharpbit header is damaged ({error})") from None
        return header


def read(path: Path, *, verify: bool = False) -> Header | None:
    """The header of a model file, or None if it is a safetensors or ONNX file of somebody else.

    Args:
        path: `.safetensors`, `.onnx` or `.sharpbit`.
        verify: also compare the payload with the sha256 of the header.

    Raises:
        ModelError: not such a file, an unknown format version, or a payload that does not match.
    """
    data = _bytes(path)
    text, payload = _split(data, path)
    if text is None:
        return None
    header = Header.from_json(text, str(path))
    if verify and header.sha256 != digest(payload):
        raise ModelError(
            f"{path}: the payload does not match the sha256 of its header; the file is damaged, get it again"
        )
    return header


def several(history: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What a file in two passes, or of a pair, says of its several graphs; None of a file with one."""
    return next((entry for entry in history if entry.get("verb") in (REFQSR, PAIR)), None)


def stamp(header: Header, data: bytes, path: Path) -> Header:
    """The same header with the sha256 of the payload of `data`, a file that is about to be written to `path`."""
    return replace(header, sha256=digest(_split(data, path)[1]))


def digest(payload: list[bytes | memoryview]) -> str:
    """SHA-256 in hexadecimal of the payload: all that is not header.

    ONNX: every field of the model except `metadata_props`, tags included, in the order of the file. Safetensors: the
    JSON of the tensor table with sorted keys and no spaces, then the data.
    """
    total = hashlib.sha256()
    for piece in payload:
        total.update(piece)
    return total.hexdigest()


def _check(header: Header) -> None:
    texts = [header.name, header.architecture, header.precision, header.colour, header.data, header.licence]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is not a text")
    if not isinstance(header.config, dict):
        raise ValueError("config is not an object")
    if type(header.scale) is not int or not 1 <= header.scale <= 16:
        raise ValueError(f"scale {header.scale!r} is not a whole number from 1 to 16")
    seen = header.receptive_field
    if seen is not None and (type(seen) is not int or not 1 <= seen <= 4095 or seen % 2 == 0):
        raise ValueError(f"receptive_field {seen!r} is not an odd number from 1 to 4095")
    low_high = header.range
    if len(low_high) != 2 or not all(_is_number(value) for value in low_high) or low_high[0] >= low_high[1]:
        raise ValueError(f"range {header.range!r} is not two numbers, the lower first")
    if type(header.parameters) is not int or not isinstance(header.sha256, str):
        raise ValueError("parameters is not a number or sha256 not a text")
    for metric in header.metrics:
        if not _is_number(metric.value) or not all(
            isinstance(x, str) for x in (metric.name, metric.data, metric.protocol)
        ):
            raise ValueError(f"metric {metric.name!r} is not a number with its texts")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _bytes(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a model file") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None


def _split(data: bytes, path: Path) -> tuple[str | None, list[bytes | memoryview]]:
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
    raise ModelError(f"{path}: a model file ends in .onnx, .sharpbit or .safetensors, not {suffix or 'nothing'!r}")


def _split_safetensors(data: bytes) -> tuple[str | None, list[bytes | memoryview]]:
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= min(len(data) - 8, _MAX_HEADER):
        raise ValueError("header size")
    table = json.loads(data[8 : 8 + size])
    metadata = table.pop("__metadata__", {})
    for entry in table.values():
        if entry["data_offsets"][1] > len(data) - 8 - size:
            raise ValueError("data is cut off")
    canonical = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    return metadata.get(KEY), [canonical, memoryview(data)[8 + size :]]


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
    return b"".join(_split(_bytes(path), path)[1])


def _split_onnx(data: memoryview) -> tuple[str | None, list[bytes | memoryview]]:
    text = None
    payload: list[bytes | memoryview] = []
    has_graph = False
    for number, whole, content in _fields(data):
        has_graph |= number == 7
        if number != 14:  # ModelProto.metadata_props
            payload.append(whole)
            continue
        pair = {key: bytes(value).decode() for key, _, value in _fields(content)}
        if pair.get(1) == KEY:
            text = pair.get(2, "")
    if not has_graph:
        raise ValueError("no graph")
    return text, payload


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a protocol buffer message: number, all bytes of the field, its content."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                end = _varint(data, position)[1]
            case 1:
                end = position + 8
            case 2:
                size, position = _varint(data, position)
                end = position + size
            case 5:
                end = position + 4
            case _:
                raise ValueError("wire type")
        if tag >> 3 == 0 or end > len(data):
            raise ValueError("field is cut off")
        yield tag >> 3, data[start:end], data[position:end]
        position = end


@dataclass(frozen=True)
class Initializer:
    """A tensor of an ONNX file: its number in TensorProto.DataType, its shape, its bytes (little endian)."""

    kind: int
    shape: tuple[int, ...]
    data: bytes


def initializers(path: Path) -> dict[str, Initializer]:
    """The tensors of an ONNX file by name, those with raw data (GraphProto.initializer).

    Raises:
        ModelError: not a complete ONNX file.
    """
    found = {}
    try:
        graphs = [content for number, _, content in _fields(memoryview(_bytes(path))) if number == 7]
        for tensor in (tensor for graph in graphs for number, _, tensor in _fields(graph) if number == 5):
            name, kind, shape, data = "", 0, [], b""
            for number, _, content in _fields(tensor):
                match number:
                    case 1:
                        shape += _varints(content)
                    case 2:
                        kind = _varint(content, 0)[0]
                    case 8:
                        name = bytes(content).decode()
                    case 9:
                        data = bytes(content)
            found[name] = Initializer(kind, tuple(shape), data)
    except (ValueError, IndexError):
        raise ModelError(f"{path} is not a complete onnx file; get it again") from None
    return found


def _varints(data: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(data):
        value, position = _varint(data, position)
        values.append(value)
    return values


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint")


def operators(path: Path) -> dict[str, int]:
    """How often each operator occurs in an ONNX file, branches included, most frequent first (NodeProto.op_type).

    Raises:
        ModelError: not a complete ONNX file.
    """
    try:
        graphs = [content for number, _, content in _fields(memoryview(_bytes(path))) if number == 7]
        names = [name for graph in graphs for name in _operators(graph)]
    except (ValueError, IndexError, UnicodeDecodeError, RecursionError):
        raise ModelError(f"{path} is not a complete onnx file; get it again") from None
    return dict(Counter(names).most_common())


def _operators(graph: memoryview) -> Iterator[str]:
    for node in (content for number, _, content in _fields(graph) if number == 1):
        for number, _, content in _fields(node):
            if number == 4:
                yield bytes(content).decode()
            elif number == 5:  # AttributeProto
                for inner in (value for field, _, value in _fields(content) if field == 6):
                    yield from _operators(inner)
