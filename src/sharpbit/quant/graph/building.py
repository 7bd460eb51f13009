"""Values of a float graph while it becomes steps: tensors that are made, and what something may still be added to."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sharpbit.errors import QuantizeError
from sharpbit.graph import IMAGE, Graph, Node
from sharpbit.modelfile.integer_graph import SHUFFLE, UNSHUFFLE
from sharpbit.quant.graph.steps import Add, Average, Convolve, Move, Plus, Step, read_by


@dataclass
class Value:
    """What a node gives, perhaps not made yet.

    Attributes:
        parts: Channels of tensors, one behind the other: numbers of a tensor and of its channels. Or else:
        conv: A convolution that is not made yet, to which something may still be added.
        plus: What is added, where there is no convolution.
        move: A move of another value that is not made yet: its kind, that value and the factor.
    """

    parts: list[tuple[int, list[int]]] = field(default_factory=list)
    conv: Convolve | None = None
    plus: list[Plus] = field(default_factory=list)
    move: tuple[str, Value, int] | None = None


class Building:
    """The steps that are made so far.

    Args:
        graph: The float graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.users = graph, graph.users()
        self.steps: list[Step] = []
        self.channels = [graph.channels]
        self.single = [False]  # whether each tensor has one pixel, whatever the image
        self.values = {IMAGE: Value([(0, [*range(graph.channels)])])}

    def _refusal(self, node: Node, why: str = "") -> QuantizeError:
        kind = node.settings.get("kind", "")
        what = f"{node.op} {kind}".strip()
        return QuantizeError(f"{node.name} ({what}{why}) has no form in integers yet")

    def _emit(self, step: Step, channels: int) -> int:
        self.steps.append(step)
        self.channels.append(channels)
        self.single.append(isinstance(step, Average) or self._all_single(step))
        return len(self.steps)

    def _all_single(self, step: Step) -> bool:
        """Whether a step reads tensors of one pixel alone."""
        return all(self.single[number] for number in read_by(step))

    def _one_pixel(self, value: Value) -> bool:
        """Whether a value has one pixel, whatever the image."""
        if value.parts:
            return all(self.single[number] for number, _ in value.parts)
        if value.move:
            return self._one_pixel(value.move[1])
        return self._all_single(value.conv or Add(value.plus))

    def _whole(self, number: int) -> Value:
        return Value([(number, [*range(self.channels[number])])])

    def _made(self, value: Value) -> Value:
        """The value as channels of tensors."""
        if value.parts:
            return value
        if value.move:
            kind, inner, factor = value.move
            number = self._tensor(inner)
            area = {SHUFFLE: 1 / factor**2, UNSHUFFLE: factor**2}.get(kind, 1)
            return self._whole(self._emit(Move(kind, number, factor), round(self.channels[number] * area)))
        if value.conv:
            return self._whole(self._emit(value.conv, len(value.conv.bias)))
        return self._whole(self._emit(Add(value.plus), len(value.plus[0].factor)))

    def _single(self, value: Value) -> Value:
        """The value as all channels of one tensor."""
        made = self._made(value)
        whole = len(made.parts) == 1 and made.parts[0][1] == [*range(self.channels[made.parts[0][0]])]
        if whole:
            return made
        inputs, weight = self._gathered(made)
        zero = torch.zeros(len(weight), dtype=torch.float64)
        return self._made(Value(conv=Convolve(inputs, weight[:, :, None, None], zero, zero + 1, 1, [])))

    def _tensor(self, value: Value) -> int:
        return self._single(value).parts[0][0]

    def _gathered(self, made: Value) -> tuple[list[int], Tensor]:
        """The tensors that hold the parts, and which of their channels each channel is: a matrix of zeros and ones."""
        inputs = [*dict.fromkeys(number for number, _ in made.parts)]
        begin, total = {}, 0
        for number in inputs:
            begin[number], total = total, total + self.channels[number]
        columns = [begin[number] + channel for number, channels in made.parts for channel in channels]
        matrix = torch.zeros(len(columns), total, dtype=torch.float64)
        matrix[range(len(columns)), columns] = 1
        return inputs, matrix

    def _numbers(self, node: Node, name: str, default: float = 0.0) -> Tensor:
        found = self.graph.weights.get(f"{node.name}.{name}")
        channels = node.settings.get("outputs", node.settings.get("channels"))
        if found is None:
            return torch.full((int(channels or 1),), default, dtype=torch.float64)
        return torch.from_numpy(found.astype("float64"))

    def _plus(self, value: Value) -> list[Plus]:
        """The value as a sum of tensors."""
        if value.plus:
            return value.plus
        made = self._made(value)
        number, channels = made.parts[0]
        own = self.channels[number]
        repeat = len(channels) // own
        if len(made.parts) > 1 or channels != [k for k in range(own) for _ in range(repeat)]:
            number, repeat = self._tensor(made), 1
        return [Plus(number, torch.ones(self.channels[number] * repeat, dtype=torch.float64), repeat)]
