"""Quantizers that decide patch by patch how many bits a tensor gets, and what they may look at.

Each image of a batch is a patch. Engines run such a network with a grid for each image
(`sharpbit.quant.frozen.Chosen`), in float.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.nn import State
from sharpbit.quant.context import image_gradient
from sharpbit.quant.grid import Fixed


class Spent(NamedTuple):
    """What one quantizer chose for the patches of a batch.

    Attributes:
        option: `(N,)`, the number of the option.
        bits: `(N,)`, its width.
        share: `(N,)`, `bits` divided by the expected width, whose gradient is that of the expected width: the published
            measure for a loss.
    """

    option: Tensor
    bits: Tensor
    share: Tensor


class Forward(threading.local):
    """What belongs to the last forward in a thread, so that threads can share a network.

    Attributes:
        gradient: `(N, 2)`, see `image_gradient`, of the images that the network was given.
        place: Number of the `Mixed` that is running, in the order of the network's modules.
        spent: What each `Mixed` chose, by its number; more than once where it ran more than once.
        rows: `(N, quantizers)`, the numbers of the options that a table gives.
        known: `(N,)`, whether every value of an image was finite, so that its entry of the table holds.
    """

    def __init__(self) -> None:
        self.gradient: Tensor | None = None
        self.place = 0
        self.spent: dict[int, list[Spent]] = {}
        self.rows: Tensor | None = None
        self.known: Tensor | None = None


class Context(nn.Module):
    """What the quantizers of a network may look at besides their tensor, and what they chose; one for a network.

    Attributes:
        now: What belongs to the last forward in this thread.
        bit_weight: Weight of the loss that methods have for bits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = Forward()
        self.bit_weight = 0.0

    def look(self, net: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Look at the images `(N, 3, H, W)` in `[0, 1]`, before the network does; a hook."""
        self.now.spent = {}
        self.now.gradient = image_gradient(args[0].detach())

    def make_room(self, entries: int, quantizers: int) -> None:
        """Hold a table with so many entries whose numbers mean nothing yet, where choices come from a table."""

    @property
    def spent(self) -> dict[int, list[Spent]]:
        """What each `Mixed` chose in the last forward of this thread, by its number."""
        return self.now.spent

    @property
    def patches(self) -> int:
        """How many patches the network was given."""
        if self.now.gradient is None:
            raise UsageError("the network has not seen an image yet; call the network, not a part of it")
        return self.now.gradient.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: nothing of the last forward."""
        return {key: value for key, value in self.__dict__.items() if key != "now"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy begins without a forward."""
        super().__setstate__({**state, "now": Forward()})  # type: ignore[no-untyped-call]


class Selector(nn.Module):
    """Which option each patch takes. Abstract."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """How likely each option is, `(N, options)`: the largest is taken, all are trained."""
        raise NotImplementedError


class Mixed(nn.Module):
    """Rounds each patch to one of several widths.

    Forward it is the likeliest option, backward the mean of all, weighed by how likely they are.

    Args:
        options: the quantizers, each with a range of its own.
        selector: decides.
        context: the context of the network; not part of this module.
    """

    def __init__(self, options: Sequence[Fixed], selector: Selector, context: Context) -> None:
        super().__init__()
        self.options = nn.ModuleList(options)
        self.selector = selector
        self.__dict__["context"] = context  # a module of the network already
        self.place = 0

    @property
    def bits(self) -> tuple[int, ...]:
        """The widths to choose from."""
        return tuple(option.bits for option in self.options)  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """`x`, rounded; `(N, C, H, W)`, or `(N * windows, pixels, C)` with the windows of a patch one after another."""
        context: Context = self.__dict__["context"]
        context.now.place = self.place
        likely = self.selector(x, context)
        option = likely.argmax(1)
        taken = F.one_hot(option, len(self.options)).to(likely.dtype)
        taken = taken + (likely - likely).detach()  # what is not a number stays so, and is seen
        ways = [way(x) for way in self.options]
        width = torch.tensor(self.bits, dtype=likely.dtype, device=likely.device)
        bits, expected = taken @ width, likely @ width
        share = (expected + (bits - expected).detach()) / expected.detach()
        context.spent.setdefault(self.place, []).append(Spent(option, bits, share))
        weights = likely if likely.requires_grad else taken  # of the gradient
        y: Tensor = _Taken.apply(taken.detach(), weights, *ways)  # type: ignore[no-untyped-call]
        return y


class _Taken(torch.autograd.Function):
    """Of several results, for each sample the sum with weights of its patch; the gradient is that with other weights.

    Equal to `soft + (hard - soft).detach()`, and quicker.
    """

    @staticmethod
    def forward(ctx: Any, taken: Tensor, likely: Tensor, *ways: Tensor) -> Tensor:
        ctx.save_for_backward(likely, *ways)
        columns = _columns(taken, ways[0])
        y = ways[0] * columns[0]
        for way, column in zip(ways[1:], columns[1:], strict=True):
            y.addcmul_(way, column)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        likely, *ways = ctx.saved_tensors
        of_likely = None
        if ctx.needs_input_grad[1]:
            sums = [torch.linalg.vecdot(grad.flatten(1), way.flatten(1)) for way in ways]
            of_likely = torch.stack(sums, 1).view(len(likely), -1, len(ways)).sum(1)
        return None, of_likely, *(grad * column for column in _columns(likely, grad))


def _columns(weights: Tensor, x: Tensor) -> list[Tensor]:
    """The columns of `weights` `(patches, k)`, each in the shape that broadcasts to the samples of the patches."""
    rows = weights.repeat_interleave(len(x) // len(weights), 0)
    return [row.view(-1, *(1,) * (x.dim() - 1)) for row in rows.unbind(1)]


def spent(net: nn.Module) -> list[Spent]:
    """What each adaptive quantizer chose in the last forward, in the order of the network's modules.

    Raises:
        UsageError: none is adaptive.
    """
    context = next((part for part in net.modules() if isinstance(part, Context)), None)
    if context is None:
        raise UsageError(f"{type(net).__name__} has no quantizers that choose their bits")
    return [choice for place in sorted(context.spent) for choice in context.spent[place]]


def attach(net: nn.Module, context: Context) -> None:
    """Number the adaptive quantizers of `net`, if it has any, and let `context` see every image; in place."""
    mixed = [part for part in net.modules() if isinstance(part, Mixed)]
    for place, part in enumerate(mixed):
        part.place = place
    if mixed:
        net.add_module("context", context)
        net.register_forward_pre_hook(context.look)


def chosen_bits(net: nn.Module) -> Tensor:
    """The bits that each patch got in the last forward, `(N, quantizers)`; their mean is the FQR."""
    return torch.stack([choice.bits.detach() for choice in spent(net)], 1)


def _single(name: str) -> list[str]:
    """A tensor's name, and that of the single quantizer in the place of a choice."""
    return [name, re.sub(r"\.options\.\d+\.", ".", name)]


def inherit(net: nn.Module, state: State, names: Callable[[str], list[str]] = _single) -> list[str]:
    """Let a network begin with the numbers of another one that has other quantizers; changed in place.

    Every option of a choice begins with the range of the single quantizer that stood there.

    Args:
        net: the new network.
        state: the state dict of the old one.
        names: what a tensor of the new one may be called in the old one; the first that is there counts.

    Returns:
        The names in `net` that the old network says nothing of.
    """
    own, left = net.state_dict(), []
    for name, value in own.items():
        source = next((old for old in names(name) if old in state), None)
        if source is not None and state[source].shape == value.shape:
            value.copy_(state[source])
        else:
            left.append(name)
    return left
