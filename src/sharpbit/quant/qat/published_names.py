"""Published weights of quantized networks: what their names tell, and how they become ours.

A published state holds weights and clipping ranges. How many bits the quantizers have was an option of the authors'
programs; it stands in the names of their files and folders at most (`8bit_edsr_x4.pt`, `edsr_x4_pams_w8a8.pt`,
`output/edsr_x4/8bit/model/model_best.pth.tar`).

Source: colorjam/PAMS, zysxmu/DDTB, Cheeun/CADyQ and Sheldon04/CABM-pytorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from torch import Tensor, nn

from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import ModelError
from sharpbit.nn import State
from sharpbit.quant.layers import QuantSite
from sharpbit.system.deprecated import old_names

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


@dataclass(frozen=True)
class Published:
    """What the names in a published quantized state tell.

    Attributes:
        arch: name of the network's architecture.
        method: `pams`, `ddtb` or `cadyq`; the names of CABM are those of CADyQ.
        weights: those tensors that the float network has too, under the names of published float weights.
        options: number of the widths that patches choose from; 1 where the width is fixed.
        gate: channels of the gates of DDTB; None where there are none.
    """

    arch: str
    method: str
    weights: State
    options: int = 1
    gate: int | None = None


def published(state: State) -> Published | None:
    """What a state dict says if it is that of a published quantized network; None if it is not."""
    places = {key.rpartition(".")[0] for key in state if key.endswith(".max_val")}
    if not any(f"{place}.{name}" in state for place in places for name in ("alpha", "alpha_upper")):
        return None
    for arch in ARCHITECTURES:
        known = ARCHITECTURES[arch].quantized
        if known is None or not any(re.match(known.mark, key) for key in state):
            continue
        quantizers = [pattern for pattern, name in known.names.items() if name.endswith(".act.")]
        kept = [key for key in state if not any(re.match(pattern, key) for pattern in quantizers)]
        weights = {_name(key, arch, "") or key: state[key] for key in kept}
        options = {found[1] for key in state if (found := re.search(r"\.quant_bit(\d)\.alpha$", key))}
        gates = [value.shape[1] for key, value in state.items() if key.endswith(".atten_c.1.weight")]
        method = "cadyq" if options else "ddtb" if any(key.endswith(".alpha_upper") for key in state) else "pams"
        return Published(arch, method, weights, len(options) or 1, gates[0] if gates else None)
    return None


def bits_in_name(path: str | PurePath) -> tuple[int, int] | None:
    """Bits of activations and of weights as the name of a file or of the folders around it has them, if it does."""
    for part in reversed(PurePath(path).parts):
        if found := re.search(r"w(\d{1,2})a(\d{1,2})(?!\d)", part.lower()):
            return int(found[2]), int(found[1])
        if found := re.search(r"(?<!\d)(\d{1,2})[-_]?bits?(?![a-z])", part.lower()):
            return int(found[1]), int(found[1])
    return None


def name_of(key: str, arch: str, net: nn.Module) -> str | None:
    """The name in `net` of a tensor of a published quantized network; None for one that says nothing more.

    A tensor that is in the float network too has the name of published float weights, or ours.
    """
    return _name(key, arch, _first(net))


def _name(key: str, arch: str, first: str) -> str | None:
    known = ARCHITECTURES[arch].quantized
    for pattern, name in known.names.items() if known else ():
        found = re.match(pattern, key)
        if not found:
            continue
        rest = key[found.end() :]
        name = name.replace("{first}", first)
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


def load_published(net: nn.Module, state: State, arch: str, rename: Rename, source: str = "") -> None:
    """Load published weights of a quantized network, strictly.

    Args:
        net: quantized by the plan that the published network has (`sharpbit.quant.qat.placement`); changed in place.
        state: the published weights.
        arch: the name of its architecture, which says what these weights are called (`quantized`).
        rename: the architecture's function that turns names of published float weights into ours.
        source: the path of the file, for errors.

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
        what = f"{source} holds no" if source else "these are not the"
        raise ModelError(f"{what} weights of such a quantized {arch}: {reason}") from None


def _first(net: nn.Module) -> str:
    """What the first quantizer of a block rounds."""
    sites = {name.rpartition(".")[2] for name, part in net.named_modules() if isinstance(part, QuantSite)}
    return next((place for place in ("input", "skip") if place in sites), "conv1")


__getattr__ = old_names(__name__, {"load_official": "load_published"})
