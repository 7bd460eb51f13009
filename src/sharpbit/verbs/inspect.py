"""What a model file holds and what its network costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sharpbit import modelfile, zoo
from sharpbit.cost import bitops, memory
from sharpbit.cost.bitops import BitCost
from sharpbit.cost.macs import INPUT
from sharpbit.cost.per_patch import layer_parameters, summary
from sharpbit.errors import ModelError, UsageError
from sharpbit.model import Model, described, load
from sharpbit.modelfile import Header
from sharpbit.modelfile import integer_chain as integer
from sharpbit.nn import receptive_field
from sharpbit.quant.freeze import QDQ
from sharpbit.quant.grid import Fixed
from sharpbit.twopass.patches import grid


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
        macs: multiply-accumulate operations for an image of `input_size` (rules: `sharpbit.cost.macs`).
        input_size: height and width.
        output_size: height and width.
        receptive_field: side in input pixels of what one output pixel sees; None also where it sees everything.
        operators: of an ONNX file, with how often each occurs.
        patches: how many patches the image is cut into; 1 where it is left whole.
        peak_bytes: memory of activations at the worst moment of the image, or of its largest patch
            (`sharpbit.cost.memory`).
        bitops: of a quantized network, MACs x bits x bits over all its layers (rules: `sharpbit.cost.bitops`). Where
            patches choose their bits, this and the four that follow are the most that it can be.
        published_bitops: the same by the papers' rule (`sharpbit.cost.published`), where there is one.
        fqr: of a quantized network, mean bits of the activations that it rounds.
        feature_bits: of a quantized network, mean bits of all values that are multiplied.
        bytes_at_width: of a quantized network, what its numbers take at their widths.
        adaptive: whether patches choose their bits.
        layers: each operator that multiplies: name, operator, parameters, macs, act and weight (bits), bitops.
        uncounted_operators: calls of each operator that no rule counts.
        uncounted_tensors: stored tensors that no counted operator reads.
        name: from the header, as all that follow.
        precision: of weights and arithmetic.
        licence: of the weights.
        data: what it was trained on.
        history: what was done to the weights.
        metrics: measured numbers.
        cheap: of a pair, whose costly network is what is counted above: name, architecture, config, parameters and macs
            of the cheap one.
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
    patches: int | None = None
    peak_bytes: int | None = None
    bitops: float | None = None
    published_bitops: float | None = None
    fqr: float | None = None
    feature_bits: float | None = None
    bytes_at_width: int | None = None
    adaptive: bool = False
    layers: tuple[dict[str, Any], ...] = ()
    uncounted_operators: dict[str, int] = field(default_factory=dict)
    uncounted_tensors: tuple[str, ...] = ()
    name: str | None = None
    precision: str | None = None
    licence: str | None = None
    data: str | None = None
    history: tuple[dict[str, Any], ...] = ()
    metrics: tuple[dict[str, Any], ...] = ()
    cheap: dict[str, Any] | None = None


def inspect(
    model: str | Path,
    output_size: tuple[int, int] | None = None,
    *,
    patch: int | None = None,
    step: int | None = None,
) -> Inspection:
    """Look into a model file.

    Args:
        model: `.pth`, `.safetensors`, `.onnx` or an embedded name. The network of an ONNX file is known from its header
            alone; without one only its operators are told.
        output_size: height and width of the upscaled image whose cost is counted; by default what 640x360 becomes,
            as in the published tables.
        patch: count the overlapping patches into which the papers on adaptive quantization cut an image: their side.
        step: from patch to patch.

    Raises:
        ModelError: no such file, or not a model.
        UsageError: a size that is no multiple of the scale, or a step that leaves gaps.
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
        facts |= _counted(opened, output_size, patch, step)
        if path.suffix.lower() == ".onnx" and header is not None:
            facts["receptive_field"] = header.receptive_field  # the network beside the file has no weights
    if header is not None and (entry := modelfile.several(header.history)) and entry["verb"] == modelfile.PAIR:
        facts["cheap"] = _cheap(header, entry["cheap"], facts["input_size"])
    return Inspection(**facts)


def _said(header: Header) -> dict[str, Any]:
    said = {key: getattr(header, key) for key in ("name", "precision", "licence", "data", "history")}
    return {**said, "metrics": tuple(asdict(metric) for metric in header.metrics)}


def _counted(model: Model, output_size: tuple[int, int] | None, patch: int | None, step: int | None) -> dict[str, Any]:
    scale = model.scale
    height, width = output_size or (INPUT[0] * scale, INPUT[1] * scale)
    if height % scale or width % scale:
        raise UsageError(f"an x{scale} network makes no image of {width}x{height}; give multiples of {scale}")
    size = height // scale, width // scale
    sizes = Counter([size])
    if patch is not None:
        pieces = grid(*size, patch, patch if step is None else step)
        sizes = Counter((one.rows.stop - one.rows.start, one.columns.stop - one.columns.start) for one in pieces)
    cost = bitops.total([(bitops.count(model.net, one), number) for one, number in sizes.items()])
    pixels = sum(one[0] * one[1] * number for one, number in sizes.items())
    rounds = any(isinstance(part, Fixed | QDQ) for part in model.net.modules())
    facts = _rounded(model, cost, pixels) if rounds else {}
    return facts | {
        "architecture": model.arch.name,
        "config": asdict(model.config),
        "scale": scale,
        "parameters": model.parameters,
        "macs": cost.macs,
        "input_size": size,
        "output_size": (height, width),
        "patches": sizes.total(),
        "peak_bytes": max(memory.peak(model.net, one) for one in sizes),
        "layers": _layers(model, cost) if model.arch.name != integer.ARCHITECTURE else (),
        "receptive_field": receptive_field(model.net, scale),
        "uncounted_operators": dict(cost.operators),
        "uncounted_tensors": cost.tensors,
    }


def _cheap(header: Header, told: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    sizes = {key: told[key] for key in ("name", "architecture", "config", "parameters")}
    model = described(replace(header, history=tuple(told["history"]), **sizes))
    return {**sizes, "macs": bitops.count(model.net, size).macs}


def _layers(model: Model, cost: BitCost) -> tuple[dict[str, Any], ...]:
    left = layer_parameters(model.net)  # of a layer that runs more than once they count the first time
    return tuple(
        {
            "name": layer.name,
            "operator": layer.operator,
            "parameters": left.pop(layer.name, 0),
            "macs": layer.macs,
            "act": layer.act,
            "weight": layer.weight,
            "bitops": layer.bitops,
        }
        for layer in cost.layers
    )


def _rounded(model: Model, cost: BitCost, pixels: int) -> dict[str, Any]:
    plain = model.arch.build(model.config)
    return {
        "bitops": cost.bitops,
        "feature_bits": cost.feature_bits,
        "bytes_at_width": cost.bytes,
        **summary(model.arch.name, model.net, plain, pixels),
    }
