"""A float graph (`sharpbit.graph`) as the steps of an integer graph: slopes, factors and sums go into convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import QuantizeError
from sharpbit.graph import Graph, Node
from sharpbit.graph.geometry import chosen
from sharpbit.modelfile.integer_graph import NEAREST, SHUFFLE, UNSHUFFLE
from sharpbit.modelfile.integer_graph_checks import MAX_FACTOR
from sharpbit.quant.graph.building import Value
from sharpbit.quant.graph.steps import Add, Apply, Convolve, Interpolate, Move, Multiply, Plus, Step
from sharpbit.quant.graph.windows import Windows

LEAST = 1e-6  # what has a logarithm or is divided by, at least
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{kind: getattr(torch, kind) for kind in ("sigmoid", "tanh", "exp", "abs", "erf", "sin", "cos")},
    "sqrt": lambda x: x.clamp(min=0).sqrt(),
    "log": lambda x: x.clamp(min=LEAST).log(),
    "reciprocal": lambda x: 1 / torch.where(x.abs() < LEAST, torch.where(x < 0, -LEAST, LEAST), x),
    **{kind: getattr(F, kind) for kind in ("softplus", "softsign", "gelu", "mish", "hardsigmoid", "hardswish", "elu")},
}


def lowered(graph: Graph) -> list[Step]:
    """The steps; step k makes tensor k + 1, and the last one the result.

    Raises:
        QuantizeError: An operator that integer graphs do not have; the sentence names it.
    """
    return _Lowering(graph).steps


class _Lowering(Windows):
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

    def _affine(self, node: Node, given: Value) -> Value:
        factor, summand = self._numbers(node, "weight", 1).flatten(), self._numbers(node, "bias")
        if given.conv and not (summand.any() and (given.conv.plus or (given.conv.below != 1).any())):
            one, sign = given.conv, factor < 0
            if not (sign.any() and (one.below != 1).any()):
                plus = [replace(plus, factor=plus.factor * factor) for plus in one.plus]
                weight, bias = one.weight * factor[:, None, None, None], one.bias * factor + summand
                return Value(conv=replace(one, weight=weight, bias=bias, plus=plus))
        if function := self._function_before(node, given):  # such as a sigmoid less a half: one table does both
            before, by, more = function.function, factor.float()[:, None, None], summand.float()[:, None, None]
            self._take_back()
            return self._applied(self._whole(function.tensor), lambda x: before(x) * by + more)
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
            plus = [self._repeated(one, len(a.conv.bias)) for one in self._plus(b)]
            if len(plus[0].factor) == len(a.conv.bias):
                return Value(conv=replace(a.conv, plus=[*a.conv.plus, *plus]))
        plus = [*self._plus(a), *self._plus(b)]
        most = max(len(one.factor) for one in plus)
        plus = [self._repeated(one, most) for one in plus]
        if len({len(one.factor) for one in plus}) > 1:
            raise self._refusal(node, " of unlike channels")
        return Value(plus=plus)

    def _repeated(self, plus: Plus, channels: int) -> Plus:
        """What is added, where one channel is added to each of several."""
        if len(plus.factor) != 1 or channels == 1:
            return plus
        return Plus(plus.tensor, plus.factor.repeat(channels), channels)

    def _max(self, node: Node, a: Value, b: Value) -> Value:
        """What the second has more than the first is added to it."""
        return self._further(node, a, b, 1.0)

    def _min(self, node: Node, a: Value, b: Value) -> Value:
        """What the second has less than the first is taken from it."""
        return self._further(node, a, b, -1.0)

    def _further(self, node: Node, a: Value, b: Value, sign: float) -> Value:
        first, second = self._single(a), self._single(b)
        numbers = [value.parts[0][0] for value in (first, second)]
        channels = self.channels[numbers[0]]
        if self.channels[numbers[1]] != channels or self.single[numbers[0]] != self.single[numbers[1]]:
            raise self._refusal(node, " of unlike channels")
        eye, zero = torch.eye(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
        own = Plus(numbers[0], torch.ones_like(zero))
        if numbers[0] == numbers[1]:
            return first
        weight = torch.cat([-sign * eye, sign * eye], 1)[:, :, None, None]
        more = self._emit(Convolve(numbers, weight, zero, zero, 1, []), channels)
        return Value(plus=[own, Plus(more, torch.full_like(zero, sign))])

    def _div(self, node: Node, a: Value, b: Value) -> Value:
        """A product with the reciprocal, in one table with what gives the divisor, such as a root."""
        number = self._tensor(b)
        step = self.steps[number - 1] if number else None
        if isinstance(step, Apply) and number == len(self.steps) and self._last_use(node, number):
            for made in (self.steps, self.channels, self.single):
                made.pop()
            number, inner = step.tensor, step.function
            return self._mul(node, a, self._applied(self._whole(number), lambda x: FUNCTIONS["reciprocal"](inner(x))))
        return self._mul(node, a, self._applied(self._whole(number), FUNCTIONS["reciprocal"]))

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
                self._take_back()
                return self._applied(self._whole(one), step.gated)
        if self.channels[first] < self.channels[second] and self.single[first] == self.single[second]:
            first, second = second, first
        if self.channels[second] not in (1, self.channels[first]):
            raise self._refusal(node, " of unlike channels")
        return self._whole(self._emit(Multiply(first, second), self.channels[first]))

    def _function_before(self, node: Node, given: Value) -> Apply | None:
        """The function that was the last step, if its result is what a node is given and nobody else reads it."""
        number = len(self.steps)
        step = self.steps[-1] if number and given.parts == self._whole(number).parts else None
        return step if isinstance(step, Apply) and self._last_use(node, number) else None

    def _take_back(self) -> None:
        """Take the last step back, which another one takes the place of."""
        for made in (self.steps, self.channels, self.single):
            made.pop()

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
