"""Nodes of a float graph that look at more than one pixel, as steps: convolutions, pools, edges, means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from sharpbit.graph import Node
from sharpbit.modelfile.integer_graph import REPLICATE, SHUFFLE, UNSHUFFLE, ZERO
from sharpbit.modelfile.integer_graph_checks import MAX_FACTOR, MAX_KERNEL, MAX_PAD
from sharpbit.quant.graph.building import Building, Value
from sharpbit.quant.graph.kernels import CUBIC_REACH, centred, cubic_phases, phases_of, spread, square, unshuffled
from sharpbit.quant.graph.steps import Average, Convolve, Pad, Plus, Pool, Step

WIDEST = 17  # the side of a kernel that can be the sum of four


class Windows(Building):
    """What `sharpbit.quant.graph.lowering` does with such nodes."""

    def _conv(self, node: Node, given: Value) -> Value:
        weight, groups = self._numbers(node, "weight"), node["groups"]
        weight, around = square(spread(weight, node["dilation"]), node["stride"], node["padding"])
        wide = weight.shape[2] == weight.shape[3] <= WIDEST and {*node["stride"]} == {1} and len({*around}) == 1
        if wide and around[0] == weight.shape[2] // 2 and weight.shape[2] % 2:
            stride, padding = 1, around[0]
        else:
            _, stride, padding = self._window(node, weight.shape[2:], around)
        return self._convolved(given, weight, self._numbers(node, "bias"), groups, stride, padding)

    def _convolved(self, given: Value, weight: Tensor, bias: Tensor, groups: int, stride: int, padding: int) -> Value:
        side = weight.shape[2]
        if MAX_KERNEL < side <= WIDEST and stride == 1 and padding == side // 2 and side % 2:
            return self._in_parts(given, weight, bias, groups)
        whole = side - stride <= 2 * padding < side
        if stride > 1 and self.graph.multiple % stride == 0 and whole:  # sides are filled up, so each pixel has its own
            given, weight = Value(move=(UNSHUFFLE, given, stride)), unshuffled(weight, stride, padding)
            side, stride, padding = weight.shape[2], 1, weight.shape[2] // 2
        if groups > 1:
            inputs = [self._tensor(given)]
        else:
            inputs, matrix = self._gathered(self._made(given))
            weight = torch.einsum("oikl,ij->ojkl", weight, matrix)
        steps = (1, None) if (stride, 2 * padding + 1) == (1, side) else (stride, padding)
        return Value(conv=Convolve(inputs, weight, bias, torch.ones_like(bias), groups, [], *steps))

    def _in_parts(self, given: Value, weight: Tensor, bias: Tensor, groups: int) -> Value:
        """A kernel that is too wide, as the sum of its four quarters, each of the image moved by half of its reach.

        Zeros lie around the image, one weight moves it, and nothing more is put around it, so that edges are right.
        """
        number, reach = self._tensor(given), weight.shape[2] // 2
        channels, shift, around = self.channels[number], (reach + 1) // 2, (reach + 1) // 2
        padded = self._emit(Pad(number, shift + around, shift + around, ZERO), channels)
        zero = torch.zeros(channels, dtype=torch.float64)
        plus: list[Plus] = []
        for place, (down, right) in enumerate(product((-shift, shift), repeat=2)):
            tap = torch.zeros(channels, 1, 2 * shift + 1, 2 * shift + 1, dtype=torch.float64)
            tap[:, :, shift + down, shift + right] = 1
            moved = self._emit(Convolve([padded], tap, zero, zero + 1, channels, [], 1, 0), channels)
            rows, columns = (
                [(tap, tap - reach - centre + around) for tap in range(2 * reach + 1) if (tap < reach) == (centre < 0)]
                for centre in (down, right)
            )
            part = torch.zeros(*weight.shape[:2], 2 * around + 1, 2 * around + 1, dtype=weight.dtype)
            for row, i in rows:
                for column, j in columns:
                    part[:, :, i, j] = weight[:, :, row, column]
            last = place == 3
            conv = Convolve([moved], part, bias if last else bias * 0, torch.ones_like(bias), groups, plus[:], 1, 0)
            if last:
                return Value(conv=conv)
            plus = [Plus(self._emit(conv, len(bias)), torch.ones_like(bias))]
        raise AssertionError

    def _window(self, node: Node, kernel: Sequence[int], around: Sequence[int] = ()) -> tuple[int, int, int]:
        """Side, stride and padding of a window that is the same both ways."""
        settings = [{*kernel}, {*node["stride"]}, {*(around or node["padding"])}]
        side, stride, padding = (max(found) for found in settings)
        if any(len(found) > 1 for found in settings) or side > MAX_KERNEL or stride > MAX_FACTOR or padding > side // 2:
            most = WIDEST if node.op == "conv" and stride == 1 else MAX_KERNEL
            sides = f"stride {_both_ways(node['stride'])}, padding {_both_ways(node['padding'])}"
            what = f" of {kernel[0]}x{kernel[1]}, {sides}"
            raise self._refusal(node, f"{what}, where {most}x{most} is the most")
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
        return self._convolved(self._whole(number), weight, bias, channels, stride, padding)

    def _bicubic(self, given: Value, factor: int) -> Value:
        """A convolution of each channel, of an image whose edges are repeated, and a pixel shuffle."""
        number = self._tensor(given)
        channels = self.channels[number]
        padded = self._emit(Pad(number, CUBIC_REACH, CUBIC_REACH, REPLICATE), channels)
        weight = cubic_phases(factor).repeat(channels, 1, 1, 1)
        bias = torch.zeros(len(weight), dtype=torch.float64)
        conv = Convolve([padded], weight, bias, bias + 1, channels, [], 1, 0)
        return Value(move=(SHUFFLE, Value(conv=conv), factor))


def _both_ways(sides: Sequence[int]) -> str:
    high, wide = sides
    return f"{high}" if high == wide else f"{high} and {wide}"
