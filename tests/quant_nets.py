"""Small networks of each kind that the quantization core must take, and what tests do with them."""

import torch
from torch import nn
from torch.nn import functional as F

from sharpbit.nn import Site
from sharpbit.quant.core import METHODS, calibrate, insert_quantizers
from sharpbit.quant.plan import Plan


class Residual(nn.Module):
    """In the manner of EDSR; with sites, both sides of each addition can be rounded."""

    def __init__(self, width=12, sites=False):
        super().__init__()
        side = Site if sites else nn.Identity
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "conv1": nn.Conv2d(width, width, 3, padding=1),
                    "conv2": nn.Conv2d(width, width, 3, padding=1),
                    "left": side(),
                    "right": side(),
                }
            )
            for _ in range(2)
        )
        self.tail = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, x):
        y = self.head(x)
        for block in self.blocks:
            y = block["left"](y) + block["right"](block["conv2"](F.relu(block["conv1"](y))))
        return F.pixel_shuffle(self.tail(y), 2)


class Attention(nn.Module):
    """One attention layer over all pixels, with a site in front of each operand of its two products."""

    def __init__(self, width=12):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.at_q, self.at_k, self.at_v, self.at_map = Site(), Site(), Site(), Site()
        self.out = nn.Linear(width, width)
        self.tail = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, x):
        y = self.head(x)
        n, c, h, w = y.shape
        tokens = y.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, -1)
        scores = self.at_q(q * c**-0.5) @ self.at_k(k).transpose(1, 2)
        tokens = tokens + self.out(self.at_map(scores.softmax(-1)) @ self.at_v(v))
        return F.pixel_shuffle(self.tail(tokens.transpose(1, 2).reshape(n, c, h, w)), 2)


def chain():
    """Convolutions and nothing else between input and output."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1, groups=4), nn.PReLU(12),
        nn.Conv2d(12, 12, 1), nn.PixelShuffle(2),
    )  # fmt: skip


NETS = {"chain": chain, "residual": Residual, "attention": Attention}


def build(kind):
    torch.manual_seed(7)
    return NETS[kind]().eval()


def images(count=3, seed=1, size=14):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 3, size, size, generator=generator) for _ in range(count)]


def calibrated(net, bits=8, method="minmax", plan=None):
    quantized = insert_quantizers(net, plan or Plan.uniform(bits), METHODS[method])
    calibrate(quantized, images())
    return quantized
