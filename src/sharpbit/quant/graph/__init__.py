"""Eight bits for any graph of convolutions, sums, concatenations, shuffles, products and functions.

Each channel of a tensor has a scale and a zero point, from images. Weights are rounded one after the other, each error
made up by those that follow (GPTQ, Frantar et al., 2023), on the rounded inputs that a convolution really gets, and the
bias makes up for the mean error that came before. What is added is rounded with the convolution that it is added to.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import ModelError, QuantizeError
from sharpbit.graph import Graph
from sharpbit.modelfile import integer_graph as ig
from sharpbit.modelfile.integer_graph import Convolution, IntegerGraph, Product, Rearrangement, Sum, Table, Term
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.steps import Add, Apply, Convolve, Move, Multiply, Plus, Step, read_by
from sharpbit.quant.lossless import check_images
from sharpbit.quant.lossless.least_squares import places_of
from sharpbit.quant.lossless.rounding import compensated, steps_of
from sharpbit.quant.lossless.stage import TOP
from sharpbit.quant.sloped.layer import Range, of_result, ranges
from sharpbit.system.progress import Phases

IMAGES = 72  # that are looked at, at most
MEMORY = 96 << 20  # bytes of the largest tensor of all images
SAMPLES = 20000  # places that rounding looks at, at most
WILD, ORDINARY = 2.0, 0.75
WINDOWS = 24 << 20  # numbers of these at a time, at most


@torch.no_grad()
def quantize_graph(
    graph: Graph,
    scale: int,
    images: Tensor,
    *,
    compensate: bool = True,
    seed: int = 0,
    progress: Phases | None = None,
) -> IntegerGraph:
    """The integer graph that does what `graph` does with images like these.

    Args:
        graph: A float graph for RGB from 0 to 1.
        scale: Its upscaling factor.
        images: `(N, 3, h, w)` uint8, LR images such as the network will get.
        compensate: Whether errors of weights are made up by others; without, it takes a tenth of the time.
        seed: Seed of everything that is drawn at random.
        progress: Called with a word, what is done of it, and how much there is.

    Raises:
        QuantizeError: An operator that integer graphs do not have, a size that is beyond them, or images that say
            nothing.
    """
    check_images(images)
    progress = progress or (lambda word, done, total: None)
    return _Quantizer(lowered(graph), images, compensate, seed, progress).graph(scale)


class _Quantizer:
    """Float values of all tensors and, beside them, what integers make of them: bytes less their zero points."""

    def __init__(self, steps: list[Step], images: Tensor, compensate: bool, seed: int, progress: Phases) -> None:
        self.steps, self.compensate, self.progress = steps, compensate, progress
        self.generator = torch.Generator().manual_seed(seed)
        images = images[torch.randperm(len(images), generator=self.generator)[:IMAGES]].float()
        together = max(1, int(MEMORY / (_largest(steps) * images[0, 0].numel() * 4)))
        self.low, self.high = self._extremes(torch.split(images / TOP, together))
        few = images[: max(4, together)]
        nothing = torch.zeros(0)
        self.real, self.whole = [few / TOP], [few]
        self.range = [Range(torch.full((3,), 1 / TOP, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))]
        last = {number: k for k, step in enumerate(steps) for number in read_by(step)}
        moves = {step.tensor: step for step in steps if isinstance(step, Move) and step.kind == ig.SHUFFLE}
        self.nodes: list[ig.Node] = []
        for k, step in enumerate(steps):
            real = step.run(self.real)
            after = self._range(k, moves.get(k + 1))
            node = self._node(step, after)
            self.nodes.append(node)
            self.whole.append(self._run(step, node, after))
            self.real.append(real)
            self.range.append(after)
            for number in read_by(step):
                if last[number] == k:
                    self.real[number] = self.whole[number] = nothing
            progress("rounding", k + 1, len(steps))

    def graph(self, scale: int) -> IntegerGraph:
        """What has been made."""
        try:
            return IntegerGraph(tuple(self.nodes), scale, np.zeros(3, np.uint8))
        except ModelError as error:
            raise QuantizeError(f"the network is beyond what integer graphs can be: {error}") from None

    def _extremes(self, batches: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """The smallest and the largest value of each channel of what each step makes, 0 at most and at least.

        Where a network runs wild with a few images, these do not count: at most `WILD` times what most images have.
        """
        last = {number: k for k, step in enumerate(self.steps) for number in read_by(step)}
        low: list[list[Tensor]] = [[] for _ in self.steps]
        high: list[list[Tensor]] = [[] for _ in self.steps]
        for number, batch in enumerate(batches):
            values = [batch]
            for k, step in enumerate(self.steps):
                values.append(step.run(values))
                low[k].append(-values[-1].amin((2, 3)).double())
                high[k].append(values[-1].amax((2, 3)).double())
                for read in read_by(step):
                    if last[read] == k:
                        values[read] = torch.zeros(0)
            self.progress("measuring", number + 1, len(batches))
        return [-_most(torch.cat(found)) for found in low], [_most(torch.cat(found)) for found in high]

    def _range(self, number: int, shuffle: Move | None) -> Range:
        """How bytes stand for the values of what a step makes; `shuffle` moves them afterwards."""
        step, last = self.steps[number], self.steps[-1]
        if isinstance(step, Move):
            found, area = self.range[step.tensor], step.factor**2
            if step.kind == ig.UNSHUFFLE:
                return Range(found.step.repeat_interleave(area), found.zero.repeat_interleave(area))
            return found if step.kind == ig.NEAREST else Range(found.step[::area], found.zero[::area])
        low, high = self.low[number], self.high[number]
        if step is last or (shuffle is last and number + 2 == len(self.steps)):
            return of_result(len(low))
        if shuffle is None:
            return ranges(torch.stack([low, high], 1)[None, :, :, None])
        area = shuffle.factor**2
        low, high = low.reshape(-1, area).amin(1), high.reshape(-1, area).amax(1)
        found = ranges(torch.stack([low, high], 1)[None, :, :, None])
        return Range(found.step.repeat_interleave(area), found.zero.repeat_interleave(area))

    def _node(self, step: Step, after: Range) -> ig.Node:
        zero = after.zero.to(torch.uint8).numpy()
        match step:
            case Convolve():
                return self._convolution(step, after)
            case Add():
                return Sum(self._terms(step.plus, after), zero)
            case Move():
                return Rearrangement(step.kind, step.tensor, step.factor)
            case Multiply():
                both = self.range[step.first].step * self.range[step.second].step
                return Product((step.first, step.second), _floats(both / after.step), zero)
            case Apply():
                before = self.range[step.tensor]
                values = (torch.arange(256, dtype=torch.float64) - before.zero[:, None]) * before.step[:, None]
                found = step.function(values.float()[None, :, None])[0, :, 0].double()
                bytes_ = (found / after.step[:, None]).round() + after.zero[:, None]
                return Table(step.tensor, bytes_.clamp(0, TOP).to(torch.uint8).numpy(), zero)

    def _terms(self, plus: list[Plus], after: Range) -> tuple[Term, ...]:
        steps = (self.range[one.tensor].step.repeat_interleave(one.repeat) for one in plus)
        return tuple(
            Term(one.tensor, _floats(one.factor * own / after.step)) for one, own in zip(plus, steps, strict=True)
        )

    def _convolution(self, step: Convolve, after: Range) -> Convolution:
        read = torch.cat([self.whole[number] for number in step.inputs], 1)
        own = torch.cat([self.range[number].step for number in step.inputs])
        zeros = torch.cat([self.range[number].zero for number in step.inputs])
        outputs, inputs, side, _ = step.weight.shape
        count = min(SAMPLES, WINDOWS // (inputs * side**2 + 1))
        places = places_of(read, count, self.generator)
        wanted = step.sums(self.real)[places[0], :, places[1], places[2]].double() / after.step
        whole, size = torch.zeros(outputs, inputs * side**2 + 1, dtype=torch.float64), torch.ones(outputs).double()
        each = outputs // step.groups
        begins = torch.zeros(outputs, dtype=torch.float64)
        for group in range(step.groups):
            rows, columns = slice(group * each, (group + 1) * each), slice(group * inputs, (group + 1) * inputs)
            kernel = (step.weight[rows] * own[columns, None, None]).flatten(1)
            kernel = torch.cat([kernel, step.bias[rows, None] / TOP], 1) / after.step[rows, None]
            seen = _windows(read[:, columns], places, side)
            kernel[:, -1] += (wanted[:, rows] - seen @ kernel.T).mean(0) / TOP
            size[rows] = steps_of(kernel)
            whole[rows] = kernel / size[rows, None]
            whole[rows, :-1] = whole[rows, :-1].round()
            if self.compensate:
                whole[rows] = compensated(kernel, size[rows], seen.T @ seen / len(seen))
            taken = whole[rows, :-1].reshape(each, inputs, -1).sum(2)
            begins[rows] = taken @ zeros[columns]
        limit = ig.MAX_SUM - 256 * whole[:, :-1].abs().sum(1)
        bias = (whole[:, -1] * TOP - begins).round()
        bias = torch.maximum(torch.minimum(bias, limit), -limit)
        return Convolution(
            tuple(step.inputs),
            whole[:, :-1].reshape(step.weight.shape).to(torch.int8).numpy(),
            bias.to(torch.int32).numpy(),
            _floats(size),
            _floats(size * step.below),
            after.zero.to(torch.uint8).numpy(),
            step.groups,
            self._terms(step.plus, after),
        )

    def _run(self, step: Step, node: ig.Node, after: Range) -> Tensor:
        """What integers make of it: bytes less their zero points, in float32."""
        if isinstance(step, Move):
            return step.run(self.whole)
        zero = after.zero.float()[:, None, None]
        match node:
            case Convolution():
                read = torch.cat([self.whole[number] for number in node.inputs], 1)
                weight, side = torch.from_numpy(node.weight), node.weight.shape[2]
                zeros = torch.cat([self.range[number].zero for number in node.inputs]).reshape(node.groups, -1)
                taken = torch.einsum(
                    "goi,gi->go", weight.double().sum((2, 3)).reshape(node.groups, -1, zeros.shape[1]), zeros
                )
                bias = torch.from_numpy(node.bias).double() + taken.flatten()
                total = F.conv2d(read, weight.float(), bias.float(), padding=side // 2, groups=node.groups)
                gain, below = (torch.from_numpy(part)[:, None, None] for part in (node.multiplier, node.negative))
                value = torch.where(total < 0, total * below, total * gain)
            case Product():
                value = self.whole[node.inputs[0]] * self.whole[node.inputs[1]]
                value = value * torch.from_numpy(node.multiplier)[:, None, None]
            case Table():
                before = self.range[node.input].zero[:, None, None]
                index = (self.whole[node.input] + before).long()
                table = torch.from_numpy(node.values).float()
                channels = torch.arange(len(table))[:, None, None]
                return table[channels, index] - zero
            case _:
                value = torch.zeros(1)
        terms = node.terms if isinstance(node, Convolution | Sum) else ()
        plus = step.plus if isinstance(step, Convolve | Add) else []
        for term, one in zip(terms, plus, strict=True):
            value = value + Plus(one.tensor, torch.from_numpy(term.multiplier), one.repeat).of(self.whole)
        return (value.round() + zero).clamp(0, TOP) - zero


def _most(found: Tensor) -> Tensor:
    """The largest of `(images, channels)`, 0 at least."""
    if not bool(torch.isfinite(found).all()):
        raise QuantizeError("the network gives numbers that are not finite with these images")
    return torch.minimum(found.amax(0), WILD * found.quantile(ORDINARY, 0)).clamp(min=0)


def _floats(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return values.float().numpy()


def _windows(x: Tensor, places: tuple[Tensor, Tensor, Tensor], side: int) -> Tensor:
    """What a kernel sees at each place, and a constant one: `(count, channels * side**2 + 1)` float64."""
    around = torch.arange(side)
    image, row, column = places
    rows, columns = row[:, None, None] + around[:, None], column[:, None, None] + around
    cut = F.pad(x, (side // 2,) * 4)[image[:, None, None], :, rows, columns]
    flat = cut.permute(0, 3, 1, 2).flatten(1).double()
    return torch.cat([flat, torch.full((len(flat), 1), TOP, dtype=flat.dtype)], 1)


def _largest(steps: list[Step]) -> float:
    """The most numbers that a tensor has for a pixel of the image."""
    sizes: list[tuple[int, Fraction]] = [(3, Fraction(1))]
    for step in steps:
        channels, level = sizes[read_by(step)[0]]
        match step:
            case Convolve():
                channels = len(step.bias)
            case Move() if step.kind == ig.UNSHUFFLE:
                channels, level = channels * step.factor**2, level / step.factor
            case Move():
                level = level * step.factor
                channels = channels // step.factor**2 if step.kind == ig.SHUFFLE else channels
            case Add():
                channels = len(step.plus[0].factor)
            case _:
                pass
        sizes.append((channels, level))
    return max(float(channels * level**2) for channels, level in sizes)
