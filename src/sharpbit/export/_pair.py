"""A large and a small network in one ONNX file: two exported files become branches of `If`.

The input `task` is one of `sharpbit.twopass.schedule.TASKS`: reference for the large network, query for the small
one. `picture` and `result` are as in files of one network, `(1, 3, height, width)` float32 RGB in `[0, 1]`; chains of
integers, which take bytes, are wrapped. PyTorch has no part in this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, inliner, version_converter

from sharpbit import modelfile
from sharpbit.errors import ModelError, UsageError
from sharpbit.export._file import save
from sharpbit.modelfile import Header
from sharpbit.twopass.schedule import QUERY, REFERENCE, TASKS

STRICT = ("NOASSERTION", "LicenseRef", "-NC", "GPL", "-SA")  # marks of licences (SPDX), the strictest first
UNKNOWN = STRICT[0]


@dataclass(frozen=True)
class Part:
    """One of the two networks: what its file says of it, and its graph."""

    header: Header
    proto: onnx.ModelProto


def part(path: Path) -> Part:
    """A file that can be one of a pair.

    Raises:
        UsageError: it holds more than one network.
        ModelError: no ONNX file of ours.
    """
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"a pair is made of .onnx files, not of {path.name!r}; 'sharpbit export' makes them")
    header = modelfile.read(path, verify=True)
    if header is None:
        raise ModelError(f"{path} has no sharpbit header; a pair is made of files from 'sharpbit export'")
    if modelfile.several(header.history) is not None:
        raise UsageError(f"{path} is a pair already, or in two passes; a pair is made of files with one graph each")
    try:
        proto = onnx.load(path)
    except Exception as error:  # of the protocol buffers, which share no base class
        raise ModelError(f"{path} cannot be read as ONNX ({type(error).__name__}); export it again") from None
    names = [item.name for item in (*proto.graph.input, *proto.graph.output)]
    if names != ["picture", "result"]:
        raise ModelError(f"{path} takes and gives {', '.join(names)}, not picture and result; export it again")
    return Part(header, proto)


def check(large: Header, small: Header) -> None:
    """See whether the two fit together.

    Raises:
        UsageError: they upscale by different factors.
    """
    if large.scale != small.scale:
        raise UsageError(
            f"{large.name} upscales {large.scale} times and {small.name} {small.scale};"
            " a pair takes two networks of one scale"
        )


def write(large: Part, small: Part, entry: Mapping[str, Any], path: Path, *, overwrite: bool = False) -> Header:
    """Write the pair.

    Args:
        large: the large network, for patches with much detail.
        small: the small network, for the others.
        entry: what the history says of it: `patch`, `shared`, `detail`, and where that comes from.
        path: ends in `.onnx`.
        overwrite: replace what is there.

    Raises:
        UsageError: two networks that do not fit together.
        OutputExists: `path` exists and `overwrite` is false.
    """
    check(large.header, small.header)
    return save(
        graph(large.proto, small.proto), header_of(large.header, small.header, entry), path, overwrite=overwrite
    )


def graph(large: onnx.ModelProto, small: onnx.ModelProto) -> onnx.ModelProto:
    """The file without its header."""
    opset = max(_opset(one) for one in (large, small))
    parts = [_plain(one, opset) for one in (large, small)]
    domains = {item.domain: item.version for one in parts for item in one.opset_import}
    branches = [branch(one, TASKS[task], ["result"]) for one, task in zip(parts, (REFERENCE, QUERY), strict=True)]
    nodes = [*asked(QUERY, "is_query"), choice("is_query", branches[1], branches[0], ["result"])]
    inputs = [
        helper.make_tensor_value_info("task", TensorProto.INT64, []),
        helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"]),
    ]
    outputs = [helper.make_tensor_value_info("result", TensorProto.FLOAT, [None] * 4)]
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    whole = helper.make_graph(nodes, "pair", inputs, outputs)
    proto = helper.make_model(whole, opset_imports=imports, producer_name="sharpbit")
    proto.ir_version = max(one.ir_version for one in parts)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _opset(proto: onnx.ModelProto) -> int:
    return max(int(item.version) for item in proto.opset_import if item.domain in ("", "ai.onnx"))


def _plain(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same in this opset, without functions, floats in and out."""
    proto = inliner.inline_local_functions(proto)  # also makes a copy
    if _opset(proto) != opset:
        proto = version_converter.convert_version(proto, opset)
    return _in_floats(proto) if proto.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8 else proto


