"""What the modules of a network alone show: its layers, its repeated blocks, and the parts of a block."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

LAYERS = (nn.Conv2d, nn.Linear)
SIDE = 96  # of the image, in pixels, on which blocks are watched: whole windows of every network
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Tanh, nn.Sigmoid)

Parts = tuple[str, str, str]


def layers(net: nn.Module) -> list[str]:
    """The names of all convolutions and linear layers, in the order of their definition."""
    return [name for name, part in net.named_modules() if isinstance(part, LAYERS)]


def body(net: nn.Module) -> list[str]:
    """The layers inside of repeated blocks; of a network without such blocks, all layers but the first and the last."""
    names, blocks = layers(net), blocks_of(net)
    if not blocks:
        return names[1:-1]
    return [name for name in names if any(name.startswith(f"{block}.") for block in blocks)]


def blocks_of(net: nn.Module) -> list[str]:
    """The names of the blocks that a network repeats: children of one module that have the same class and have layers.

    Of several such groups it is the one with most weights; of equals the outermost.
    """
    return _heaviest(net, _groups(net))


def replaceable(net: nn.Module) -> list[str]:
    """The names of repeated blocks that turn one tensor into one of the same shape, once, and have `parts`."""
    once = set(steady(net))
    fit = ([name for name in group if name in once and parts(net.get_submodule(name))] for group in _groups(net))
    return _heaviest(net, (group for group in fit if len(group) > 1))


def steady(net: nn.Module) -> list[str]:
    """The names of modules that run once for an image, and turn one tensor into one of the same shape."""
    shadow = copy.deepcopy(net).to("meta").eval()
    runs: Counter[str] = Counter()
    same: set[str] = set()

    def watch(name: str, part: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        runs[name] += 1
        alone = len(args) == 1 and isinstance(args[0], Tensor) and isinstance(out, Tensor)
        if alone and out.dim() == 4 and out.shape == args[0].shape:
            same.add(name)

    for name, part in shadow.named_modules():
        part.register_forward_hook(partial(watch, name))
    with torch.no_grad():
        shadow(torch.empty(1, 3, SIDE, SIDE, device="meta"))
    return [name for name in runs if runs[name] == 1 and name in same]


def parts(block: nn.Module) -> Parts | None:
    """The names of two convolutions of a block and of an activation, of which a correction of its features can be made.

    The first convolution takes the channels of the block, and the second gives them back. The activation is the first
    one that is a module; its name is empty if there is none.
    """
    convs = [(name, part) for name, part in block.named_modules() if isinstance(part, nn.Conv2d) and part.groups == 1]
    if not convs:
        return None
    first, entry = convs[0]
    for name, conv in convs[1:]:
        if (conv.in_channels, conv.out_channels) == (entry.out_channels, entry.in_channels) and conv.stride == (1, 1):
            act = next((key for key, part in block.named_modules() if isinstance(part, _ACTIVATIONS)), "")
            return first, act, name
    return None


def named(net: nn.Module, glob: str) -> list[str]:
    """The modules that a glob names component by component: here `*` stands for no dot."""
    pattern = re.escape(glob).replace(r"\*", "[^.]*")
    return [name for name, _ in net.named_modules() if re.fullmatch(pattern, name)]


def globs(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """The shortest list of globs that names `names` and none of `others`: numbers become `*` where that is possible."""
    names, others = list(names), set(others) - set(names)
    short = {name: re.sub(r"\d+", "*", name) for name in names}
    wide = {glob for glob in short.values() if any(fnmatchcase(name, glob) for name in others)}
    return list(dict.fromkeys(name if glob in wide else glob for name, glob in short.items()))


def _groups(net: nn.Module) -> Iterator[list[str]]:
    for path, parent in net.named_modules():
        kinds: dict[type[nn.Module], list[str]] = {}
        for name, child in parent.named_children():
            if not isinstance(child, LAYERS) and layers(child):
                kinds.setdefault(type(child), []).append(f"{path}.{name}" if path else name)
        yield from (names for names in kinds.values() if len(names) > 1)


def _heaviest(net: nn.Module, groups: Iterable[list[str]]) -> list[str]:
    def weights(group: list[str]) -> int:
        return sum(weight.numel() for name in group for weight in net.get_submodule(name).parameters())

    return max(groups, key=weights, default=[])
