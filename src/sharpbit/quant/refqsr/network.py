"""A network in two passes: built of a quantized one by wrapping blocks, and begun with the numbers of another one."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.nn import State
from sharpbit.quant.adaptive import Mixed, inherit
from sharpbit.quant.core import METHODS, insert_quantizers, observing, quantizers
from sharpbit.quant.grid import Fixed
from sharpbit.quant.layers import QuantConv2d, QuantLinear, QuantSite
from sharpbit.quant.plan import Plan
from sharpbit.quant.refqsr.plan import TwoPass
from sharpbit.quant.refqsr.refer import Correction, RefER
from sharpbit.quant.refqsr.switch import REFERENCE, Switch, by_role, running

GATE = ("gate", "share")  # options of DDTB that are for features before a convolution


class Refined(nn.Module):
    """A block, and the RefER that stands for it in the second pass.

    Args:
        block: The block of the network.
        refer: What stands for it.
        place: The number of the RefER, from 0.
        how: The two passes of the network.
    """

    def __init__(self, block: nn.Module, refer: RefER, place: int, how: TwoPass) -> None:
        super().__init__()
        self.block, self.refer = block, refer
        self.place, self.how = place, how

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, h, w)` to the same."""
        now = running()
        if now.role == REFERENCE:
            now.kept[self.place] = x
            y: Tensor = self.block(x)
            return y
        own = self.how.form == "self"
        if not own and self.place >= len(now.features):
            raise UsageError("a query comes after its reference; run the first pass, and give its features")
        refined: Tensor = self.refer(x, x if own else now.features[self.place])
        return self.block(refined) if self.how.keep_block else refined


def build(net: nn.Module, how: TwoPass) -> nn.Module:
    """A copy of the float network `net` in two passes; where it is simply called, it runs the first one.

    Raises:
        UsageError: a name of `how` is none of the network.
    """
    method = METHODS[how.method]
    net = insert_quantizers(net, Plan.read(how.plan), method)
    for name in (*how.queries, *how.replaced):
        if name not in dict(net.named_modules()):
            raise UsageError(f"{type(net).__name__} has no block {name!r}")
    first = Plan.read(how.plan).rules[0]  # all rules of a placement have the same options
    options = {key: value for key, value in first.act_options.items() if key not in GATE}
    for place, name in enumerate(how.replaced):
        block = net.get_submodule(name)
        bits = how.low if how.pooled else max(first.widths)
        ways = [Fixed(method.act(None, 1, **options), bits) for _ in range(2)]
        correction = _correction(net, block, how)
        refer = RefER(correction, *ways, rectified=how.rectified, pooled=how.pooled, matching=how.matching)
        refer.to(next(block.parameters()))
        net.set_submodule(name, Refined(block, refer, place, how))
    for name, part in list(net.named_modules()):
        if isinstance(part, QuantConv2d | QuantLinear | QuantSite) and _below(name, how.few_wrapped):
            part.act = Switch([part.act, _narrowed(part.act, how.low)])
            if not isinstance(part, QuantSite):
                part.kernel = Switch([part.kernel, _narrowed(part.kernel, how.medium)])
    for place, part in enumerate(part for part in net.modules() if isinstance(part, Mixed)):
        part.place = place
    return net.train(net.training)


def begin(net: nn.Module, source: State, batches: Iterable[Tensor]) -> int:
    """Let a network in two passes begin with the numbers of another one, in float or quantized; changed in place.

    Both options of a quantizer begin with the clipping range of the one that stood there. The convolutions of a RefER
    begin as those of the block that it stands for, times what its normalization multiplies by (the last one with 0 if
    the start is neutral). What then has no number yet observes `batches`, each of which is shown as references and, one
    further, as queries.

    Returns:
        How many batches were shown; 0 where nothing was left to begin.

    Raises:
        UsageError: no batch, and there are ranges that it would take.
    """
    left = inherit(net, source, _sources)
    for name, part in net.named_modules():
        if isinstance(part, Refined) and any(key.startswith(f"{name}.refer.residual.") for key in left):
            part.refer.residual.begin(part.block, part.how.parts, neutral=part.how.neutral)
    waiting = {fixed for _, fixed in quantizers(net) if _nan(fixed)}
    count, training = 0, net.training
    if waiting:
        net.eval()
        with torch.no_grad(), observing(net, waiting):
            for batch in batches:
                count += 1
                for run, (shown,) in by_role(net, torch.cat([batch, batch.roll(1, 0)])):
                    run(shown)
        net.train(training)
        if not count:
            raise UsageError("there is nothing to begin with: not one batch of images came")
    return count


def _sources(name: str) -> list[str]:
    """What a tensor was called before there were two passes."""
    once = name.replace(".block.", ".")
    return [name, once, re.sub(r"\.options\.\d+\.", ".", once, count=1), re.sub(r"\.options\.\d+\.", ".", once)]


def _below(name: str, blocks: Iterable[str]) -> bool:
    return any(name.startswith(f"{block}.") for block in blocks)


def _narrowed(quantizer: nn.Module, bits: int) -> nn.Module:
    """A quantizer of the same kind with other bits and a range of its own."""
    if isinstance(quantizer, Mixed):
        quantizer = quantizer.options[0]
    return Fixed(copy.deepcopy(quantizer.range), bits) if isinstance(quantizer, Fixed) else copy.deepcopy(quantizer)


def _correction(net: nn.Module, block: nn.Module, how: TwoPass) -> Correction:
    """Convolutions like those of a quantized block, with ranges of their own."""
    context = getattr(net, "context", None)  # of the network: not copied with its quantizers

    def like(part: nn.Module) -> nn.Module:
        return copy.deepcopy(part, {id(context): context})

    first, between, last = how.parts
    act = like(block.get_submodule(between)) if between and _has(block, between) else nn.ReLU()
    conv1, conv2 = block.get_submodule(first), block.get_submodule(last)
    return Correction(like(conv1), act, like(conv2), like(conv1) if how.form == "concat" else None)


def _has(block: nn.Module, name: str) -> bool:
    return any(path == name for path, _ in block.named_modules())


def _nan(part: Fixed) -> bool:
    return any(bool(own.isnan().any()) for own in part.range.parameters(recurse=False))
