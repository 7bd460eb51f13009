"""A graph of steps rounded to integers, one step after the other, each on what the ones before really give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import ModelError, QuantizeError
from sharpbit.modelfile import integer_graph as ig
from sharpbit.modelfile.integer_graph import (
    Bilinear,
    Convolution,
    IntegerGraph,
    Largest,
    Mean,
    Product,
    Rearrangement,
    Sum,
    Table,
    Term,
)
from sharpbit.modelfile.integer_graph_checks import LARGEST_BOTH, MAX_SUM
from sharpbit.modelfile.integer_layer import FINE, MIDDLE
from sharpbit.quant.graph.finer import grid_of, kernel_of
from sharpbit.quant.graph.kept import Kept
from sharpbit.quant.graph.moments import Moments
from sharpbit.quant.graph.ranges import last_readers
from sharpbit.quant.graph.steps import (
    Add,
    Apply,
    Average,
    Convolve,
    Interpolate,
    Move,
    Multiply,
    Pad,
    Plus,
    Pool,
    Step,
    read_by,
)
from sharpbit.quant.graph.widths import Widths
from sharpbit.quant.lossless.rounding import LIMIT, compensated
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range
from sharpbit.system.progress import Phases

MEAN_PARTS = FINE**2  # of a byte in which means count


class Rounder:
    """Steps as nodes of an integer graph, and what these make of images.

    Values of tensors are bytes less their zero points, in float32, with what a second byte holds as a fraction.

    Args:
        steps: The steps.
        ranges: The range of each tensor.
        widths: What has 16 bits.
        compensate: Whether errors of weights are made up by others.
        seed: Seed of the places that rounding looks at.
        kept: Where weights are kept that were rounded before, in the same steps.
    """

    def __init__(
        self,
        steps: list[Step],
        ranges: list[Range],
        widths: Widths,
        compensate: bool,
        seed: int,
        kept: Kept,
    ) -> None:
        self.steps, self.range, self.widths = steps, ranges, widths
        self.compensate, self.seed, self.kept = compensate, seed, kept
        self.nodes: list[ig.Node] = []

    def rounded(self, images: Tensor, scale: int, progress: Phases, word: str) -> IntegerGraph:
        """The integer graph; `images` are `(N, 3, h, w)` bytes in float32, `word` names the phase for `progress`."""
        self.nodes = []
        real, whole = [images / TOP], [images]
        last = last_readers(self.steps)
        self._moments = Moments(self.seed)
        for k, step in enumerate(self.steps):
            if isinstance(step, Convolve):
                sums = step.sums(real)
                self.nodes.append(self._convolution(k, sums, whole))
                real.append(step.finished(sums, real))
            else:
                self.nodes.append(self._node(k))
                real.append(step.run(real))
            whole.append(self.run(k, whole))
            for number in read_by(step):
                if last[number] == k:
                    real[number] = whole[number] = torch.zeros(0)
            progress(word, k + 1, len(self.steps))
        try:
            return IntegerGraph(tuple(self.nodes), scale, np.zeros(3, np.uint8))
        except ModelError as error:
            raise QuantizeError(f"the network is beyond what integer graphs can be: {error}") from None

    def _node(self, k: int) -> ig.Node:
        step, after, wide = self.steps[k], self.range[k + 1], k + 1 in self.widths.tensors
        zero = after.zero.to(torch.uint8).numpy()
        match step:
            case Add():
                return Sum(self._terms(step.plus, after), zero, wide)
            case Move():
                return Rearrangement(step.kind, step.tensor, step.factor)
            case Pool():
                return Largest(step.tensor, step.side, step.stride, step.padding)
            case Pad():
                return step.node
            case Interpolate():
                return Bilinear(step.tensor, step.factor, step.like, step.aligned, wide)
            case Average():
                own = self.range[step.tensor].step / MEAN_PARTS
                return Mean(step.tensor, _floats(own / after.step), zero, wide)
            case Multiply():
                both = self.range[step.first].step / self._parts(step.first) * self.range[step.second].step
                both = both / self._parts(step.second)
                return Product((step.first, step.second), _floats(both / after.step), zero, wide, both=True)
            case Apply():
                before = self.range[step.tensor]
                entries = torch.arange(-1, 257) if wide else torch.arange(256)
                values = (entries.double() - before.zero[:, None]) * before.step[:, None]
                found = step.function(values.float()[None, :, None])[0, :, 0].double()
                found = found / after.step[:, None] + after.zero[:, None]
                if not wide:
                    return Table(step.tensor, found.round().clamp(0, TOP).to(torch.uint8).numpy(), zero)
                levels = (found * FINE).round() + MIDDLE
                return Table(step.tensor, levels.clamp(0, FINE**2 - 1).numpy().astype(np.uint16), zero)
            case _:
                raise AssertionError(step)

    def _terms(self, plus: list[Plus], after: Range) -> tuple[Term, ...]:
        steps = (self.range[one.tensor].step.repeat_interleave(one.repeat) / self._parts(one.tensor) for one in plus)
        return tuple(
            Term(one.tensor, _floats(one.factor * own / after.step)) for one, own in zip(plus, steps, strict=True)
        )

    def _parts(self, tensor: int) -> int:
        """Parts of a byte in which a tensor counts where it is read as a whole."""
        return FINE if tensor in self.widths.tensors else 1

    def _read(self, k: int, numbers: Sequence[int], whole: list[Tensor]) -> Tensor:
        """What a convolution reads."""
        values = [whole[number] if k in self.widths.both else _first(whole[number]) for number in numbers]
        return torch.cat(values, 1)

    def _convolution(self, k: int, sums: Tensor, whole_values: list[Tensor]) -> Convolution:
        step, after = self.steps[k], self.range[k + 1]
        assert isinstance(step, Convolve)
        parts, largest = (FINE, LARGEST_BOTH) if k in self.widths.both else (1, FINE)
        whole, size = self._weights(k, step, whole_values, sums.shape)
        # The mean of what is read goes through the convolution: its bias makes up for the mean error.
        read = self._read(k, step.inputs, whole_values).mean(0, keepdim=True)
        given = F.conv2d(read, whole.float(), None, step.stride, step.around, groups=step.groups).mean((0, 2, 3))
        wanted = sums.mean((0, 2, 3)).double() / after.step / size
        zeros = torch.cat([self.range[number].zero for number in step.inputs]).reshape(step.groups, 1, -1)
        taken = (whole.sum((2, 3)).reshape(step.groups, -1, zeros.shape[2]) * zeros).sum(2).flatten()
        limit = MAX_SUM - largest * whole.flatten(1).abs().sum(1)
        bias = ((wanted - given.double() - taken) * parts).round()
        bias = torch.maximum(torch.minimum(bias, limit), -limit)
        return Convolution(
            tuple(step.inputs),
            whole.to(torch.int8).numpy(),
            bias.to(torch.int32).numpy(),
            _floats(size / parts),
            _floats(size / parts * step.below),
            after.zero.to(torch.uint8).numpy(),
            step.groups,
            self._terms(step.plus, after),
            k + 1 in self.widths.tensors,
            k in self.widths.both,
            step.stride,
            step.padding,
        )

    def _weights(self, k: int, step: Convolve, values: list[Tensor], result: torch.Size) -> tuple[Tensor, Tensor]:
        """Whole weights, and the step of those of each output in steps of the result."""
        after, read = self.range[k + 1], [self.range[number] for number in step.inputs]
        kernel = kernel_of(step, read, after)
        grid = grid_of(step, read, after, k in self.widths.both) if step.grid is None else step.grid
        size = grid / after.step
        if not self.compensate or step.grid is not None:
            return (kernel / size[:, None])[:, :-1].round().clamp(-LIMIT, LIMIT).reshape(step.weight.shape), size

        def made() -> Tensor:
            moments = self._moments.of(step, values, result)
            rows = zip(kernel.chunk(step.groups), size.chunk(step.groups), moments, strict=True)
            return torch.cat([compensated(*group)[:, :-1] for group in rows]).to(torch.int8)

        return self.kept.tensor("weights", (kernel, size), made).double().reshape(step.weight.shape), size

    def run(self, k: int, whole: list[Tensor]) -> Tensor:
        """What the integers make of tensors at a step."""
        step, node, after = self.steps[k], self.nodes[k], self.range[k + 1]
        if isinstance(step, Move | Pad):
            return step.run(whole)
        if isinstance(step, Pool | Interpolate):
            first = [*whole]
            first[step.tensor] = _first(whole[step.tensor])
            value = step.run(first)
            return (value * FINE).round() / FINE if k + 1 in self.widths.tensors else value.round()
        zero = after.zero.float()[:, None, None]
        match node:
            case Convolution():
                read = self._read(k, node.inputs, whole)
                parts = FINE if k in self.widths.both else 1
                weight = torch.from_numpy(node.weight)
                zeros = torch.cat([self.range[number].zero for number in node.inputs]).reshape(node.groups, -1)
                taken = torch.einsum(
                    "goi,gi->go", weight.double().sum((2, 3)).reshape(node.groups, -1, zeros.shape[1]), zeros
                )
                bias = torch.from_numpy(node.bias).double() / parts + taken.flatten()
                _, stride, padding = node.window
                total = F.conv2d(read, weight.float(), bias.float(), stride, padding, groups=node.groups)
                gain, below = (torch.from_numpy(m * parts)[:, None, None] for m in (node.multiplier, node.negative))
                value = torch.where(total < 0, total * below, total * gain)
            case Product():
                gain = torch.from_numpy(node.multiplier * self._parts(node.inputs[0]))[:, None, None]
                gain = gain * self._parts(node.inputs[1])
                value = whole[node.inputs[0]] * whole[node.inputs[1]] * gain
            case Mean():
                gain = torch.from_numpy(node.multiplier * MEAN_PARTS)[:, None, None]
                value = whole[node.input].mean((2, 3), keepdim=True) * gain
            case Table():
                return _looked_up(node, whole[node.input] + self.range[node.input].zero.float()[:, None, None]) - zero
            case _:
                value = torch.zeros(1)
        terms = node.terms if isinstance(node, Convolution | Sum) else ()
        plus = step.plus if isinstance(step, Convolve | Add) else []
        for term, one in zip(terms, plus, strict=True):
            multiplier = torch.from_numpy(term.multiplier * self._parts(one.tensor))
            value = value + Plus(one.tensor, multiplier, one.repeat).of(whole)
        level = (value.round() + zero).clamp(0, TOP) - zero
        if k + 1 not in self.widths.tensors:
            return level
        return level + ((value - level) * FINE).round().clamp(-MIDDLE, MIDDLE - 1) / FINE


def _floats(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return values.float().numpy()


def _first(whole: Tensor) -> Tensor:
    """First bytes alone."""
    return (whole + 0.5).floor()


def _looked_up(table: Table, byte: Tensor) -> Tensor:
    """Bytes, with what a second byte holds as a fraction."""
    values = torch.from_numpy(table.values.astype(np.int64))
    channels = torch.arange(len(values))[:, None, None]
    if not table.wide:
        return values[channels, _first(byte).long()].float()
    place = (byte * FINE).long() + FINE
    at, weight = place // FINE, place % FINE
    level = values[channels, at] * (FINE - weight) + values[channels, at + 1] * weight
    return ((level + MIDDLE) // FINE - MIDDLE).float() / FINE
