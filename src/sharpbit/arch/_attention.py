"""Attention within windows, and sizes that windows fit into: what the transformers here share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.nn import Site

PADDINGS = ("mirror", "reflect")
MOST = 1 << 25  # weights of attention at a time (128 MiB), where they are rounded and need not be there together


class Attention(nn.Module):
    """`softmax(q k' / sqrt(d) + bias) v`, with a `Site` before each operand of the two products.

    While nobody rounds, reads or meters the sites, the framework's fused kernel computes the same in less time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.attention, self.v = Site(), Site(), Site(), Site()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """`(..., heads, tokens, d)` each; `bias`, which is broadcast, is added before the softmax."""
        # an exporter would take the memory layout of the fused kernel for that of its own products
        if not torch.compiler.is_exporting() and all(map(_idle, (self.q, self.k, self.attention, self.v))):
            return F.scaled_dot_product_attention(q, k, v, bias)
        if bias is None and self._in_parts(q, k):
            return self._parts(q, k, v)
        weight = self.q(q * q.shape[-1] ** -0.5) @ self.k(k).transpose(-2, -1)
        if bias is not None:
            weight = weight + bias
        result: Tensor = self.attention(weight.softmax(-1)) @ self.v(v)
        return result

    def _in_parts(self, q: Tensor, k: Tensor) -> bool:
        """Whether there are more weights than are wanted at a time, and nobody needs them together."""
        kept = torch.is_grad_enabled() or torch.compiler.is_exporting()
        return not kept and self.attention.separable and q[..., 0].numel() * k.shape[-2] > MOST

    def _parts(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same without a bias, for a few tokens of `q` at a time."""
        q, k = self.q(q * q.shape[-1] ** -0.5), self.k(k).transpose(-2, -1)
        v = self.v(v)
        rows = max(1, MOST // (q[..., 0, 0].numel() * k.shape[-1]))
        return torch.cat([self.attention((part @ k).softmax(-1)) @ v for part in torch.split(q, rows, -2)], -2)


def _idle(site: nn.Module) -> bool:
    return type(site) is Site and not (site._forward_hooks or site._forward_pre_hooks)


def split(x: Tensor, window: tuple[int, int]) -> Tensor:
    """`(N, H, W, ..., C)` to windows `(N, H/h, W/w, h, w, ..., C)`: a view."""
    height, width = window
    n, rows, columns = x.shape[0], x.shape[1] // height, x.shape[2] // width
    return x.reshape(n, rows, height, columns, width, *x.shape[3:]).transpose(2, 3)


def merge(x: Tensor) -> Tensor:
    """The inverse of `split`."""
    n, rows, columns, height, width = x.shape[:5]
    return x.transpose(2, 3).reshape(n, rows * height, columns * width, *x.shape[5:])


def pad(x: Tensor, multiple: int, rule: str = "mirror") -> Tensor:
    """`(N, C, H, W)` continued at the bottom and the right, so that both sides are multiples of `multiple`.

    Args:
        x: the image.
        multiple: a common multiple of the windows' sides, in pixels.
        rule: `mirror` repeats the pixel at the edge and always adds something, a whole `multiple` where the side fits
            already, as the published inference of CRAFT and HiT-SR does. `reflect` does not repeat it and adds only
            what lacks, as their validation while training does. Sides that are too short are mirrored more than once.
    """
    height, width = x.shape[2:]
    if rule == "mirror":
        rows, columns = (height // multiple + 1) * multiple, (width // multiple + 1) * multiple
    else:
        rows, columns = ((side + multiple - 1) // multiple * multiple for side in (height, width))
    down, right = (_mirrored(side, to, rule, x.device) for side, to in ((height, rows), (width, columns)))
    return x.index_select(2, down).index_select(3, right)


def _mirrored(side: int, to: int, rule: str, device: torch.device) -> Tensor:
    """Which of `side` pixels stands at each of `to` places."""
    twice = 1 if rule == "mirror" else 0  # the pixels at both edges
    period = max(2 * side - 2 + 2 * twice, 1)
    # a tensor, because the tracer of the ONNX export knows no remainder by a size that is open
    place = torch.arange(to, device=device) % torch.full((1,), period, device=device)
    return torch.minimum(place, period - twice - place)
