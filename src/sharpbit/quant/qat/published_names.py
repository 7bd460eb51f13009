"""The names that published quantized weights have, turned into ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from sharpbit.errors import ModelError
from sharpbit.nn import State
from sharpbit.quant.layers import QuantSite

Rename = Callable[[State], Mapping[str, Tensor]]

_LEAVES = {
    r"max_val$|min_val$": None,
    r"alpha$": "range.alpha",
    r"alpha_upper$": "range.hi",
    r"alpha_lower$": "range.lo",
    r"is_dynamic$": "range.chosen",
    r"atten_c\.1\.": "range.gate.narrow.",
    r"atten_c\.2\.": "range.gate.norm.",
    r"atten_c\.5\.": "range.gate.wide.",
    r"quant_bit1\.alpha$": "options.0.range.alpha",
    r"quant_bit2\.alpha$": "options.1.range.alpha",
    r"quant_bit3\.alpha$": "options.2.range.alpha",
    r"quant_bit\d\.max_val$": None,
    r"net_small\.0\.": "selector.linear.",
}

_OWN = (".batches", ".extremes", "context.scores", "context.options")  # what published files do not hold

# Quantizers to ours, and convolutions that they have moved to where those are in published float weights.
_NAMES = {
    "edsr": {
        r"body\.(\d+)\.body\.3\.": r"body.\1.body.2.",
        r"body\.(\d+)\.(?:quant_act1|bitsel1)\.": r"blocks.\1.{first}.act.",
        r"body\.(\d+)\.(?:quant_act2|body\.2)\.": r"blocks.\1.conv2.act.",
        r"body\.(\d+)\.quant_act3\.": r"blocks.\1.output.act.",
    },
    "srresnet": {
        r"(?:body|residual)\.(\d+)\.(?:quant_act|classify|act)1\.": r"blocks.\1.{first}.act.",
        r"(?:body|residual)\.(\d+)\.(?:quant_act|classify|act)2\.": r"blocks.\1.conv2.act.",
    },
    "carn": {
        r"b(\d)\.b(\d)\.body\.1\.": r"b\1.b\2.body.0.",
        r"b(\d)\.b(\d)\.body\.4\.": r"b\1.b\2.body.2.",
        r"b(\d)\.b(\d)\.(?:quant_act1|body\.0)\.": r"body.blocks.{1}.blocks.{2}.conv1.act.",
        r"b(\d)\.b(\d)\.(?:quant_act2|body\.3)\.": r"body.blocks.{1}.blocks.{2}.conv2.act.",
    },
    "idn": {
        r"fblock\.module\.1\.": "head.0.",
        r"fblock\.module\.4\.": "head.2.",
        r"fblock\.(?:module\.0|quant_actf1)\.": "head.0.act.",
        r"fblock\.(?:module\.3|quant_actf2)\.": "head.2.act.",
        r"dblocks\.(\d+)\.enhancement_(top|bottom)\.1\.": r"blocks.\1.\2.0.",
        r"dblocks\.(\d+)\.enhancement_(top|bottom)\.4\.": r"blocks.\1.\2.2.",
        r"dblocks\.(\d+)\.enhancement_(top|bottom)\.7\.": r"blocks.\1.\2.4.",
        r"dblocks\.(\d+)\.(?:enhancement_top\.0|quant_act1)\.": r"blocks.\1.top.0.act.",
        r"dblocks\.(\d+)\.(?:enhancement_top\.3|quant_act2)\.": r"blocks.\1.top.2.act.",
        r"dblocks\.(\d+)\.(?:enhancement_top\.6|quant_act3)\.": r"blocks.\1.top.4.act.",
        r"dblocks\.(\d+)\.(?:enhancement_bottom\.0|quant_act4)\.": r"blocks.\1.bottom.0.act.",
        r"dblocks\.(\d+)\.(?:enhancement_bottom\.3|quant_act5)\.": r"blocks.\1.bottom.2.act.",
        r"dblocks\.(\d+)\.(?:enhancement_bottom\.6|quant_act6)\.": r"blocks.\1.bottom.4.act.",
    },
}


def name_of(key: str, arch: str, net: nn.Module) -> str | None:
    """The name in `net` of a tensor of a published quantized network; None for one that says nothing more.

    That of a tensor which is in the float network too is the one in published float weights, or ours.
    """
    for pattern, name in _NAMES[arch].items():
        found = re.match(pattern, key)
        if not found:
            continue
        rest = key[found.end() :]
        name = name.replace("{first}", _first(net))
        for number in "12":
            if "{" in name:  # published numbers begin with 1
                name = name.replace("{" + number + "}", str(int(found[int(number)]) - 1))
        name = found.expand(name)
        if not name.endswith(".act."):
            return name + rest
        for leaf, ours in _LEAVES.items():
            if inside := re.match(leaf, rest):
                return None if ours is None else name + ours + rest[inside.end() :]
    return key


def load_official(net: nn.Module, state: State, arch: str, rename: Rename) -> None:
    """Load published weights of a quantized network, strictly.

    Args:
        net: quantized by the plan that the published network has (`sharpbit.quant.qat.placement`); changed in place.
        state: the published weights.
        arch: `edsr`, `srresnet`, `carn` or `idn`.
        rename: of the architecture: names of published float weights to ours.

    Raises:
        ModelError: the weights are not those of such a network.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        name = name_of(key, arch, net)
        if name is not None:
            ours[name] = value
    own = net.state_dict()
    ours = {
        key: value for key, value in rename(ours).items() if ".selector." not in key or key in own
    }  # unused in CABM
    for key, value in own.items():
        if key.endswith(_OWN):
            ours[key] = value
        elif key in ours and value.numel() == 1 and ours[key].numel() == 1:
            ours[key] = ours[key].reshape(value.shape)
    try:
        net.load_state_dict(ours, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"these are not the weights of such a quantized {arch}: {reason}") from None


def _first(net: nn.Module) -> str:
    """What the first quantizer of a block rounds."""
    sites = {name.rpartition(".")[2] for name, part in net.named_modules() if isinstance(part, QuantSite)}
    return next((place for place in ("input", "skip") if place in sites), "conv1")
