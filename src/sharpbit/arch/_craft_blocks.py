"""The three blocks of CRAFT: shifted windows for low frequencies, convolutions for high ones, and what joins them.

All take and give `(N, C, H, W)`, quickest in channels-last memory, where every change between pixels and tokens is a
view. Names of tensors are those of `basicsr/archs/craft_arch.py` of AVC2-UESTC/Frequency-Inspired-Optimization-for-
EfficientSR.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch._attention import Attention, merge, split
from sharpbit.arch._position import Position
from sharpbit.nn import Linear, Pointwise, Site, conv3

Window = tuple[int, int]


class WindowAttention(Attention):
    """Attention within windows of one shape, shifted by half a window or not."""

    def __init__(self, width: int, heads: int, window: Window, *, shift: bool, mask: bool) -> None:
        super().__init__()
        self.heads, self.window, self.mask = heads, window, mask and shift
        self.shift = (window[0] // 2, window[1] // 2) if shift else (0, 0)
        self.pos = Position(max(width // 16, 1), heads)

    def forward(self, qkv: Tensor, offsets: Tensor, index: Tensor) -> Tensor:  # type: ignore[override]
        """`(N, H, W, 3, C)` to `(N, H, W, C)`."""
        down, right = self.shift
        if down:
            qkv = qkv.roll((-down, -right), (1, 2))
        n, height, width = qkv.shape[:3]
        windows = split(qkv, self.window)  # N, rows, columns, h, w, 3, C
        shape = windows.shape
        # the only copy: what follows are views, for the kernel takes heads and q, k, v in any order
        tokens = windows.reshape(-1, shape[3] * shape[4], 3, self.heads, shape[-1] // self.heads)
        q, k, v = tokens.permute(2, 0, 3, 1, 4).unbind(0)
        bias = None if self.pos.constant else self.pos(offsets)[index].permute(2, 0, 1)
        if self.mask:
            mask = shifted_mask(height, width, self.window, qkv.device).to(qkv.dtype).repeat(n, 1, 1, 1)
            bias = mask if bias is None else mask + bias
        out = super().forward(q, k, v, bias)
        out = merge(out.transpose(1, 2).reshape(*shape[:5], shape[-1]))
        return out.roll((down, right), (1, 2)) if down else out


def shifted_mask(height: int, width: int, window: Window, device: torch.device) -> Tensor:
    """`(windows, 1, T, T)`: -100 between pixels that only the shift brought into one window."""
    if torch.compiler.is_exporting():
        return _regions(height, width, window, device)
    with torch.inference_mode(False):  # the cache also serves training
        return _cached(height, width, window, device)


def _regions(height: int, width: int, window: Window, device: torch.device) -> Tensor:
    parts = []
    for side, length in ((height, window[0]), (width, window[1])):
        place = torch.arange(side, device=device)
        parts.append((place >= side - length).int() + (place >= side - length // 2).int())
    region = split((3 * parts[0][:, None] + parts[1])[None], window).reshape(-1, 1, window[0] * window[1])
    return (region[..., None, :] != region[..., :, None]) * -100.0


_cached = lru_cache(maxsize=8)(_regions)  # the memory of one is 16 KiB for each window of 64 pixels


class MLP(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = Linear(width, hidden), Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., C)` to `(..., C)`."""
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class SRWAB(nn.Module):
    """Shift rectangle window attention: half of the channels in flat windows, half in upright ones."""

    def __init__(self, width: int, heads: int, window: Window, ratio: int, *, shift: bool, mask: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = Linear(width, 3 * width), Linear(width, width)
        self.get_v = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.attns = nn.ModuleList(
            WindowAttention(width // 2, heads // 2, shape, shift=shift, mask=mask) for shape in (window, window[::-1])
        )
        self.mlp = MLP(width, ratio * width)

    def forward(self, image: Tensor, offsets: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
        """`offsets`: for each half the table of offsets and the index into it."""
        x = image.permute(0, 2, 3, 1)
        qkv = self.qkv(self.norm1(x)).view(*x.shape[:3], 3, 2, -1)
        halves = [attend(qkv[..., k, :], *offsets[k]) for k, attend in enumerate(self.attns)]
        local = self.get_v(qkv[..., 2, :, :].flatten(-2).permute(0, 3, 1, 2))
        x = x + self.proj(torch.cat(halves, -1) + local.permute(0, 2, 3, 1))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result.permute(0, 3, 1, 2)


class HFERB(nn.Module):
    """High frequency enhancement residual block: a convolution beside a maximum over neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.last_fc = Pointwise(width, width)
        self.fc, self.conv = Pointwise(width // 2, width // 2), conv3(width // 2, width // 2)
        self.peaks = Site()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`."""
        smooth, sharp = x.chunk(2, 1)
        peaks = F.max_pool2d(self.peaks(sharp), 3, 1, 1)
        result: Tensor = x + self.last_fc(torch.cat((F.gelu(self.conv(smooth)), F.gelu(self.fc(peaks))), 1))
        return result


class LayerNorm(nn.Module):
    """LayerNorm over the channels of each pixel, under the name that it has in published files."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`."""
        result: Tensor = self.body(x.permute(0, 2, 3, 1))
        return result.permute(0, 3, 1, 2)


class ChannelAttention(nn.Module):
    """Attention between channels over the whole image: the high frequencies ask, the low ones answer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = Pointwise(width, width, bias=False)
        self.q_dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.kv = Pointwise(width, 2 * width, bias=False)
        self.kv_dwconv = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width, bias=False)
        self.project_out = Pointwise(width, width, bias=False)
        self.query, self.key, self.attention, self.value = Site(), Site(), Site(), Site()

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """`(N, C, H, W)` each, `low` normalised, `high` as it is."""
        k, v = self.kv_dwconv(self.kv(low)).chunk(2, 1)
        q, k, v = (self._heads(x) for x in (self.q_dwconv(self.q(high)), k, v))
        q, k = self.query(F.normalize(q, dim=-1)), self.key(F.normalize(k, dim=-1))
        weight = self.attention((q @ k.transpose(-2, -1) * self.temperature).softmax(-1))
        out = (weight @ self.value(v)).reshape(low.shape)
        result: Tensor = self.project_out(out.contiguous(memory_format=torch.channels_last))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, heads, C / heads, H * W)`."""
        return x.reshape(len(x), len(self.temperature), -1, x.shape[2] * x.shape[3])


class GDFN(nn.Module):
    """Gated feed-forward: one half of the channels decides how much of the other goes through."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * 2.66)
        self.project_in = Pointwise(width, 2 * hidden, bias=False)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = Pointwise(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H, W)`."""
        gate, value = self.dwconv(self.project_in(x)).chunk(2, 1)
        # GELU of half of the channels in place is slow: its kernel wants them in one piece
        gate = gate.contiguous(memory_format=torch.channels_last)
        result: Tensor = self.project_out(F.gelu(gate) * value)
        return result


class HFB(nn.Module):
    """Hybrid fusion block: joins what the windows and what the convolutions made."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attn, self.ffn = ChannelAttention(width, heads), GDFN(width)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """`(N, C, H, W)` each."""
        x = low + self.attn(self.norm1(low), high)
        result: Tensor = x + self.ffn(self.norm2(x))
        return result
