"""The passes of a network that has two: what runs one, and how its modules learn which one is running.

Features go from the first pass to the second as arguments and results of `reference` and `query`. Between those and the
wrapped blocks they travel in a `Pass`, which belongs to one call and so to one thread: modules keep nothing. So threads
can share a network, and no query can meet features of another image.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sharpbit.errors import UsageError
from sharpbit.quant.adaptive import Context

REFERENCE, QUERY = 0, 1  # the passes, and the options of every `Switch`

Run = nn.Module | Callable[[Tensor], Tensor]


@dataclass
class Pass:
    """One pass, while it runs.

    Attributes:
        role: `REFERENCE` or `QUERY`.
        features: for a query, what each RefER takes of its reference.
        kept: for a reference, the same by the number of the RefER.
    """

    role: int = REFERENCE
    features: Sequence[Tensor] = ()
    kept: dict[int, Tensor] = field(default_factory=dict)


_RUNNING: ContextVar[Pass | None] = ContextVar("running", default=None)


def running() -> Pass:
    """The pass that runs in this thread; a network that is simply called runs the first one."""
    return _RUNNING.get() or Pass()


def _through(net: nn.Module, one: Pass, x: Tensor) -> Tensor:
    token = _RUNNING.set(one)
    try:
        image: Tensor = net(x)
        return image
    finally:
        _RUNNING.reset(token)


class Switch(nn.Module):
    """Rounds everything by one of several quantizers, another one in each pass.

    Args:
        options: The quantizers, by the number of the pass.
    """

    def __init__(self, options: Sequence[nn.Module]) -> None:
        super().__init__()
        self.options = nn.ModuleList(options)

    def forward(self, x: Tensor) -> Tensor:
        """`x`, rounded."""
        y: Tensor = self.options[running().role](x)
        return y


def in_two_passes(net: nn.Module) -> bool:
    """Whether `net` has two passes."""
    return any(isinstance(part, Switch) for part in net.modules())


def reference(net: nn.Module, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The first pass.

    Args:
        net: A network in two passes.
        x: Patches `(N, 3, h, w)` in `[0, 1]`.

    Returns:
        The upscaled patches `(N, 3, h * scale, w * scale)`, and for each RefER the features `(N, C, h, w)` that `query`
        takes.
    """
    one = Pass(REFERENCE)
    image = _through(net, one, x)
    return image, tuple(one.kept[place] for place in sorted(one.kept))


def query(net: nn.Module, x: Tensor, features: Sequence[Tensor]) -> Tensor:
    """The second pass.

    Args:
        net: A network in two passes.
        x: Patches `(N, 3, h, w)` in `[0, 1]`.
        features: For each RefER, the features `(N, C, h', w')` of the reference of each patch, as `reference` gives
            them. A network whose queries are their own references needs none.

    Returns:
        The upscaled patches `(N, 3, h * scale, w * scale)`.

    Raises:
        UsageError: Features are missing, or belong to another number of patches.
    """
    wrong = next((len(own) for own in features if len(own) != len(x)), None)
    if wrong is not None:
        raise UsageError(f"each of the {len(x)} queries takes the features of one reference, and {wrong} were given")
    return _through(net, Pass(QUERY, features), x)


def by_role(net: nn.Module, *batches: Tensor) -> Iterator[tuple[Run, tuple[Tensor, ...]]]:
    """For each pass of `net` what runs it, and its part of the batches; the network and all of them where it has one.

    The first half of each batch are references, the second half their queries. What runs the second pass hands on the
    features that the first one left, so it is called once after that.
    """
    if not in_two_passes(net):
        yield net, batches
        return
    features: tuple[Tensor, ...] = ()

    def first(x: Tensor) -> Tensor:
        nonlocal features
        image, features = reference(net, x)
        return image

    halves = zip(*(batch.chunk(2) for batch in batches), strict=True)
    yield first, next(halves)
    yield lambda x: query(net, x, features), next(halves)


class ReferencePass(nn.Module):
    """The first pass, of tensors alone: patches to images, and features for each RefER."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = one_pass(net, REFERENCE)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, h, w)` to `(N, 3, h * scale, w * scale)` and `(N, C, h, w)` for each RefER."""
        image, features = reference(self.net, x)
        return image, *features


class QueryPass(nn.Module):
    """The second pass, of tensors alone: patches, and the features of the reference of each, to images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = one_pass(net, QUERY)

    def forward(self, x: Tensor, *features: Tensor) -> Tensor:
        """`(N, 3, h, w)` and for each RefER `(N, C, h', w')` to `(N, 3, h * scale, w * scale)`."""
        return _through(self.net, Pass(QUERY, features), x)  # what is traced tells no number of patches


def one_pass(net: nn.Module, role: int) -> nn.Module:
    """A copy of `net` that knows one pass only, with plain quantizers."""
    if not in_two_passes(net):
        raise UsageError(f"{type(net).__name__} is no network in two passes; make one with the verb refqsr")
    net = copy.deepcopy(net)
    for name, part in list(net.named_modules()):
        if isinstance(part, Switch):
            net.set_submodule(name, part.options[role])
    return net


@torch.no_grad()
def choices(net: nn.Module, patches: Tensor) -> Tensor:
    """Which options the adaptive quantizers of both passes take, `(N, quantizers)`, in the order of the modules.

    Args:
        net: A network in two passes.
        patches: `(2 N, 3, H, W)`, references, then their queries, of which the choices are. What runs in both passes
            counts as in the first.
    """
    context, half = _context(net), len(patches) // 2
    _, features = reference(net, patches)
    found = {place: chosen[0].option[half:] for place, chosen in context.spent.items()}
    query(net, patches[half:], [feature[:half] for feature in features])
    found = {place: chosen[0].option for place, chosen in context.spent.items()} | found
    return torch.stack([found[place] for place in sorted(found)], 1)


def _context(net: nn.Module) -> Context:
    context = next((part for part in net.modules() if isinstance(part, Context)), None)
    if context is None:
        raise UsageError(f"{type(net).__name__} has no quantizers that choose their bits")
    return context
