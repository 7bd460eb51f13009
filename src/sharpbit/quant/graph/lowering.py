"""A float graph (`sharpbit.graph`) as the steps of an integer graph: slopes, factors and sums go into convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import QuantizeError
from sharpbit.graph import Graph, Node
from sharpbit.graph.geometry import chosen
from sharpbit.modelfile.integer_graph import NEAREST, REPLICATE, SHUFFLE, UNSHUFFLE, ZERO
from sharpbit.modelfile.integer_graph_checks import MAX_FACTOR, MAX_KERNEL, MAX_PAD
from sharpbit.quant.graph.building import Building, Value
from sharpbit.quant.graph.kernels import CUBIC_REACH, centred, cubic_phases, phases_of, spread, square
from sharpbit.quant.graph.steps import Add, Apply, Average, Convolve, Interpolate, Move, Multiply, Pad, Plus, Pool, Step

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{kind: getattr(torch, kind) for kind in ("sigmoid", "tanh", "exp", "abs", "erf", "sin", "cos")},
    "sqrt": lambda x: x.clamp(min=0).sqrt(),
    **{kind: getattr(F, kind) for kind in ("softplus", "softsign", "gelu", "mish", "hardsigmoid", "hardswish")},
}


def lowered(graph: Graph) -> list[Step]:
    """The steps; step k makes tensor k + 1, and the last one the result.

    Raises:
        QuantizeError: An operator that integer graphs do not have; the sentence names it.
    """
    return _Lowering(graph).steps


class _Lowering(Building):
    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        if graph.channels != 3:
            raise QuantizeError(f"the network takes {graph.channels} channels; integer graphs take the 3 of RGB")
        for node in graph.nodes:
            value = self._lower(node)
            if self.users[node.name] > 1 or node.name == graph.output:
                value = self._single(value)
            self.values[node.name] = value
        number = self.values[graph.output].parts[0][0]
        if number != len(self.steps) or not self._rounds(number):
            self._emit(Add([Plus(number, torch.ones(self.channels[number], dtype=torch.float64))]), 3)

    def _rounds(self, number: int) -> bool:
        """Whether a tensor is made in any range that is asked for, perhaps before a pixel shuffle."""
        if number == 0:
            return False
        step = self.steps[number - 1]
        if isinstance(step, Move) and step.kind == SHUFFLE and step.tensor == number - 1:
            step = self.steps[number - 2]
        return isinstance(step, Convolve | Add | Multiply | Apply)

    def _lower(self, node: Node) -> Value:
        given = [self.values[name] for name in node.inputs]
        rule = getattr(self, f"_{node.op}", None)
        if rule is None:
            raise self._refusal(node)
        value = rule(node, *given)
        assert isinstance(value, Value)
        return value

    def _conv(self, node: Node, given: Value) -> Value:
        weight, groups = self._numbers(node, "weight"), node["groups"]
        weight, around = square(spread(weight, node["dilation"]), node["stride"], node["padding"])
        side, stride, padding = self._window(node, weight.shape[2:], around)
        if groups > 1:
            inputs = [self._tensor(given)]
        else:
            inputs, matrix = self._gathered(self._made(given))
            weight = torch.einsum("oikl,ij->ojkl", weight, matrix)
        bias = self._numbers(node, "bias")
        steps = (1, None) if (stride, 2 * padding + 1) == (1, side) else (stride, padding)
        return Value(conv=Convolve(inputs, weight, bias, torch.ones_like(bias), groups, [], *steps))

    def _window(self, node: Node, kernel: Sequence[int], around: Sequence[int] = ()) -> tuple[int, int, int]:
        """Side, stride and padding of a window that is the same both ways."""
        settings = [{*kernel}, {*node["stride"]}, {*(around or node["padding"])}]
        side, stride, padding = (max(found) for found in settings)
        if any(len(found) > 1 for found in settings) or side > MAX_KERNEL or stride > MAX_FACTOR or padding > side // 2:
            what = f" of {kernel[0]}x{kernel[1]}, stride {node['stride']}, padding {node['padding']}"
            raise self._refusal(node, f"{what}, where {MAX_KERNEL}x{MAX_KERNEL} is the most")
        return side, stride, padding

    def _deconv(self, node: Node, given: Value) -> Value:
        """A convolution for each place between pixels, a pixel shuffle, and what that gives too much cut off."""
        (side, _), (factor, _), (padding, _) = node["kernel"], node["stride"], node["padding"]
        plain = all(len({*node[key]}) == 1 for key in ("kernel", "stride", "padding", "more", "dilation"))
        if not plain or node["dilation"][0] != 1 or factor < 2 or factor > MAX_FACTOR:
            raise self._refusal(node, f" of {side}x{side}, stride {factor}, padding {padding}")
        weight, groups = self._numbers(node, "weight"), node["groups"]
        centre, around, cut = centred(side, factor, padding, node["more"][0])
        phases, reach = phases_of(weight, factor, centre, groups)
        if 2 * reach + 1 > MAX_KERNEL:
            raise self._refusal(node, f" of {side}x{side}, stride {factor}")
        bias = self._numbers(node, "bias").repeat_interleave(factor**2)
        if any(around):
            given = self._padded(node, given, around, ZERO)
        conv = Convolve([self._tensor(given)], phases, bias, torch.ones_like(bias), groups, [])
        shuffled = Value(move=(SHUFFLE, Value(conv=conv), factor))
        return self._padded(node, shuffled, cut, ZERO) if any(cut) else shuffled

    def _pad(self, node: Node, given: Value) -> Value:
        return self._padded(node, given, node["sides"], node["mode"])

    def _crop(self, node: Node, given: Value) -> Value:
        return self._padded(node, given, [-side for side in node["sides"]], ZERO)

    def _padded(self, node: Node, given: Value, sides: Sequence[int], mode: str) -> Value:
        top, left, bottom, right = sides
        if (top, bottom) != (left, right) or max(map(abs, sides)) > MAX_PAD:
            raise self._refusal(node, f" of {top}, {left}, {bottom} and {right} pixels")
        return self._each(given, lambda number: Pad(number, top, bottom, mode))

    def _mean(self, node: Node, given: Value) -> Value:
        return self._each(given, Average)

    def _each(self, given: Value, step: Callable[[int], Step]) -> Value:
        """A step that does the same to each channel, of each tensor that has a part of the value."""
        parts = self._made(given).parts
        made = {k: self._emit(step(k), self.channels[k]) for k in dict.fromkeys(k for k, _ in parts)}
        return Value([(made[number], channels) for number, channels in parts])

    def _maxpool(self, node: Node, given: Value) -> Value:
        number = self._tensor(given)
        return self._whole(self._emit(Pool(number, *self._window(node, node["kernel"])), self.channels[number]))

    def _avgpool(self, node: Node, given: Value) -> Value:
        """A convolution of each channel with equal weights."""
        side, stride, padding = self._window(node, node["kernel"])
        number = self._tensor(given)
        channels = self.channels[number]
        weight = torch.full((channels, 1, side, side), 1 / side**2, dtype=torch.float64)
        bias = torch.zeros(channels, dtype=torch.float64)
        return Value(conv=Convolve([number], weight, bias, bias + 1, channels, [], stride, padding))

    def _affine(self, node: Node, given: Value) -> Value:
        factor, summand = self._numbers(node, "weight", 1).flatten(), self._numbers(node, "bias")
        if given.conv and not (summand.any() and (given.conv.plus or (given.conv.below != 1).any())):
            one, sign = given.conv, factor < 0
            if not (sign.any() and (one.below != 1).any()):
                plus = [replace(plus, factor=plus.factor * factor) for plus in one.plus]
                weight, bias = one.weight * factor[:, None, None, None], one.bias * factor + summand
                return Value(conv=replace(one, weight=weight, bias=bias, plus=plus))
        if not summand.any():
            return Value(plus=[replace(plus, factor=plus.factor * factor) for plus in self._plus(given)])
        weight = factor[:, None, None, None]
        conv = Convolve([self._tensor(given)], weight, summand, torch.ones_like(factor), len(factor), [])
        return Value(conv=conv)

    def _sloped(self, given: Value, slope: Tensor) -> Value:
        if given.conv and not given.conv.plus and (given.conv.below == 1).all():
            return Value(conv=replace(given.conv, below=slope.expand(len(given.conv.bias)).clone()))
        if given.move and given.move[0] in (SHUFFLE, NEAREST):  # the same before the move, channel by channel
            kind, inner, factor = given.move
            if inner.conv and (kind == NEAREST or len(slope) == 1):
                return Value(move=(kind, self._sloped(inner, slope), factor))
            if inner.conv:
                return Value(move=(kind, self._sloped(inner, slope.repeat_interleave(factor**2)), factor))
        number = self._tensor(given)
        return self._whole(self._emit(Apply(number, lambda x: F.prelu(x, slope.float())), self.channels[number]))

    def _relu(self, node: Node, given: Value) -> Value:
        return self._sloped(given, torch.zeros(1, dtype=torch.float64))

    def _leaky(self, node: Node, given: Value) -> Value:
        return self._sloped(given, torch.tensor([node["slope"]], dtype=torch.float64))

    def _prelu(self, node: Node, given: Value) -> Value:
        return self._sloped(given, self._numbers(node, "weight"))

    def _clip(self, node: Node, given: Value) -> Value:
        low, high = node["low"], node["high"]
        if (low, high) in ((0, 1), (0, None), (None, 1)) and node.name == self.graph.output:
            return given  # bytes end there
        return self._applied(given, lambda x: x.clamp(low, high) if {low, high} != {None} else x)

    def _function(self, node: Node, given: Value) -> Value:
        if node["kind"] not in FUNCTIONS:
            raise self._refusal(node)
        return self._applied(given, FUNCTIONS[node["kind"]])

    def _applied(self, given: Value, function: Callable[[Tensor], Tensor]) -> Value:
        number = self._tensor(given)
        return self._whole(self._emit(Apply(number, function), self.channels[number]))

    def _add(self, node: Node, a: Value, b: Value) -> Value:
        one = self._one_pixel(a), self._one_pixel(b)
        if (b.conv and not a.conv and one[0] == one[1]) or one == (True, False):
            a, b = b, a
        if a.move and b.move and a.move[0] != b.move[0]:
            found = self._inside(a, b) or self._inside(b, a)
            if found:
                return found
        if a.move and b.move and a.move[0] == b.move[0] == SHUFFLE and a.move[2] == b.move[2]:
            return Value(move=(SHUFFLE, self._add(node, a.move[1], b.move[1]), a.move[2]))
        if a.conv:
            plus = self._plus(b)
            if len(plus[0].factor) == len(a.conv.bias):
                return Value(conv=replace(a.conv, plus=[*a.conv.plus, *plus]))
        plus = [*self._plus(a), *self._plus(b)]
        if len({len(one.factor) for one in plus}) > 1:
            raise self._refusal(node, " of unlike channels")
        return Value(plus=plus)

    def _inside(self, a: Value, b: Value) -> Value | None:
        """What is upscaled without interpolation is added before a pixel shuffle."""
        assert a.move
        assert b.move
        (kind, inner, factor), (other, small, times) = a.move, b.move
        if (kind, other) != (SHUFFLE, NEAREST) or factor != times or not inner.conv:
            return None
        (plus,) = self._plus(self._single(small))
        ones = plus.factor.repeat_interleave(factor**2)
        if len(ones) != len(inner.conv.bias):
            return None
        conv = replace(inner.conv, plus=[*inner.conv.plus, Plus(plus.tensor, ones, factor**2)])
        return Value(move=(SHUFFLE, Value(conv=conv), factor))

    def _sub(self, node: Node, a: Value, b: Value) -> Value:
        return self._add(node, a, Value(plus=[replace(plus, factor=-plus.factor) for plus in self._plus(b)]))

    def _mul(self, node: Node, a: Value, b: Value) -> Value:
        first, second = self._tensor(a), self._tensor(b)
        if self.single[first]:
            first, second = second, first
        for one, other in ((first, second), (second, first)):  # such as SiLU
            step = self.steps[-1] if other == len(self.steps) and other else None
            if isinstance(step, Apply) and step.tensor == one and self._last_use(node, other):
                for made in (self.steps, self.channels, self.single):
                    made.pop()
                return self._applied(self._whole(one), step.gated)
        if self.channels[first] < self.channels[second] and self.single[first] == self.single[second]:
            first, second = second, first
        if self.channels[second] not in (1, self.channels[first]):
            raise self._refusal(node, " of unlike channels")
        return self._whole(self._emit(Multiply(first, second), self.channels[first]))

    def _last_use(self, node: Node, number: int) -> bool:
        """Whether nobody but this node reads what one of its inputs is."""
        names = [name for name in node.inputs if self.values[name].parts[:1] == self._whole(number).parts]
        return len(names) == 1 and self.users[names[0]] == 1

    def _concat(self, node: Node, *given: Value) -> Value:
        return Value([part for value in given for part in self._made(value).parts])

    def _select(self, node: Node, given: Value) -> Value:
        inner = given.move[1].conv if given.move and given.move[0] == SHUFFLE else None
        if given.move and inner and inner.groups == 1 and not inner.plus:  # such as one channel for three colours
            area = given.move[2] ** 2
            rows = [k * area + place for k in chosen(node, len(inner.bias) // area) for place in range(area)]
            kept = replace(inner, weight=inner.weight[rows], bias=inner.bias[rows], below=inner.below[rows])
            return Value(move=(SHUFFLE, Value(conv=kept), given.move[2]))
        pairs = [(number, channel) for number, channels in self._made(given).parts for channel in channels]
        taken = [pairs[k] for k in chosen(node, len(pairs))]
        parts: list[tuple[int, list[int]]] = []
        for number, channel in taken:
            if not parts or parts[-1][0] != number:
                parts.append((number, []))
            parts[-1][1].append(channel)
        return Value(parts)

    def _shuffle(self, node: Node, given: Value) -> Value:
        return Value(move=(SHUFFLE, given, node["factor"]))

    def _unshuffle(self, node: Node, given: Value) -> Value:
        return Value(move=(UNSHUFFLE, given, node["factor"]))

    def _resize(self, node: Node, given: Value, *like: Value) -> Value:
        factor = {float(side) for side in node.settings.get("factor", ())}
        whole = len(factor) == 1 and {*factor} <= {float(k) for k in range(2, MAX_FACTOR + 1)}
        if node["mode"] == "bilinear":
            if not like and not whole:
                raise self._refusal(node, f" by {node['factor']}")
            number = self._tensor(given)
            times, other = (0, self._tensor(like[0])) if like else (int(factor.pop()), 0)
            step = Interpolate(number, times, other, bool(node["aligned"]))
            return self._whole(self._emit(step, self.channels[number]))
        if node["mode"] == "bicubic" and whole and not like and not node["aligned"]:
            return self._bicubic(given, int(factor.pop()))
        if like or node["mode"] != "nearest" or not whole:
            raise self._refusal(node, f" {node['mode']}")
        return Value(move=(NEAREST, given, int(factor.pop())))

    def _bicubic(self, given: Value, factor: int) -> Value:
        """A convolution of each channel, of an image whose edges are repeated, and a pixel shuffle."""
        number = self._tensor(given)
        channels = self.channels[number]
        padded = self._emit(Pad(number, CUBIC_REACH, CUBIC_REACH, REPLICATE), channels)
        weight = cubic_phases(factor).repeat(channels, 1, 1, 1)
        bias = torch.zeros(len(weight), dtype=torch.float64)
        conv = Convolve([padded], weight, bias, bias + 1, channels, [], 1, 0)
        return Value(move=(SHUFFLE, Value(conv=conv), factor))
