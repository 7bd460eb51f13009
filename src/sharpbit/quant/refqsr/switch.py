"""The passes of a network that has two: run one after the other, alone for export, and by what they choose."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.quant.adaptive import Context, Roles, Switch

REFERENCE, QUERY = 0, 1  # the passes, and the options of every `Switch`


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


@contextmanager
def passing(net: nn.Module, role: int) -> Iterator[None]:
    """Within, `net` runs the pass `role`; what the first one keeps stays for the second."""
    roles = _roles(net)
    before, roles.option = roles.option, role
    try:
        yield
    finally:
        roles.option = before


class ReferencePass(nn.Module):
    """The first pass, of tensors alone: patches to images, and features for each RefER."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = one_pass(net, REFERENCE)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, h, w)` to `(N, 3, h * scale, w * scale)` and `(N, C, h, w)` for each RefER."""
        roles = _roles(self.net)
        image = self.net(x)
        features = tuple(roles.features[place] for place in sorted(roles.features))
        roles.features = {}
        return image, *features


class QueryPass(nn.Module):
    """The second pass, of tensors alone: patches, and the features of the reference of each, to images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = one_pass(net, QUERY)

    def forward(self, x: Tensor, *features: Tensor) -> Tensor:
        """`(N, 3, h, w)` and for each RefER `(N, C, h', w')` to `(N, 3, h * scale, w * scale)`."""
        roles = _roles(self.net)
        roles.features = dict(enumerate(features))
        image: Tensor = self.net(x)
        roles.features = {}
        return image


def one_pass(net: nn.Module, role: int) -> nn.Module:
    """A copy of `net` that knows one pass only, with plain quantizers."""
    net = copy.deepcopy(net)
    roles = _roles(net)
    for name, part in list(net.named_modules()):
        if isinstance(part, Switch):
            net.set_submodule(name, part.options[role])
    roles.option = role
    return net


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
