"""RefQSR: two passes over shared weights, first of references with many bits, then of queries with few.

A block late in the network gives way to a `RefER` in the second pass, which compares what it gets with what the block
got in the first. No network knows of it: blocks are wrapped by name, and quantizers have an option for each pass.

Source: "Reference-based Quantization for Image Super-Resolution", arXiv 2404.01690. Two things that it leaves
open are choices here: a RefER takes the reference's feature of its own depth, and low bits are never chosen.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.nn import State
from sharpbit.quant.adaptive import Context, Mixed, Roles, Switch, inherit
from sharpbit.quant.core import METHODS, observing, quantize, quantizers
from sharpbit.quant.grid import Fixed
from sharpbit.quant.layers import QuantConv2d, QuantLinear, QuantSite
from sharpbit.quant.placement import EIGHT, placement
from sharpbit.quant.plan import Plan
from sharpbit.quant.refer import Correction, RefER

REFERENCE, QUERY = 0, 1  # the passes, and the options of every `Switch`
VERB = "refqsr"
FORMS = ("difference", "concat", "self")
GATE = ("gate", "share")  # options of DDTB that are for features before a convolution
REFERS = {"srresnet": 2, "carn": 1, "elan": 2}  # as published


@dataclass(frozen=True)
class TwoPass:
    """What becomes of a network in two passes: data, as its file tells it.

    Attributes:
        method: of the catalog of methods.
        plan: tables of rules (`Plan.tables`), for the first pass.
        low: bits of activations in the second pass.
        medium: bits of weights there.
        queries: names of the blocks that have these bits.
        replaced: names of the blocks for which a RefER stands in the second pass.
        rectified: whether a ReLU comes last in such a block.
        form: `difference`; `concat`, a RefER that takes both features; or `self`, one that takes the query for its own
            reference.
        pooled: whether RefERs normalize and pool what they compare.
        threshold: cosine from which on two patches are alike, in training and in use.
        patch: side of a patch in use, in small pixels; neighbours share `shared` of them.
        shared: see there.
    """

    method: str
    plan: tuple[Mapping[str, Any], ...]
    low: int
    medium: int
    queries: tuple[str, ...]
    replaced: tuple[str, ...]
    rectified: bool = False
    form: str = "difference"
    pooled: bool = True
    threshold: float = 0.5
    patch: int = 96
    shared: int = 6
    verb: str = field(default=VERB, init=False)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"the form of a RefER is one of {', '.join(FORMS)}, not {self.form!r}")

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> TwoPass:
        """From an entry of a file's history."""
        known = {item.name for item in fields(cls) if item.init}
        given = {key: value for key, value in entry.items() if key in known}
        own: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
        return cls(**own)

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]]) -> TwoPass | None:
        """What was done to a model, by its history; None if it has one pass."""
        entries = [entry for entry in history if entry["verb"] == VERB]
        return cls.read(entries[-1]) if entries else None

    def entry(self) -> dict[str, Any]:
        """What `read` reads."""
        return asdict(self)


