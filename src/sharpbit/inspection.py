"""What a model file holds and what its network costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sharpbit import modelfile, zoo
from sharpbit.cost import bitops
from sharpbit.cost.macs import INPUT, count
from sharpbit.errors import ModelError, UsageError
from sharpbit.model import Model, described, load
from sharpbit.modelfile import Header
from sharpbit.nn import receptive_field
from sharpbit.quant.freeze import QDQ
from sharpbit.quant.grid import Fixed


@dataclass(frozen=True)
class Inspection:
    """Facts of a model file. What cannot be told of this kind of file is None.

    Attributes:
        file: its path.
        bytes: its size.
        architecture: a name of the architecture catalog.
        config: the architecture's sizes.
        scale: upscaling factor.
        parameters: number of stored values.
        macs: multiply-accumulate operations for a picture of `input_size` (rules: `sharpbit.cost.macs`).
        input_size: height and width.
        output_size: height and width.
        receptive_field: side in input pixels of what one output pixel sees; None also where it sees everything.
        operators: of an ONNX file, with how often each occurs.
        bitops: of a quantized network, MACs x bits x bits over all its layers (rules: `sharpbit.cost.bitops`).
        bytes_at_width: of a quantized network, what its numbers take at their widths.
        layers: of a quantized network, each operator that multiplies: name, operator, macs, act and weight (bits).
        uncounted_operators: calls of each operator that no rule counts.
        uncounted_tensors: stored tensors that no counted operator reads.
        name: from the header, as all that follow.
        precision: of weights and arithmetic.
        licence: of the weights.
        data: what it was trained on.
        history: what was done to the weights.
        metrics: measured numbers.
    """

    file: str
    bytes: int
    architecture: str | None = None
    config: dict[str, Any] | None = None
    scale: int | None = None
    parameters: int | None = None
    macs: int | None = None
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    receptive_field: int | None = None
    operators: dict[str, int] = field(default_factory=dict)
    bitops: int | None = None
    bytes_at_width: int | None = None
    layers: tuple[dict[str, Any], ...] = ()
    uncounted_operators: dict[str, int] = field(default_factory=dict)
    uncounted_tensors: tuple[str, ...] = ()
    name: str | None = None
    precision: str | None = None
    licence: str | None = None
    data: str | None = None
    history: tuple[dict[str, Any], ...] = ()
    metrics: tuple[dict[str, Any], ...] = ()


def inspect(model: str | Path, output_size: tuple[int, int] | None = None) -> Inspection:
    """Look into a model file.

    Args:
        model: `.pth`, `.safetensors`, `.onnx` or an embedded name. The network of an ONNX file is known from its header
            alone; without one only its operators are told.
        output_size: height and width of the enlarged picture whose cost is counted; by default what 640x360 becomes,
            as in the published tables.

    Raises:
        ModelError: no such file, or not a model.
        UsageError: a size that is no multiple of the scale.
    """
    path = zoo.path_of(str(model))
    if not path.is_file():
        raise ModelError(f"{path} is a folder, not a model file")
    facts: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size}
    header: Header | None = None
    opened: Model | None
    if path.suffix.lower() == ".onnx":
        header = modelfile.read(path, verify=True)
        facts["operators"] = modelfile.operators(path)
        opened = None if header is None else described(header)
    else:
        opened = load(path)
        if path.suffix.lower() == ".safetensors":
            header = modelfile.read(path)
    if header is not None:
        facts |= _said(header)
    if opened is not None:
        facts |= _counted(opened, output_size)
        if path.suffix.lower() == ".onnx" and header is not None:
            facts["receptive_field"] = header.receptive_field  # the network beside the file has no weights
    return Inspection(**facts)


def _said(header: Header) -> dict[str, Any]:
    said = {key: getattr(header, key) for key in ("name", "precision", "licence", "data", "history")}
    return {**said, "metrics": tuple(asdict(metric) for metric in header.metrics)}


def _counted(model: Model, output_size: tuple[int, int] | None) -> dict[str, Any]:
    scale = model.scale
    height, width = output_size or (INPUT[0] * scale, INPUT[1] * scale)
    if height % scale or width % scale:
        raise UsageError(f"an x{scale} network makes no picture of {width}x{height}; give multiples of {scale}")
    cost = count(model.net, (height // scale, width // scale))
    facts = _rounded(model, cost.size) if any(isinstance(part, Fixed | QDQ) for part in model.net.modules()) else {}
    return facts | {
        "architecture": model.arch.name,
        "config": asdict(model.config),
        "scale": scale,
        "parameters": model.parameters,
        "macs": cost.macs,
        "input_size": cost.size,
        "output_size": (height, width),
        "receptive_field": receptive_field(model.net, scale),
        "uncounted_operators": dict(cost.operators),
        "uncounted_tensors": cost.tensors,
    }


def _rounded(model: Model, size: tuple[int, int]) -> dict[str, Any]:
    cost = bitops.count(model.net, size)
    return {
        "bitops": cost.bitops,
        "bytes_at_width": cost.bytes,
        "layers": tuple(asdict(layer) for layer in cost.layers),
    }
