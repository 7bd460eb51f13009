"""A network as one chain of layers, each a convolution and a PReLU: what `signals` describe, laid out.

Streams that run side by side become channels of one layer; what skips layers passes them as channels that are copied.
Two forms: `plain` keeps the shortcut of the image around the whole chain as an addition, and leaves clipping to a
clamp; `et` (the equivalent transformation of Chao et al., CVPR 2023) is convolution and ReLU or PReLU alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sharpbit.errors import ReparameterizeError, UsageError
from sharpbit.reparam import kernels
from sharpbit.reparam.follow import follow
from sharpbit.reparam.kernels import Kernel
from sharpbit.reparam.signals import Signal, Value, unclipped, value_of

FORMS = ("plain", "et")
ALIGNED = 4  # the published forms keep numbers of channels multiples of four, which mobile engines like


@dataclass(frozen=True)
class Stage:
    """One layer: a convolution, then a PReLU with a slope for each channel (0: ReLU, 1: nothing)."""

    kernel: Kernel
    slope: Tensor


@dataclass(frozen=True)
class Chain:
    """Layers one after the other, then a pixel shuffle of the first `3 * scale**2` channels.

    Attributes:
        stages: layers in their order.
        scale: factor of the pixel shuffle at the end.
        skip: whether the image, each channel repeated, is added before the pixel shuffle.
        clamp: whether the result is clamped to `[0, 1]`.
    """

    stages: tuple[Stage, ...]
    scale: int
    skip: bool = False
    clamp: bool = False


def chain(net: nn.Module, form: str = "plain") -> Chain:
    """The chain that computes what `net` does with an image in `[0, 1]`, the result clipped to `[0, 1]`.

    Args:
        net: network from `(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`.
        form: `plain` or `et`, see above.

    Raises:
        ReparameterizeError: a piece of `net` that has no exact form; it is named.
        UsageError: no such form.
    """
    if form not in FORMS:
        raise UsageError(f"there is no form {form!r}; known are {', '.join(FORMS)}")
    result = _result(net)
    if form == "et":
        return _clipped(_stages(result, ALIGNED), result.shuffle)
    inner = _without_skip(result)
    return Chain(_stages(inner or result, 1), result.shuffle, skip=inner is not None, clamp=True)


def relu_chain(net: nn.Module) -> Chain:
    """The same function as convolutions and ReLU alone, still to be clipped: for arithmetic that clips by itself.

    Raises:
        ReparameterizeError: a piece of `net` that has no exact form; it is named.
    """
    result = _result(net)
    return without_prelu(Chain(_stages(result, 1), result.shuffle, clamp=True))


def _result(net: nn.Module) -> Value:
    """What comes out of `net`, before it is clipped and shuffled into pixels."""
    result = unclipped(follow(net))
    if not result.terms:
        raise ReparameterizeError(f"{type(net).__name__} does not look at the image")
    if len(result.bias) != 3 * result.shuffle**2:
        raise ReparameterizeError(
            f"{type(net).__name__} gives {len(result.bias)} channels before the pixel shuffle; an image of three"
            f" channels, {result.shuffle} times as large, needs {3 * result.shuffle**2}"
        )
    return result


def without_prelu(source: Chain) -> Chain:
    """The same chain with ReLU alone: a channel whose slope is not zero becomes two."""
    stages = list(source.stages)
    for k in range(len(stages) - 1):
        first, after = stages[k], stages[k + 1]
        if bool((first.slope == 1).all()):
            continue
        kernel, following = kernels.rectified(first.kernel, first.slope, after.kernel)
        stages[k] = Stage(kernel, torch.zeros_like(kernel.bias))
        stages[k + 1] = Stage(following, after.slope)
    return replace(source, stages=tuple(stages))


def _stages(result: Value, aligned: int) -> tuple[Stage, ...]:
    """Every signal that `result` needs, in layers by their level, and a last layer for `result` itself."""
    depth = result.level
    order = _signals(result)
    last_use = dict.fromkeys(order, 0)
    for value, level in [(s.value, s.level) for s in order if s.value] + [(result, depth + 1)]:
        for signal in value.terms:
            last_use[signal] = max(last_use[signal], level)
    stages = []
    before: list[Signal | int] = [signal for signal in order if signal.level == 0]
    for level in range(1, depth + 1):
        made = [signal for signal in order if signal.level == level]
        kept = [signal for signal in order if signal.level < level < last_use[signal]]
        spare = _spare(made, kept, aligned)
        parts = [_row(signal.value, before) for signal in made if signal.value]
        parts += [_row(Value({}, torch.zeros(spare, dtype=torch.float64)), before)] if spare else []
        parts += [_row(value_of(signal), before) for signal in kept]
        slope = torch.cat([signal.slope for signal in made])
        linear = bool((slope == 1).all())
        slopes = [slope, torch.full((spare,), float(linear), dtype=slope.dtype)]
        slopes += [torch.full_like(s.slope, 1.0 if linear or not s.positive else 0.0) for s in kept]
        stages.append(Stage(kernels.beside(*parts), torch.cat(slopes)))
        before = [*made, *([spare] if spare else []), *kept]
    return (*stages, Stage(_row(result, before), torch.ones_like(result.bias)))


def _signals(result: Value) -> list[Signal]:
    """All signals that a value depends on, each after those that it depends on itself."""
    found: dict[Signal, None] = {}

    def visit(value: Value) -> None:
        for signal in value.terms:
            if signal not in found:
                if signal.value:
                    visit(signal.value)
                found[signal] = None

    visit(result)
    return list(found)


def _row(value: Value, before: Iterable[Signal | int]) -> Kernel:
    """The kernel that makes `value` of a layer that holds these signals (a number: so many spare channels)."""
    blocks = []
    rows = len(value.bias)
    for signal in before:
        if isinstance(signal, Signal) and signal in value.terms:
            weight = value.terms[signal]
        else:
            columns = signal if isinstance(signal, int) else signal.channels
            weight = torch.zeros(rows, columns, 1, 1, dtype=torch.float64)
        blocks.append(Kernel(weight, torch.zeros_like(value.bias)))
    return Kernel(kernels.joined(*blocks).weight, value.bias)


def _spare(made: list[Signal], kept: list[Signal], aligned: int) -> int:
    """Channels to add so that a layer whose own number is a multiple of `aligned` stays one with the kept ones."""
    own, more = sum(s.channels for s in made), sum(s.channels for s in kept)
    return -more % aligned if own % aligned == 0 else 0


def _without_skip(result: Value) -> Value | None:
    """The rest of `result`, if it is a sum of the repeated image and something else."""
    for signal, weight in result.terms.items():
        times = result.shuffle**2
        anchor = kernels.repeat(signal.channels, times, side=1).double()
        if signal.value is None and len(result.terms) > 1 and torch.equal(weight, anchor):
            return replace(result, terms={s: w for s, w in result.terms.items() if s is not signal})
    return None


def _clipped(stages: tuple[Stage, ...], scale: int) -> Chain:
    """The chain with clipping to `[0, 1]` as two ReLUs, its last layers widened to a multiple of four."""
    *hidden, last = stages
    spare = -len(last.slope) % ALIGNED
    weight, bias = last.kernel
    nothing = Kernel(weight.new_zeros(spare, *weight.shape[1:]), bias.new_zeros(spare))
    inner = kernels.one_minus(kernels.beside(last.kernel, nothing))
    rows = len(inner.bias)
    outer = kernels.one_minus(Kernel(kernels.identity(rows, rows, 1).to(bias), torch.zeros_like(inner.bias)))
    slope = torch.zeros_like(inner.bias)
    return Chain((*hidden, Stage(inner, slope), Stage(outer, slope)), scale)
