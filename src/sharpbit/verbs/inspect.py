"""What a model file holds and what its network costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from sharpbit import modelfile, zoo
from sharpbit.cost import bitops, memory
from sharpbit.cost.bitops import BitCost, LayerBits
from sharpbit.cost.macs import INPUT
from sharpbit.cost.per_patch import layer_parameters, summary
from sharpbit.cost.two_pass_patches import TwoPassCost
from sharpbit.errors import ModelError, SharpbitError, UsageError
from sharpbit.graph.values import stated
from sharpbit.model import Model, described, load, scales_of
from sharpbit.model.foreign import of_module, of_onnx
from sharpbit.modelfile import Header, ModelFile, integer_graph, integer_graph_payload, integer_pair
from sharpbit.modelfile import integer_chain as integer
from sharpbit.modelfile.integer_graph_arithmetic import operator
from sharpbit.nn import receptive_field
from sharpbit.quant.frozen import QDQ
from sharpbit.quant.grid import Fixed
from sharpbit.quant.refqsr import REFERENCE, TwoPass
from sharpbit.quant.refqsr.switch import one_pass
from sharpbit.runtime import open_engine
from sharpbit.twopass.patches import grid
from sharpbit.verbs.inspection import Inspection
from sharpbit.verbs.receipt import stored

__all__ = ["Inspection", "inspect"]


def inspect(
    model: str | Path | Model | nn.Module,
    output_size: tuple[int, int] | None = None,
    *,
    patch: int | None = None,
    step: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Inspection:
    """Facts of a model file: network, parameters, MACs, BitOPs, memory, history, licence.

    Costs are counted on the network's operators, not measured; `sharpbit.bench` measures.

    Args:
        model: a model, any network in PyTorch, an embedded name, or the path of a `.pth`, `.safetensors` or `.onnx`
            file. The network of an ONNX file is known from its header, or from its operators where all are known.
        output_size: height and width in pixels of the upscaled image whose cost is counted; by default what an LR image
            of 640x360 becomes, as in the published tables.
        patch: side in LR pixels of the overlapping patches that the image is cut into, as the papers on adaptive
            quantization do; by default it is left whole.
        step: distance in LR pixels between the beginnings of neighbouring patches; by default `patch`.
        overrides: architecture (`arch`) and sizes of published weights, where weights do not tell them; see
            `sharpbit.load`.

    Raises:
        ModelError: there is no such file, or it is not a model.
        UsageError: the size is no multiple of the scale, or the step leaves gaps between patches.

    Examples:
        >>> import sharpbit
        >>> facts = sharpbit.inspect("x2-clean-balanced")
        >>> facts.architecture, facts.scale, facts.precision
        ('integer', 2, 'int8')

    Source: `sharpbit.cost.macs`, `sharpbit.cost.bitops` and `sharpbit.cost.published` name the rules of counting.
    """
    if isinstance(model, nn.Module):
        model = of_module(model)
    if isinstance(model, Model):
        known: dict[str, Any] = {
            "file": "",
            "bytes": stored(model.net),
            "history": tuple(entry.table() for entry in model.history),
        }
        how = TwoPass.of(model.history)
        return Inspection(name=model.header().name, **known, **_counted(model, how, output_size, patch, step))
    file = zoo.open_file(str(model))
    path = file.path
    if not path.is_file():
        raise ModelError(f"{path} is a folder, not a model file")
    facts: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size}
    header: Header | None = None
    opened: Model | None
    if path.suffix.lower() == ".onnx":
        header = file.verified
        if overrides and (header is not None or set(overrides) != {"range"}):
            raise UsageError(f"{path} has a header that says everything; leave {', '.join(overrides)} out")
        facts["operators"] = file.operators
        opened = _foreign(file, overrides or {}, facts) if header is None else described(header)
    elif path.suffix.lower() == ".sharpbit" and (told := file.header) and told.architecture in _WHOLE_NUMBERS:
        return Inspection(**facts, **_said(told), **_WHOLE_NUMBERS[told.architecture](file, output_size))
    else:
        opened = load(file, **(overrides or {}))
        if path.suffix.lower() in (".safetensors", ".sharpbit"):
            header = file.header
    if header is not None:
        facts |= _said(header)
    elif opened is not None and opened.history:  # of published quantized weights
        facts["history"] = tuple(entry.table() for entry in opened.history)
    if opened is not None:
        two_pass = TwoPass.of(opened.history if header is None else header.history)
        facts = {**_counted(opened, two_pass, output_size, patch, step), **facts}  # the engine of a file knows more
        if path.suffix.lower() == ".onnx" and header is not None:
            facts["receptive_field"] = header.receptive_field  # the network beside the file has no weights
            facts["notes"] = () if modelfile.several(header.history) else _integer_layers(file, header)
    if header is not None and (entry := modelfile.several(header.history)) and entry["verb"] == modelfile.PAIR:
        facts["small"] = _small(header, entry["cheap"], facts["input_size"])
    return Inspection(**facts)


def _foreign(file: ModelFile, given: Mapping[str, Any], facts: dict[str, Any]) -> Model | None:
    """An ONNX file of somebody else: what was found of it, and its network where all operators are known."""
    if "range" in given:
        file.white = stated(given["range"])
    notes, reason = list[str](), ""
    opened: Model | None = None
    try:
        runtime = open_engine(file, "onnx")
        notes += runtime.notes
        facts["receptive_field"] = None if runtime.halo is None else 2 * runtime.halo + 1
    except ModelError as error:
        reason = str(error)
        notes.append(f"ONNX Runtime does not run it: {reason}")
    try:
        opened = of_onnx(file, 1.0)  # what means white changes no number of operations
    except ModelError as error:
        notes += [] if str(error) == reason else [str(error)]
    facts["notes"] = tuple(notes)
    return opened


def _integer_layers(file: ModelFile, header: Header) -> tuple[str, ...]:
    """How many layers of a file that rounds run in integers in ONNX Runtime, which its header does not tell."""
    if not header.precision.startswith("W"):
        return ()
    try:
        return tuple(note for note in open_engine(file, "onnx", threads=1).notes if "in integers" in note)
    except SharpbitError as error:  # a file that does not run, or nothing that runs it, is described nevertheless
        return (f"ONNX Runtime does not run it: {error}",)


def _of_graph(file: ModelFile, output_size: tuple[int, int] | None) -> dict[str, Any]:
    """The facts of an integer graph."""
    graph, header = integer_graph_payload.read(file)
    size, output = _sizes(graph.scale, output_size)
    return {
        "architecture": header.architecture,
        "config": header.config,
        "scale": graph.scale,
        "parameters": graph.parameters,
        "macs": round(graph.macs * size[0] * size[1]),
        "input_size": size,
        "output_size": output,
        "receptive_field": header.receptive_field,
        "operators": dict(Counter(operator(node) for node in graph.nodes).most_common()),
    }


def _of_pair(file: ModelFile, output_size: tuple[int, int] | None) -> dict[str, Any]:
    """The facts of an integer pair: those of the large network, and the small one beside it."""
    pair, header = integer_pair.read(file)
    entry = modelfile.several(header.history)
    if entry is None:
        raise ModelError(f"{file}: its header does not tell of what the pair was made; get it again")
    size, output = _sizes(pair.scale, output_size)
    small = {key: entry["cheap"][key] for key in ("name", "architecture", "config", "parameters")}
    return {
        "architecture": header.architecture,
        "config": header.config,
        "scale": pair.scale,
        "parameters": entry["costly"]["parameters"],
        "macs": round(pair.large.macs * size[0] * size[1]),
        "input_size": size,
        "output_size": output,
        "receptive_field": header.receptive_field,
        "small": {**small, "macs": round(pair.small.macs * size[0] * size[1])},
    }


_WHOLE_NUMBERS = {integer_graph.ARCHITECTURE: _of_graph, integer_pair.ARCHITECTURE: _of_pair}


def _sizes(scale: int, output_size: tuple[int, int] | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of the image, and of what it becomes."""
    height, width = output_size or (INPUT[0] * scale, INPUT[1] * scale)
    if height % scale or width % scale:
        raise UsageError(f"an x{scale} network makes no image of {width}x{height}; give multiples of {scale}")
    return (height // scale, width // scale), (height, width)


def _said(header: Header) -> dict[str, Any]:
    said = {key: getattr(header, key) for key in ("name", "precision", "licence", "data", "history")}
    return {**said, "metrics": tuple(asdict(metric) for metric in header.metrics)}


def _counted(
    model: Model, two_pass: TwoPass | None, output_size: tuple[int, int] | None, patch: int | None, step: int | None
) -> dict[str, Any]:
    scale = model.scale
    size, (height, width) = _sizes(scale, output_size)
    sizes = Counter([size])
    if patch is not None:
        pieces = grid(*size, patch, patch if step is None else step)
        sizes = Counter((one.rows.stop - one.rows.start, one.columns.stop - one.columns.start) for one in pieces)
    if two_pass is not None:
        whole, model = model, replace(model, net=one_pass(model.net, REFERENCE))
    cost = bitops.total([(bitops.count(model.net, one), number) for one, number in sizes.items()])
    pixels = sum(one[0] * one[1] * number for one, number in sizes.items())
    rounds = any(isinstance(part, Fixed | QDQ) for part in model.net.modules())
    facts = _rounded(model, cost, pixels) if rounds else {}
    whole_numbers = model.arch.name == integer.ARCHITECTURE  # here in float32, but engines keep a few rows of bytes
    operators, tensors = dict(cost.operators), cost.tensors
    if two_pass is not None:
        counter = TwoPassCost(model.arch.name, whole.net, model.arch.build(model.config), two_pass)
        facts["two_passes"] = _two_passes(whole, counter, two_pass, patch, step)
        others, unread = counter.uncounted((two_pass.patch, two_pass.patch))
        operators = {name: max(operators.get(name, 0), others.get(name, 0)) for name in (*operators, *others)}
        tensors = tuple(name for name in tensors if name in unread)
    return facts | {
        "architecture": model.arch.name,
        "config": asdict(model.config),
        "scale": scale,
        "scales": scales_of(model.config),
        "parameters": model.parameters,
        "macs": cost.macs,
        "input_size": size,
        "output_size": (height, width),
        "patches": sizes.total(),
        "peak_bytes": None if whole_numbers else max(memory.peak(model.net, one) for one in sizes),
        "layers": () if whole_numbers else _listed(model, cost.layers),
        "receptive_field": receptive_field(model.net, scale),
        "uncounted_operators": operators,
        "uncounted_tensors": tensors,
    }


def _two_passes(
    model: Model, counter: TwoPassCost, two_pass: TwoPass, patch: int | None, step: int | None
) -> dict[str, Any]:
    """What `Inspection.two_passes` holds."""
    side = patch or two_pass.patch
    step = side - two_pass.shared if step is None else step
    size, passes = (side, side), []
    for name, other in (("reference", None), ("query", size)):
        numbers = counter.patch(size, other, side)
        passes.append(
            {
                "name": name,
                "macs": numbers["macs"],
                "bitops": numbers["bitops"],
                "published_bitops": numbers["published"],
                "fqr": sum(numbers["bits"]) / len(numbers["bits"]),
                "feature_bits": numbers["feature_bits"],
                "layers": _listed(model, counter.layers(size, other)),
            }
        )
    refers = [asdict(one) for one in counter.refers(size)]
    return {"patch": side, "step": step, "threshold": two_pass.threshold, "passes": passes, "refers": refers}


def _small(header: Header, part: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    sizes = {key: part[key] for key in ("name", "architecture", "config", "parameters")}
    model = described(replace(header, history=tuple(part["history"]), **sizes))
    return {**sizes, "macs": bitops.count(model.net, size).macs}


def _listed(model: Model, layers: Iterable[LayerBits]) -> tuple[dict[str, Any], ...]:
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
        for layer in layers
    )


def _rounded(model: Model, cost: BitCost, pixels: int) -> dict[str, Any]:
    plain = model.arch.build(model.config)
    return {
        "bitops": cost.bitops,
        "feature_bits": cost.feature_bits,
        "bytes_at_width": cost.bytes,
        **summary(model.arch.name, model.net, plain, pixels),
    }