def _in_floats(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A chain of integers, `(1, h, w, 3)` bytes, with the inputs and outputs of all others."""
    inner = proto.graph
    for node in inner.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = f"{name}.bytes" if name in ("picture", "result") else name
    before = [
        helper.make_node("Mul", ["picture", "white"], ["picture.255"]),
        helper.make_node("Round", ["picture.255"], ["picture.whole"]),
        helper.make_node("Cast", ["picture.whole"], ["picture.planes"], to=TensorProto.UINT8),
        helper.make_node("Transpose", ["picture.planes"], ["picture.bytes"], perm=[0, 2, 3, 1]),
    ]
    after = [
        helper.make_node("Cast", ["result.bytes"], ["result.255"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["result.255", "white"], ["result.pixels"]),
        helper.make_node("Transpose", ["result.pixels"], ["result"], perm=[0, 3, 1, 2]),
    ]
    white = helper.make_tensor("white", TensorProto.FLOAT, [], [255.0])
    whole = helper.make_graph(
        [*before, *inner.node, *after],
        inner.name,
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [1, 3, None, None])],
        [*inner.initializer, white],
    )
    return helper.make_model(whole, opset_imports=proto.opset_import, ir_version=proto.ir_version)


def header_of(first: Header, second: Header, entry: Mapping[str, Any]) -> Header:
    """The header of a pair of a large and a small network, with `entry` in its history; all else is of the first."""
    pair = {
        "verb": modelfile.PAIR,
        **entry,
        "costly": _described(first),  # the keys of older files stay; its history is that of the pair
        "cheap": {**_described(second), "history": list(second.history)},
    }
    data = "; ".join(f"{role}: {one.data or 'not told'}" for role, one in (("costly", first), ("cheap", second)))
    return Header(
        name=f"{first.name}+{second.name}",
        architecture=first.architecture,
        config=first.config,
        scale=first.scale,
        receptive_field=None,
        parameters=first.parameters + second.parameters,
        precision=f"{first.precision} and {second.precision}",
        history=(*first.history, pair),
        data=data if first.data or second.data else "",
        licence=_licence(first.licence, second.licence),
    )


def _described(header: Header) -> dict[str, Any]:
    """What the header of a pair says of one of its networks."""
    keys = ("name", "architecture", "config", "parameters", "precision", "licence", "data", "sha256")
    return {key: getattr(header, key) for key in keys}


def _licence(*licences: str) -> str:
    """Those of both, the stricter one first, as an SPDX expression; empty where both are unknown."""

    def rank(licence: str) -> int:
        return next((place for place, mark in enumerate(STRICT) if mark in licence), len(STRICT))

    named = list(dict.fromkeys(licence or UNKNOWN for licence in licences))
    return "" if named == [UNKNOWN] else " AND ".join(sorted(named, key=rank))


def asked(task: int, name: str) -> list[onnx.NodeProto]:
    """Nodes that make `name` true where the input `task` is this number."""
    number = helper.make_tensor(f"{name}_number", TensorProto.INT64, [], [task])
    constant = helper.make_node("Constant", [], [f"{name}_number"], value=number)
    return [constant, helper.make_node("Equal", ["task", f"{name}_number"], [name])]


def choice(condition: str, yes: onnx.GraphProto, no: onnx.GraphProto, results: list[str]) -> onnx.NodeProto:
    """An `If` of two branches that make the same results."""
    return helper.make_node("If", [condition], results, then_branch=yes, else_branch=no)


def branch(part: onnx.ModelProto, name: str, results: list[str]) -> onnx.GraphProto:
    """The graph of a part without inputs, its names its own but for those of the whole; what it lacks is handed on."""
    inner = part.graph
    outside = {item.name for item in inner.input}

    def own(text: str) -> str:
        return text if not text or text in outside else f"{name}/{text}"

    for node in inner.node:
        for field in (node.input, node.output):
            for place, text in enumerate(field):
                field[place] = own(text)
        node.name = own(node.name)
    for item in inner.initializer:
        item.name = own(item.name)
    made = [item.name for item in inner.output]
    outputs = []
    for result in results:
        if result not in made:  # of the classifier and of queries: something of the right kind, which nobody reads
            feature = result.replace("kept", "features")
            inner.node.append(helper.make_node("Identity", [feature], [own(result)], name=own(f"no_{result}")))
        outputs.append(helper.make_tensor_value_info(own(result), TensorProto.FLOAT, [None] * 4))
    return helper.make_graph(inner.node, name, [], outputs, inner.initializer)