def published(
    arch: str,
    config: Any,
    method: str,
    high: int | tuple[int, ...],
    low: int,
    *,
    medium: int | None = None,
    refers: int | None = None,
    form: str = "difference",
    pooled: bool = True,
    threshold: float = 0.5,
    patch: int = 96,
    options: dict[str, Any] | None = None,
) -> TwoPass:
    """The two passes of the paper for a network: the first block and the last ones keep many bits.

    Args:
        arch: `srresnet`, `carn` or `elan`.
        config: sizes of the network.
        method: see `TwoPass`.
        high: bits of the first pass, activations and weights; several are chosen from, and weights have 8 then.
        low: bits of activations in the second.
        medium: bits of weights in the second; by default halfway, as `round` has it.
        refers: how many blocks a RefER stands for; by default as published, but at most a quarter of the blocks.
        form: see `TwoPass`.
        pooled: see `TwoPass`.
        threshold: see `TwoPass`.
        patch: see `TwoPass`.
        options: of the ranges of activations.

    Raises:
        UsageError: the paper has no such network, or it is not deep enough.
    """
    if arch not in REFERS or getattr(config, "groups", 1) != 1:
        raise UsageError(f"RefQSR is for {', '.join(REFERS)} (without groups), not for this {arch}")
    local = _blocks(arch, config)
    if refers is None:
        refers = min(REFERS[arch], len(local) // 4)
    if not 0 <= refers <= len(local) - 2:
        raise UsageError(
            f"of the {len(local)} blocks of this {arch} the first has many bits and at least one has few; {refers}"
            " cannot give way to RefERs"
        )
    weight = high if isinstance(high, int) else EIGHT
    if medium is None:
        medium = round((weight + low) / 2)
    plan = placement(arch, high, weight, width=config.width, options=options)
    last = len(local) - refers
    return TwoPass(
        method=method,
        plan=tuple(plan.tables()),
        low=low,
        medium=medium,
        queries=tuple(name for block in local[1:last] for name in block),
        replaced=tuple(block[0] for block in local[last:]),
        rectified=arch == "carn",
        form=form,
        pooled=pooled,
        threshold=threshold,
        patch=patch,
    )


def _blocks(arch: str, config: Any) -> list[tuple[str, ...]]:
    """The blocks of a network in their order, each with the names of its parts; the first can give way to a RefER."""
    if arch == "srresnet":
        return [(f"blocks.{k}",) for k in range(config.blocks)]
    if arch == "carn":
        return [(f"body.blocks.{i}.blocks.{k}",) for i in range(3) for k in range(3)]
    return [(f"blocks.{i}.local.{k}", f"blocks.{i}.attention.{k}") for i in range(config.blocks) for k in range(2)]


class Refined(nn.Module):
    """A block, and the RefER that stands for it in the second pass.

    Args:
        block: of the network.
        refer: stands for it.
        roles: of the network; not part of this module.
        place: number of the RefER.
        own: whether the query is its own reference.
    """

    def __init__(self, block: nn.Module, refer: RefER, roles: Roles, place: int, *, own: bool) -> None:
        super().__init__()
        self.block, self.refer = block, refer
        self.__dict__["roles"] = roles  # a module of the network already
        self.place, self.own = place, own

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, h, w)` to the same."""
        roles: Roles = self.__dict__["roles"]
        if roles.option == REFERENCE:
            roles.features[self.place] = x
            y: Tensor = self.block(x)
            return y
        if self.own:
            return self.refer(x, x)  # type: ignore[no-any-return]
        if self.place not in roles.features:
            raise UsageError("a query comes after its reference; run the first pass, or give its features")
        return self.refer(x, roles.features[self.place])  # type: ignore[no-any-return]


def build(net: nn.Module, how: TwoPass) -> nn.Module:
    """A copy of the float network `net` in two passes; it runs the first one unless it is told otherwise.

    Raises:
        UsageError: a name of `how` is none of the network.
    """
    method = METHODS[how.method]
    net = quantize(net, Plan.read(how.plan), method)
    roles = Roles()
    net.add_module("roles", roles)
    for name in (*how.queries, *how.replaced):
        if name not in dict(net.named_modules()):
            raise UsageError(f"{type(net).__name__} has no block {name!r}")
    first = Plan.read(how.plan).rules[0]  # all rules of a placement have the same options
    options = {key: value for key, value in first.act_options.items() if key not in GATE}
    for place, name in enumerate(how.replaced):
        block = net.get_submodule(name)
        bits = how.low if how.pooled else max(first.widths)
        ways = [Fixed(method.act(None, 1, **options), bits) for _ in range(2)]
        refer = RefER(_correction(net, block, how), *ways, rectified=how.rectified, pooled=how.pooled)
        refer.to(next(block.parameters()))
        net.set_submodule(name, Refined(block, refer, roles, place, own=how.form == "self"))
    for name, part in list(net.named_modules()):
        if isinstance(part, QuantConv2d | QuantLinear | QuantSite) and _below(name, how.queries):
            part.act = Switch([part.act, _narrowed(part.act, how.low)], roles)
            if not isinstance(part, QuantSite):
                part.kernel = Switch([part.kernel, _narrowed(part.kernel, how.medium)], roles)
    for place, part in enumerate(part for part in net.modules() if isinstance(part, Mixed)):
        part.place = place
    return net.train(net.training)


def roles_of(net: nn.Module) -> Roles | None:
    """Those of a network in two passes; None of any other."""
    roles = getattr(net, "roles", None)
    return roles if isinstance(roles, Roles) else None


def by_role(net: nn.Module, *batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """For each pass of `net` its part of the batches, while the network is set to it; all of them where it has one.

    The first half of each batch are references, the second half their queries.
    """
    roles = roles_of(net)
    if roles is None:
        yield batches
        return
    try:
        for role, parts in enumerate(zip(*(batch.chunk(2) for batch in batches), strict=True)):
            roles.option = role
            yield parts
    finally:
        roles.option, roles.features = REFERENCE, {}


class ReferencePass(nn.Module):
    """The first pass, of tensors alone: patches to pictures, and features for each RefER."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = one_pass(net, REFERENCE)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, h, w)` to `(N, 3, h * scale, w * scale)` and `(N, C, h, w)` for each RefER."""
        roles = _roles(self.net)
        picture = self.net(x)
        features = tuple(roles.features[place] for place in sorted(roles.features))
        roles.features = {}
        return picture, *features


class QueryPass(nn.Module):
    """The second pass, of tensors alone: patches, and the features of the reference of each, to pictures."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = one_pass(net, QUERY)

    def forward(self, x: Tensor, *features: Tensor) -> Tensor:
        """`(N, 3, h, w)` and for each RefER `(N, C, h', w')` to `(N, 3, h * scale, w * scale)`."""
        roles = _roles(self.net)
        roles.features = dict(enumerate(features))
        picture: Tensor = self.net(x)
        roles.features = {}
        return picture


