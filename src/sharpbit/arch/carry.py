"""Carry: a chain of convolutions and ReLU beside the image itself, which keeps constant images constant.

Every layer sees the features of the layer before and the image. Where kernels read the image, each sums to zero, so
that the features of a constant image do not depend on its colour; the interpolation of the image that is added at the
end sums to one. With the bias that `settle` gives the last layer, a constant image comes out as that constant, exactly,
for every colour, at every pixel that does not see the border. As a plain chain it has `width` channels in every layer,
three of which hold the image: the form that an integer chain stores without loss (`sharpbit.quant.lossless`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import Constrained, State, conv3, count, scale_of
from sharpbit.reparam import kernels

COLOURS = 3
FIRST, OTHER = 0.3, 0.08  # standard deviation of the weights that read the image, in the first layer and in all others


@dataclass(frozen=True)
class Config:
    """Sizes of a Carry.

    Attributes:
        scale: upscaling factor.
        blocks: layers between the first and the last.
        width: channels of every layer of the plain chain, three of which hold the image.
    """

    scale: int
    blocks: int = 6
    width: int = 32


class Carry(Constrained):
    """The training form. Call `project` after every step of an optimizer, and `settle` at the end."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        wide, rows = config.width - COLOURS, COLOURS * config.scale**2
        self.first = conv3(COLOURS, wide)
        self.inner = nn.ModuleList(conv3(wide + COLOURS, wide) for _ in range(config.blocks))
        self.last = conv3(wide, rows)
        self.interpolation = nn.Conv2d(COLOURS, rows, 3, padding=1, bias=False)
        with torch.no_grad():
            self._begin()
            self.last.weight.mul_(0.1)
            self.interpolation.weight.copy_(kernels.repeat(COLOURS, config.scale**2, 3))
        self.project()
        self.settle()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        layers = (self.first, *self.inner, self.last, self.interpolation)
        if self.training and all(type(layer) is nn.Conv2d for layer in layers):  # none of them rounds
            return self._quick(x)
        features = F.relu(self.first(x))
        for layer in self.inner:
            features = F.relu(layer(torch.cat([features, x], 1)))
        return F.pixel_shuffle(self.last(features) + self.interpolation(x), self.config.scale)

    def _quick(self, x: Tensor) -> Tensor:
        """The same by kernels that copy the image, which joins no maps; the interpolation is never rounded to bf16."""
        copied = torch.zeros(COLOURS, self.config.width, 3, 3, device=x.device)
        copied[:, -COLOURS:, 1, 1] = torch.eye(COLOURS)
        none = torch.zeros(COLOURS, device=x.device)
        features = x
        for layer in (self.first, *self.hidden()):
            weight = torch.cat([layer.weight, copied[:, -layer.in_channels :]])
            features = F.conv2d(features, weight, torch.cat([_bias(layer), none]), padding=1).relu_()
        made = F.conv2d(features, F.pad(self.last.weight, (0, 0, 0, 0, 0, COLOURS)), self.last.bias, padding=1)
        with torch.autocast(x.device.type, enabled=False):
            return F.pixel_shuffle(made.float() + self.interpolation(x), self.config.scale)

    def _begin(self) -> None:
        """Draw layers that copy their features and add a little of everything.

        Kernels that sum to zero keep features small. PyTorch's biases are as large, so that a third of all channels
        would be zero for good; these have none.
        """
        self.first.weight.normal_(std=FIRST)
        for layer in self.hidden():
            wide = len(layer.weight)
            layer.weight[:, :wide].normal_(std=2 * OTHER / (COLOURS * wide) ** 0.5)
            layer.weight[:, wide:].normal_(std=OTHER)
            layer.weight[:, :wide, 1, 1] += torch.eye(wide)
        for layer in (self.first, *self.hidden()):
            _bias(layer).zero_()

    @torch.no_grad()
    def project(self) -> None:
        """Make the kernels that read the image sum to zero, and those that interpolate it to one."""
        for weight in (self.first.weight, *(layer.weight[:, -COLOURS:] for layer in self.hidden())):
            weight.sub_(weight.mean((2, 3), keepdim=True))
        weight = self.interpolation.weight
        wanted = torch.eye(COLOURS).repeat_interleave(self.config.scale**2, 0).to(weight)
        weight.add_(((wanted - weight.sum((2, 3))) / 9)[:, :, None, None])

    @torch.no_grad()
    def settle(self) -> None:
        """Give the last layer the bias with which constant images come out as they went in."""
        features = F.relu(_bias(self.first).double())
        for layer in self.hidden():
            sums = layer.weight[:, :-COLOURS].double().sum((2, 3))
            features = F.relu(sums @ features + _bias(layer).double())
        _bias(self.last).copy_(-(self.last.weight.double().sum((2, 3)) @ features))

    def hidden(self) -> list[nn.Conv2d]:
        """The layers between the first and the last."""
        return [layer for layer in self.inner if isinstance(layer, nn.Conv2d)]


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _infer(state: State) -> Config | None:
    if not all(key in state for key in ("first.weight", "last.weight", "interpolation.weight")):
        return None
    wide, scale = len(state["first.weight"]), scale_of(len(state["last.weight"]))
    if scale is None or state["last.weight"].shape[1:] != (wide, 3, 3):
        return None
    return Config(scale, count(state, "inner.{}.weight"), wide + COLOURS)


ARCH = Architecture(name="carry", config=Config, build=Carry, infer=_infer, sites=("inner.*",))
