"""CRAFT as its description reads: windows one after the other, the mask built in each call, attention in three steps.

What `bench/craft.py` compares the network of the package with. It takes that network's weights and nothing else of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def craft(net: nn.Module, image: Tensor, *, mask: bool) -> Tensor:
    """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)` with the weights of `net`, a `sharpbit.arch.craft.CRAFT`."""
    w = net.state_dict()
    scale, heads = net.config.scale, net.config.heads  # type: ignore[union-attr]
    height, width = image.shape[2:]
    x = padded(padded(image, 2), 3)
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1)
    first = conv(w, "conv_first", x - mean)
    y = first
    for group, depth in enumerate(net.config.depths):  # type: ignore[union-attr, arg-type]
        base, z = f"layers.{group}.residual_group", y
        for k in range(depth):
            low = z
            for j in (2 * k, 2 * k + 1):
                low = srwab(w, f"{base}.srwa_blocks.{j}", low, heads, shifted=j % 2 == 1, mask=mask)
            z = hfb(w, f"{base}.hf_blocks.{k}", low, hferb(w, f"{base}.hfer_blocks.{k}", z), heads)
        y = y + conv(w, f"layers.{group}.conv", z)
    y = conv(w, "conv_after_body", pixel_norm(w, "norm.body", y)) + first
    return (F.pixel_shuffle(conv(w, "upsample.0", y), scale) + mean)[..., : height * scale, : width * scale]


def padded(x: Tensor, axis: int) -> Tensor:
    """Mirrored at the end, edge pixel included, by 1 to 16 pixels."""
    side = x.shape[axis]
    both = torch.cat([x, x.flip(axis)], axis)
    while both.shape[axis] < side // 16 * 16 + 16:
        both = torch.cat([both, both], axis)
    return both.narrow(axis, 0, side // 16 * 16 + 16)


def conv(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight = w[f"{name}.weight"]
    groups = x.shape[1] // weight.shape[1]
    return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=weight.shape[-1] // 2, groups=groups)


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def pixel_norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return norm(w, name, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def srwab(w: dict[str, Tensor], name: str, image: Tensor, heads: int, *, shifted: bool, mask: bool) -> Tensor:
    n, c, height, width = image.shape
    x = image.flatten(2).transpose(1, 2)
    qkv = linear(w, f"{name}.qkv", norm(w, f"{name}.norm1", x))
    qkv = qkv.reshape(n, height, width, 3, c).permute(3, 0, 1, 2, 4)
    half = c // 2
    low = attention(qkv[..., :half], (4, 16), heads // 2, shifted, mask)
    high = attention(qkv[..., half:], (16, 4), heads // 2, shifted, mask)
    local = conv(w, f"{name}.get_v", qkv[2].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    y = (torch.cat([low, high], -1) + local).reshape(n, height * width, c)
    x = x + linear(w, f"{name}.proj", y)
    hidden = F.gelu(linear(w, f"{name}.mlp.fc1", norm(w, f"{name}.norm2", x)))
    x = x + linear(w, f"{name}.mlp.fc2", hidden)
    return x.transpose(1, 2).reshape(n, c, height, width)


def attention(qkv: Tensor, window: tuple[int, int], heads: int, shifted: bool, mask: bool) -> Tensor:
    """`(3, N, H, W, C)` to `(N, H, W, C)`."""
    height, width = qkv.shape[2:4]
    h, w = window
    if shifted:
        qkv = torch.roll(qkv, (-h // 2, -w // 2), (2, 3))
    if shifted and mask:
        regions = torch.zeros(height, width)
        number = 0
        for rows in (slice(0, -h), slice(-h, -h // 2), slice(-h // 2, None)):
            for columns in (slice(0, -w), slice(-w, -w // 2), slice(-w // 2, None)):
                regions[rows, columns] = number
                number += 1
    out = torch.empty_like(qkv[0])
    for n in range(qkv.shape[1]):
        for top in range(0, height, h):
            for left in range(0, width, w):
                piece = qkv[:, n, top : top + h, left : left + w]
                q, k, v = piece.reshape(3, h * w, heads, -1).transpose(1, 2)
                weight = q * q.shape[-1] ** -0.5 @ k.transpose(1, 2)
                if shifted and mask:
                    region = regions[top : top + h, left : left + w].reshape(-1)
                    weight = weight + (region[:, None] != region[None]) * -100.0
                result = (weight.softmax(-1) @ v).transpose(0, 1).reshape(h, w, -1)
                out[n, top : top + h, left : left + w] = result
    return torch.roll(out, (h // 2, w // 2), (1, 2)) if shifted else out


def hferb(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    a = F.gelu(conv(w, f"{name}.conv", x[:, :half]))
    b = F.gelu(conv(w, f"{name}.fc", F.max_pool2d(x[:, half:], 3, 1, 1)))
    return x + conv(w, f"{name}.last_fc", torch.cat([a, b], 1))


def hfb(w: dict[str, Tensor], name: str, low: Tensor, high: Tensor, heads: int) -> Tensor:
    n, c, height, width = low.shape
    q = conv(w, f"{name}.attn.q_dwconv", conv(w, f"{name}.attn.q", high))
    kv = conv(w, f"{name}.attn.kv", pixel_norm(w, f"{name}.norm1.body", low))
    k, v = conv(w, f"{name}.attn.kv_dwconv", kv).chunk(2, 1)
    q, k, v = (part.reshape(n, heads, c // heads, height * width) for part in (q, k, v))
    weight = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    out = (weight * w[f"{name}.attn.temperature"]).softmax(-1) @ v
    x = low + conv(w, f"{name}.attn.project_out", out.reshape(n, c, height, width))
    hidden = conv(w, f"{name}.ffn.project_in", pixel_norm(w, f"{name}.norm2.body", x))
    gate, value = conv(w, f"{name}.ffn.dwconv", hidden).chunk(2, 1)
    return x + conv(w, f"{name}.ffn.project_out", F.gelu(gate) * value)
