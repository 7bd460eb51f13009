"""Rounding one whole tensor to one grid, with its backward: in blocks that stay in the cache, or compiled."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sharpbit.errors import UsageError

BLOCK = 1 << 17  # values that are rounded at a time; of fewer the framework would use one thread
ROW, SHORTEST = 4096, 64  # numbers that compiled functions sum up in float32
Made = Callable[..., Any]


class Early(torch.autograd.Function):
    """Rounds to a grid that clips before it rounds.

    With `n = min(max(x, lo), hi) / step`: the gradient is 1 with regard to `x` inside, to the bound that clipped it
    outside, half and half on a bound, and `round(n) - n` with regard to `step`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, lo: Tensor, hi: Tensor, step: Tensor) -> Tensor:
        """`x` of any shape, and three tensors without dimensions."""
        x = _dense(x.detach())
        ctx.save_for_backward(x, lo, hi, step)
        y = torch.empty_like(x)
        low, high, size = float(lo), float(hi), float(step)
        for source, block in zip(_blocks(x), _blocks(y), strict=True):
            torch.clamp(source, low, high, out=block).div_(size).round_().mul_(size)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        x, lo, hi, step = ctx.saved_tensors
        low, high, size = float(lo), float(hi), float(step)
        own = torch.empty_like(x)
        grad = _alike(grad, x)
        number, other = (torch.empty(min(BLOCK, x.numel()), dtype=x.dtype) for _ in range(2))
        of_lo = of_hi = of_step = 0.0
        for source, block, given in zip(_blocks(x), _blocks(own), _blocks(grad), strict=True):
            n, t = number[: len(source)], other[: len(source)]
            torch.clamp(source, low, high, out=n).div_(size)
            of_step += float(given @ torch.round(n, out=t).sub_(n))
            torch.clamp(source, min=low, out=n)  # a value that a crossed pair of bounds clips twice goes to the upper
            torch.sub(n, high, out=t).sign_().add_(1).mul_(0.5).mul_(given)  # 0 inside, 1/2 on the bound, 1 beyond
            of_hi += float(t.sum())
            torch.sub(given, t, out=block)
            torch.sub(low, source, out=t).sign_().add_(1).mul_(0.5).mul_(block)
            of_lo += float(t.sum())
            block.sub_(t)
        return own, *(step.new_tensor(value) for value in (of_lo, of_hi, of_step))


