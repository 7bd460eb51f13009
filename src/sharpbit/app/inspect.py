"""What `sharpbit inspect` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sharpbit.app import aligned, dump, flat
from sharpbit.modelfile.history import Receipt
from sharpbit.verbs.inspect import Inspection

SHOWN = 4  # uncounted tensors that are named
WIDTH = 14  # columns of the names of facts
INDENT = "\n" + " " * WIDTH
OPERATORS = {"_prelu_kernel": "PReLU", "mm": "matrix product", "bmm": "matrix product"}  # where PyTorch has other names


def inspected(facts: Inspection, as_json: bool) -> str:
    """The facts of a model file, a line each."""
    if as_json:
        return dump({**asdict(facts), "cheap": facts.small})  # the key that it had before
    lines = [("file", f"{facts.file} ({facts.bytes:,} bytes)"), ("name", facts.name)]
    if facts.architecture is None:
        lines.append(
            ("network", "not known: the file has no sharpbit header and is not read as a graph, for the reason below")
        )
    else:
        assert facts.macs is not None
        assert facts.parameters is not None
        assert facts.input_size is not None
        assert facts.output_size is not None
        sizes = [f"{width}x{height}" for height, width in (facts.input_size, facts.output_size)]
        field = facts.receptive_field
        lines += [
            ("network", _network(facts)),
            ("scale", _scale(facts)),
            ("parameters", _parameters(facts.parameters)),
            ("MACs", f"{facts.macs / 1e9:.2f} G from {sizes[0]} to {sizes[1]}{_cut(facts)}"),
            *_small(facts),
            *_two_passes(facts),
            ("activations", _peak(facts)),
            *_bits(facts),
            *_query(facts),
            ("sees", "the whole image" if field is None else f"{field}x{field} input pixels for an output pixel"),
            ("not counted", _uncounted(facts)),
        ]
    lines += [
        ("found", INDENT.join(facts.notes)),
        ("operators", flat(facts.operators)),
        *(("history", _done(entry)) for entry in facts.history if entry["verb"] != Receipt.verb),
        ("receipt", _receipt(facts)),
        *(("metric", f"{m['name']} {m['value']:g} on {m['data']} ({m['protocol']})") for m in facts.metrics),
        *(("data", facts.data), ("licence", facts.licence), ("precision", facts.precision)),
    ]
    return "\n".join(f"{key:<{WIDTH}}{value}" for key, value in lines if value)


def _receipt(facts: Inspection) -> str:
    last = facts.history[-1] if facts.history else {"verb": ""}
    return f"of {last['by']}; 'sharpbit verify' runs its claims again" if last["verb"] == Receipt.verb else ""


def _done(entry: Mapping[str, Any]) -> str:
    """What was done to the weights, and how."""
    how = flat({key: value for key, value in entry.items() if key != "verb"})
    return f"{entry['verb']}: {how}" if how else str(entry["verb"])


def _network(facts: Inspection) -> str:
    """The architecture with its sizes; of a graph of somebody else, its operators."""
    config = dict(facts.config or {})
    nodes = config.get("nodes")
    if facts.architecture == "integer_graph":
        several = f", for sides that are multiples of {config['multiple']}" if config["multiple"] > 1 else ""
        return f"a graph of {nodes} operators in integers, for the native engine{several}"
    if facts.architecture != "graph" or not isinstance(nodes, list | tuple):
        return f"{facts.architecture}: {flat(config)}"
    many = "1 known operator" if len(nodes) == 1 else f"{len(nodes)} known operators"
    found = _named(Counter(str(node["op"]) for node in nodes).most_common())
    several = f"; images are padded to multiples of {config['multiple']}" if config["multiple"] > 1 else ""
    colour = "" if config["colour"] == "RGB" else f"; for {config['colour']}"
    return f"a graph of {many}: {found}{several}{colour}"


def _scale(facts: Inspection) -> str:
    """The scale that is counted, and how to get the others that weights hold."""
    others = [f"x{scale}" for scale in facts.scales if scale != facts.scale]
    way = (
        f" (the file holds {' and '.join(others)} too: upscale and evaluate take --scale, others --config scale=N)"
        if others
        else ""
    )
    return f"x{facts.scale}{way}"


def _parameters(count: int) -> str:
    short = f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.2f} K"
    return f"{count:,} ({short})"


NAMES = {  # of operators, our own and those of PyTorch, for people
    "conv": "convolutions",
    "deconv": "transposed convolutions",
    "affine": "factors for channels",
    "prelu": "PReLU",
    "relu": "ReLU",
    "leaky": "LeakyReLU",
    "function": "functions of each value",
    "clip": "clips",
    "add": "sums",
    "sub": "differences",
    "mul": "products of maps",
    "div": "quotients of maps",
    "max": "maxima of two maps",
    "min": "minima of two maps",
    "concat": "concatenations",
    "select": "choices of channels",
    "shuffle": "pixel shuffles",
    "unshuffle": "pixel unshuffles",
    "resize": "resizes",
    "maxpool": "max pools",
    "avgpool": "average pools",
    "mean": "means of all pixels",
    "pad": "pads",
    "crop": "crops",
    "max_pool2d_with_indices": "max pools",
    "avg_pool2d": "average pools",
    "upsample_bilinear2d": "bilinear resizes",
    "upsample_bicubic2d": "bicubic resizes",
    "softmax": "softmax",
    "native_layer_norm": "layer norms",
    "linalg_vector_norm": "vector norms",
}


def _named(operators: Iterable[tuple[str, int]]) -> str:
    """How many there are of each operator."""
    return ", ".join(f"{NAMES.get(name.strip('_'), name)} {times}" for name, times in operators)


_COUNTED = (
    "ONNX Runtime after export, in float: patches choose their bits (evaluate --patch reports what images cost, of"
    " weights that are not frozen)"
)


def _small(facts: Inspection) -> list[tuple[str, str]]:
    """The other network of a pair; all that is counted beside it is the large one."""
    if (one := facts.small) is None:
        return []
    macs = f"{one['macs'] / 1e9:.2f} G from the same image"
    return [("small network", f"{one['name']}, {one['architecture']}: {one['parameters']:,} parameters, {macs}")]


def _cut(facts: Inspection) -> str:
    return f" in {facts.patches} overlapping patches" if facts.patches and facts.patches > 1 else ""


def _peak(facts: Inspection) -> str:
    if facts.peak_bytes is None:
        return ""
    each = " for the largest patch" if facts.patches and facts.patches > 1 else ""
    return f"{facts.peak_bytes / 2**20:,.1f} MiB at once{each}, layer by layer"


def _bits(facts: Inspection) -> list[tuple[str, str]]:
    """What rounding makes of the cost; nothing for a network in float."""
    if facts.bitops is None or facts.bytes_at_width is None or not facts.macs:
        return []
    same = facts.bitops / facts.macs
    most = "at most " if facts.adaptive else ""
    rule = "no paper has a rule for this network"
    if facts.published_bitops is not None:
        published = f"{most}{facts.published_bitops / 1e9:,.3f} G"
        rule = f"{published}: BitOPs in 32-bit operations of the layers that papers count"
    return [
        ("engine", _COUNTED if facts.adaptive else ""),
        (
            "BitOPs",
            f"{most}{facts.bitops / 1e9:,.1f} G: {same:.1f} for each MAC, in float {32 * 32}; every layer counted",
        ),
        ("as published", rule),
        ("FQR", f"{most}{facts.fqr:.2f} bits, the mean of what is rounded"),
        ("feature bits", f"{most}{facts.feature_bits:.2f}, the mean of all values that are multiplied"),
        ("at width", f"{facts.bytes_at_width:,} bytes"),
        ("bits", INDENT.join(_layers(facts.layers).splitlines())),
    ]


def _layers(layers: Sequence[Mapping[str, Any]]) -> str:
    """A table of operators that multiply."""
    rows = [("layer", "operator", "parameters", "MACs", "weight", "input", "BitOPs")]
    small = all(layer["bitops"] < 1e11 for layer in layers)  # those of a patch
    unit, sign = (1e6, "M") if small else (1e9, "G")
    for layer in layers:
        bits = (f"{layer['weight']} bits", f"{layer['act']} bits")
        counts = (f"{layer['parameters']:,}", f"{layer['macs'] / unit:.3f} {sign}")
        name, operator = layer["name"] or "-", OPERATORS.get(layer["operator"], layer["operator"])
        rows.append((name, operator, *counts, *bits, f"{layer['bitops'] / unit:,.1f} {sign}"))
    return aligned(rows)


def _two_passes(facts: Inspection) -> list[tuple[str, str]]:
    """Both passes of a network in two, and its RefERs."""
    if (two := facts.two_passes) is None:
        return []
    passes = [("pass", "MACs", "BitOPs", "as published", "FQR", "feature bits")]
    for one in two["passes"]:
        rule = "-" if one["published_bitops"] is None else f"{one['published_bitops'] / 1e9:,.4f} G"
        counts = (f"{one['macs'] / 1e9:.3f} G", f"{one['bitops'] / 1e9:,.2f} G", rule)
        passes.append((one["name"], *counts, f"{one['fqr']:.2f}", f"{one['feature_bits']:.2f}"))
    refers = [("stands for", "channels", "parameters", "MACs", "BitOPs")]
    for one in two["refers"]:
        macs, products = f"{one['macs'] / 1e9:.3f} G", f"{one['bitops'] / 1e9:,.2f} G"
        refers.append((one["name"], f"{one['channels']}", f"{one['parameters']:,}", macs, products))
    cut = f"{two['patch']} small pixels, one every {two['step']}"
    lines = [
        f"patches of {cut}; a query and its reference have a cosine of at least {two['threshold']:g};",
        "what is counted of a whole image is the first pass; of a patch, with what finding its role costs:",
        *aligned(passes).splitlines(),
    ]
    return [
        ("two passes", INDENT.join(lines)),
        ("RefERs", INDENT.join(aligned(refers).splitlines()) if two["refers"] else "none"),
    ]


def _query(facts: Inspection) -> list[tuple[str, str]]:
    """The layers of the second pass."""
    if facts.two_passes is None:
        return []
    layers = facts.two_passes["passes"][1]["layers"]
    return [("query bits", INDENT.join(_layers(layers).splitlines()))]


def _uncounted(facts: Inspection) -> str:
    operators = [_named(facts.uncounted_operators.items())] if facts.uncounted_operators else []
    tensors = [f"tensor {name}" for name in facts.uncounted_tensors]
    if len(tensors) > SHOWN:
        tensors[SHOWN:] = [f"and {len(tensors) - SHOWN} tensors more (--json names them)"]
    return ", ".join([*operators, *tensors]) or "nothing"