def one_pass(net: nn.Module, role: int) -> nn.Module:
    """A copy of `net` that knows one pass only, with plain quantizers."""
    net = copy.deepcopy(net)
    roles = _roles(net)
    for name, part in list(net.named_modules()):
        if isinstance(part, Switch):
            net.set_submodule(name, part.options[role])
    roles.option = role
    return net


def begin(net: nn.Module, source: State, batches: Iterable[Tensor]) -> int:
    """Let a network in two passes begin with the numbers of another one, in float or quantized; changed in place.

    Both options of a quantizer begin with the bounds of the one that stood there. The convolutions of a RefER begin as
    those of the block that it stands for, times what its normalization multiplies by. What then has no number yet
    observes `batches`, each of which is shown as references and, one further, as queries.

    Returns:
        How many batches were shown; 0 where nothing was left to begin.

    Raises:
        UsageError: no batch, and there are ranges that it would take.
    """
    left = inherit(net, source, _sources)
    for name, part in net.named_modules():
        if isinstance(part, Refined) and any(key.startswith(f"{name}.refer.residual.") for key in left):
            part.refer.residual.begin(part.block)
    waiting = {fixed for _, fixed in quantizers(net) if _nan(fixed)}
    count, training = 0, net.training
    if waiting:
        net.eval()
        with torch.no_grad(), observing(net, waiting):
            for batch in batches:
                count += 1
                for (shown,) in by_role(net, torch.cat([batch, batch.roll(1, 0)])):
                    net(shown)
        net.train(training)
        if not count:
            raise UsageError("there is nothing to begin with: not one batch of pictures came")
    return count


@contextmanager
def passing(net: nn.Module, role: int) -> Iterator[None]:
    """Within, `net` runs the pass `role`; what the first one keeps stays for the second."""
    roles = _roles(net)
    before, roles.option = roles.option, role
    try:
        yield
    finally:
        roles.option = before


@torch.no_grad()
def choices(net: nn.Module, patches: Tensor) -> Tensor:
    """Which options the adaptive quantizers of both passes take, `(N, quantizers)`, in the order of the modules.

    Args:
        net: in two passes.
        patches: `(2 N, 3, H, W)`, references, then their queries, of which the choices are. What runs in both passes
            counts as in the first.
    """
    roles, half = _roles(net), len(patches) // 2
    with passing(net, REFERENCE):
        net(patches)
    found = {place: chosen[0].option[half:] for place, chosen in _context(net).spent.items()}
    roles.features = {place: feature[:half] for place, feature in roles.features.items()}
    with passing(net, QUERY):
        net(patches[half:])
    found = {place: chosen[0].option for place, chosen in _context(net).spent.items()} | found
    roles.features = {}
    return torch.stack([found[place] for place in sorted(found)], 1)


def _context(net: nn.Module) -> Context:
    context = next((part for part in net.modules() if isinstance(part, Context)), None)
    if context is None:
        raise UsageError(f"{type(net).__name__} has no quantizers that choose their bits")
    return context


def _roles(net: nn.Module) -> Roles:
    roles = roles_of(net)
    if roles is None:
        raise UsageError(f"{type(net).__name__} is no network in two passes; make one with the verb refqsr")
    return roles


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

    act = like(block.get_submodule("act")) if hasattr(block, "act") else nn.ReLU()
    conv1, conv2 = block.get_submodule("conv1"), block.get_submodule("conv2")
    return Correction(like(conv1), act, like(conv2), like(conv1) if how.form == "concat" else None)


def _nan(part: Fixed) -> bool:
    return any(bool(own.isnan().any()) for own in part.range.parameters(recurse=False))