class Late(torch.autograd.Function):
    """Rounds to a grid that clips after it rounded.

    With `n = round(x / step)`: where `n` is inside, the gradient is 1 with regard to `x` and `n - x / step` with regard
    to `step`; where it is clipped, it goes to the bound, and the gradient with regard to `step` is the bound's number.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, least: Tensor, most: Tensor, inside: bool, offset: bool) -> Tensor:
        """`x` of any shape, three tensors without dimensions, and the fields of `Grid`."""
        x, step, least, most = _dense(x.detach()), step.detach(), least.detach(), most.detach()
        ctx.save_for_backward(x, step, least, most)
        ctx.inside, ctx.offset = inside, offset
        if _compiled and _fits(x):
            return _shaped(_compiled[0](_rows(x), step, least, most, offset), x)
        y = torch.empty_like(x)
        size, low, high = float(step), float(least), float(most)
        before = low if offset else 0.0
        for source, block in zip(_blocks(x), _blocks(y), strict=True):
            _numbers(torch.div(source, size, out=block), before, block).clamp_(low, high).mul_(size)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        x, step, least, most = ctx.saved_tensors
        grad = _alike(grad, x)
        if _compiled and _fits(x):
            made, *sums = _compiled[1](_rows(x), _rows(grad), step, least, most, ctx.inside, ctx.offset)
            of_step, of_least, of_most = (each.double().sum().to(step) for each in sums)
            return _shaped(made, x), of_step, of_least * step, of_most * step, None, None
        size, low, high = float(step), float(least), float(most)
        before = low if ctx.offset else 0.0
        own = torch.empty_like(x)
        share, number, clipped = (torch.empty(min(BLOCK, x.numel()), dtype=x.dtype) for _ in range(3))
        of_step = of_least = of_most = 0.0
        for source, block, given in zip(_blocks(x), _blocks(own), _blocks(grad), strict=True):
            t, n, c = (buffer[: len(source)] for buffer in (share, number, clipped))
            torch.div(source, size, out=t)
            _numbers(t, before, n)
            torch.clamp(n, low, high, out=c)
            of_step += float(given @ c)
            torch.eq(n, c, out=block) if ctx.inside else torch.logical_and(n > low, n < high, out=block)
            block.mul_(given)
            of_step -= float(block @ t)
            of_most += float(given @ (torch.gt(n, high, out=t) if ctx.inside else torch.ge(n, high, out=t)))
            of_least += float(given @ (torch.lt(n, low, out=t) if ctx.inside else torch.le(n, low, out=t)))
        of = (step.new_tensor(value) for value in (of_step, of_least * size, of_most * size))
        return own, *of, None, None


_compiled: tuple[Made, ...] = ()  # forward and backward of `Late`, where they are compiled


@contextmanager
def compiled(wanted: bool = True) -> Iterator[None]:
    """Within, large tensors are rounded by compiled functions, each of which reads and writes memory once.

    The values are the same to the last bit; the gradients of the ends of ranges are summed in another order.

    Args:
        wanted: False changes nothing.

    Raises:
        UsageError: there is no working C++ compiler, which `torch.compile` needs.
    """
    global _compiled
    if not wanted:
        yield
        return
    before = _compiled
    x, one = _rows(torch.zeros(BLOCK)), torch.tensor(1.0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the framework's own modules, as they are imported
            made = tuple(torch.compile(part, dynamic=True) for part in (_late, _late_backward))
            made[1](made[0](x, one, -one, one, False), x, one, -one, one, True, False)
    except Exception as error:
        raise UsageError(
            f"rounding cannot be compiled here ({str(error).splitlines()[0]}); install a C++ compiler, or leave"
            " compiling out, which takes longer and gives the same"
        ) from None
    _compiled = made
    try:
        yield
    finally:
        _compiled = before


def _late(x: Tensor, step: Tensor, least: Tensor, most: Tensor, offset: bool) -> Tensor:
    number = torch.round(x / step - least) + least if offset else torch.round(x / step)
    return torch.minimum(torch.maximum(number, least), most) * step


def _late_backward(
    x: Tensor, grad: Tensor, step: Tensor, least: Tensor, most: Tensor, inside: bool, offset: bool
) -> tuple[Tensor, ...]:
    share = x / step
    number = torch.round(share - least) + least if offset else torch.round(share)
    below, above = (number < least, number > most) if inside else (number <= least, number >= most)
    own = torch.where(below | above, 0.0, grad)
    held = torch.minimum(torch.maximum(number, least), most)
    of_least, of_most = (torch.where(which, grad, 0.0).sum(1) for which in (below, above))
    return own, (grad * held - own * share).sum(1), of_least, of_most


def _numbers(share: Tensor, before: float, out: Tensor) -> Tensor:
    """`share` rounded, into `out`; `before` is what is taken away before that and added after it."""
    if not before:
        return torch.round(share, out=out)
    return torch.sub(share, before, out=out).round_().add_(before)


def _dense(x: Tensor) -> Tensor:
    """`x`, or a copy of it, so that its numbers lie one after the other in some order of the dimensions."""
    return x if torch.empty_like(x).stride() == x.stride() else x.contiguous()


def _alike(grad: Tensor, x: Tensor) -> Tensor:
    """`grad` with its numbers in the order of those of `x`."""
    return grad if grad.stride() == x.stride() else torch.empty_like(x).copy_(grad)


def _flat(x: Tensor) -> Tensor:
    """The numbers of a dense tensor in the order in which they lie."""
    return x.as_strided((x.numel(),), (1,))


def _fits(x: Tensor) -> bool:
    """Whether compiled functions take it: large enough to pay, and of rows long enough for vectors."""
    return x.numel() >= BLOCK and math.gcd(x.numel(), ROW) >= SHORTEST


def _rows(x: Tensor) -> Tensor:
    """The numbers in rows, whose sums stay short enough for float32."""
    return _flat(x).view(-1, math.gcd(x.numel(), ROW))


def _shaped(rows: Tensor, x: Tensor) -> Tensor:
    """`_rows` undone."""
    return rows.as_strided(x.shape, x.stride())


def _blocks(x: Tensor) -> tuple[Tensor, ...]:
    return torch.split(_flat(x), BLOCK)
