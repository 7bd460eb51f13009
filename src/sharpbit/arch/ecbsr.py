"""ECBSR: every convolution is trained as five branches, three of them edge filters, and used as one.

Source: "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices", Zhang et al., ACM MM 2021;
`core/archs/ir/ECBSR/arch.py` of ECNUSR/ETDS, whose names of tensors these are. Its released files hold the fused form.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture
from sharpbit.nn import State, anchored, conv3, count, scale_of
from sharpbit.reparam import kernels
from sharpbit.reparam.base import Reparameterizable
from sharpbit.reparam.kernels import Kernel

FILTERS = {
    "sbx": [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]],
    "sby": [[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]],
    "lpl": [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]],
}


@dataclass(frozen=True)
class Config:
    """Sizes of an ECBSR.

    Attributes:
        scale: upscaling factor.
        blocks: layers between the first and the last.
        width: channels of every layer but the last.
        fused: whether each layer is one convolution instead of five branches.
    """

    scale: int
    blocks: int = 4
    width: int = 16
    fused: bool = False


class Expand(nn.Module):
    """A branch with twice as many channels between its 1x1 and its 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.k0, self.b0 = _weights(nn.Conv2d(inputs, 2 * outputs, 1))
        self.k1, self.b1 = _weights(conv3(2 * outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in, H, W)` to `(N, out, H, W)`."""
        return F.conv2d(_padded(x, self.k0, self.b0), self.k1, self.b1)

    def kernel(self) -> Kernel:
        """The branch as one 3x3 convolution."""
        return kernels.sequence(Kernel(self.k0, self.b0), Kernel(self.k1, self.b1))


class Edge(nn.Module):
    """A branch with a fixed edge filter for each channel after its 1x1 convolution, of trained strength."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, taps: list[list[float]]) -> None:
        super().__init__()
        self.k0, self.b0 = _weights(nn.Conv2d(inputs, outputs, 1))
        self.scale = nn.Parameter(1e-3 * torch.randn(outputs, 1, 1, 1))
        self.bias = nn.Parameter(1e-3 * torch.randn(outputs))
        self.register_buffer("mask", torch.tensor(taps).repeat(outputs, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in, H, W)` to `(N, out, H, W)`."""
        y = _padded(x, self.k0, self.b0)
        return F.conv2d(y, self.scale * self.mask, self.bias, groups=len(self.bias))

    def kernel(self) -> Kernel:
        """The branch as one 3x3 convolution."""
        return kernels.sequence(Kernel(self.k0, self.b0), kernels.fixed(self.mask, self.scale, self.bias))


def _weights(conv: nn.Conv2d) -> tuple[nn.Parameter, nn.Parameter]:
    """Fresh weights as the framework makes them."""
    assert conv.bias is not None
    return nn.Parameter(conv.weight.detach()), nn.Parameter(conv.bias.detach())


def _padded(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution with a ring of its bias around the result, which is what it makes of zeros around `x`."""
    return F.conv2d(x, weight, bias, padding=1)


class ECB(nn.Module, Reparameterizable):
    """A 3x3 convolution trained as the sum of five branches, and a PReLU where `act` says so."""

    def __init__(self, inputs: int, outputs: int, act: bool = True) -> None:
        super().__init__()
        self.conv3x3 = conv3(inputs, outputs)
        self.conv1x1_3x3 = Expand(inputs, outputs)
        self.conv1x1_sbx, self.conv1x1_sby, self.conv1x1_lpl = (
            Edge(inputs, outputs, taps) for taps in FILTERS.values()
        )
        self.act = nn.PReLU(outputs) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in, H, W)` to `(N, out, H, W)`."""
        y = self.conv3x3(x)
        for branch in self.branches():
            y = y + branch(x)
        result: Tensor = self.act(y)
        return result

    def branches(self) -> tuple[Expand | Edge, ...]:
        """All but the plain convolution."""
        return self.conv1x1_3x3, self.conv1x1_sbx, self.conv1x1_sby, self.conv1x1_lpl

    def reparameterize(self) -> nn.Sequential:
        """One convolution, and the PReLU if there is one."""
        net = _layer(self.conv3x3.in_channels, self.conv3x3.out_channels, isinstance(self.act, nn.PReLU))
        exact = copy.deepcopy(self).double()
        kernel = kernels.parallel(kernels.of(exact.conv3x3), *(branch.kernel() for branch in exact.branches()))
        net[0].load_state_dict({"weight": kernel.weight, "bias": kernel.bias})
        if len(net) > 1:
            net[1].load_state_dict(self.act.state_dict())
        return net


def _layer(inputs: int, outputs: int, act: bool) -> nn.Sequential:
    return nn.Sequential(conv3(inputs, outputs), *([nn.PReLU(outputs)] if act else []))


class ECBSR(nn.Module):
    """A chain of `ECB`, or of fused convolutions, to whose result the image is added."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        layer = _layer if config.fused else ECB
        sizes = [3, *[config.width] * (config.blocks + 1)]
        hidden = (layer(a, b, True) for a, b in pairwise(sizes))
        self.backbone = nn.Sequential(*hidden, layer(config.width, 3 * config.scale**2, False))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        return F.pixel_shuffle(anchored(self.backbone(x), x, self.config.scale), self.config.scale)


def _infer(state: State) -> Config | None:
    fused = "backbone.0.0.weight" in state
    key = "backbone.{}.0.weight" if fused else "backbone.{}.conv3x3.weight"
    depth = count(state, key)
    if depth < 2:
        return None
    first, last = state[key.format(0)], state[key.format(depth - 1)]
    scale = scale_of(last.shape[0])
    if scale is None or last.shape[2:] != (3, 3):
        return None
    return Config(scale, depth - 2, first.shape[0], fused)


ARCH = Architecture(
    name="ecbsr", config=Config, build=ECBSR, infer=_infer, sites=("backbone.*",), small={"blocks": 3, "width": 20}
)
