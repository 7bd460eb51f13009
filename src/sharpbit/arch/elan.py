"""ELAN, the light form: shifted 1x1 convolutions, and attention in windows of three sizes, shared by two layers.

Source: "Efficient Long-Range Attention Network for Image Super-Resolution", Zhang et al., ECCV 2022;
`models/elan_block.py` and `elan_network.py` of xindongzhang/ELAN, whose names of tensors `rename` knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.arch import Architecture, Aware, Counting, Refinable, Rounded, Term
from sharpbit.errors import ModelError, UsageError
from sharpbit.nn import Site, State, conv, conv3, count, mean_buffer, renamed, scale_of, with_mean

WINDOWS = (4, 8, 16)  # sides; each is used by a third of the channels
EXPAND = 2  # channels within a local layer, as multiples of those outside
TAPS = ((1, 2), (1, 0), (2, 1), (0, 1))  # row and column in a 3x3 kernel: right, left, below, above


@dataclass(frozen=True)
class Config:
    """Sizes of an ELAN; the defaults are ELAN-light.

    Attributes:
        scale: upscaling factor.
        blocks: pairs of local and attention layers, which share one attention.
        width: channels; a multiple of 3.
    """

    scale: int
    blocks: int = 12
    width: int = 60

    def __post_init__(self) -> None:
        if self.width % len(WINDOWS):
            raise UsageError(f"the width of an elan is a multiple of {len(WINDOWS)}, not {self.width}")


class Shift(nn.Module):
    """Moves four fifths of the channels by one pixel, each fifth in another direction; a depthwise convolution."""

    kernel: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("kernel", _shifts(width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same, zeros moving in."""
        return F.conv2d(x, self.kernel, padding=1, groups=len(self.kernel))


class ShiftConv(nn.Module):
    """A shift, then a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shift, self.pointwise = Shift(inputs), conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in, H, W)` to `(N, out, H, W)`."""
        y: Tensor = self.pointwise(self.shift(x))
        return y


class Local(nn.Module):
    """Two shifted convolutions with a ReLU between them, and the shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = ShiftConv(width, width * EXPAND), ShiftConv(width * EXPAND, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same."""
        y: Tensor = self.conv2(F.relu(self.conv1(x)))
        return y + x


class Scores(nn.Module):
    """How much each pixel of a window attends to each: softmax of products of `query`; the result is `attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.attention = Site(), Site()

    def forward(self, q: Tensor) -> Tensor:
        """`(windows, pixels, channels)` to `(windows, pixels, pixels)`."""
        q = self.query(q)
        scores: Tensor = self.attention(torch.softmax(torch.bmm(q, q.transpose(1, 2)), -1))
        return scores


class Mix(nn.Module):
    """Means of `value` in a window, weighed by scores."""

    def __init__(self) -> None:
        super().__init__()
        self.value = Site()

    def forward(self, scores: Tensor, v: Tensor) -> Tensor:
        """`(windows, pixels, pixels)` and `(windows, pixels, channels)` to the latter's shape."""
        return torch.bmm(scores, self.value(v))


class Attention(nn.Module):
    """Attention in windows of three sizes, between two 1x1 convolutions.

    Args:
        width: channels.
        own: whether it finds scores of its own, or is given those of another layer.
        moved: whether the windows begin in the middle of the usual ones; the image goes on at its other end.
    """

    def __init__(self, width: int, *, own: bool, moved: bool) -> None:
        super().__init__()
        self.moved = moved
        inner = 2 * width if own else width
        self.project_in, self.bn = conv(width, inner, 1), nn.BatchNorm2d(inner)
        self.scores = nn.ModuleList(Scores() for _ in WINDOWS if own)
        self.mixes = nn.ModuleList(Mix() for _ in WINDOWS)
        self.project_out = conv(width, width, 1)

    def forward(self, x: Tensor, scores: Sequence[Tensor] = ()) -> tuple[Tensor, list[Tensor]]:
        """`(N, C, H, W)` to the same, H and W multiples of all windows; and the scores, one for each size of window."""
        size = x.shape
        parts = self.bn(self.project_in(x)).chunk(len(WINDOWS), 1)
        used, results = list(scores), []
        for k, (side, part) in enumerate(zip(WINDOWS, parts, strict=True)):
            move = side // 2 if self.moved else 0
            v = _windows(_rolled(part, -move), side)
            if len(self.scores):
                q, v = v.chunk(2, -1)
                used.append(self.scores[k](q))
            results.append(_rolled(_image(self.mixes[k](used[k], v), side, size), move))
        return self.project_out(torch.cat(results, 1)), used


class Pair(nn.Module):
    """A local layer and an attention layer, then another two that use the same scores."""

    def __init__(self, width: int, moved: bool) -> None:
        super().__init__()
        self.local = nn.ModuleList(Local(width) for _ in range(2))
        self.attention = nn.ModuleList(Attention(width, own=own, moved=moved) for own in (True, False))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to the same, H and W multiples of all windows."""
        scores: list[Tensor] = []
        for local, attention in zip(self.local, self.attention, strict=True):
            x = local(x)
            y, scores = attention(x, scores)
            x = y + x
        return x


class ELAN(nn.Module):
    """Pairs of layers between one convolution in and one out, around them a shortcut, then a pixel shuffle.

    The image is continued to the right and below by its mirror image, up to whole windows. Inside, values go from 0
    to 255, less the mean colour `mean`. The site `feature` is what the last convolution gets.
    """

    mean: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", mean_buffer())
        self.head = conv3(3, config.width)
        self.blocks = nn.Sequential(*(Pair(config.width, moved=k % 2 == 1) for k in range(config.blocks)))
        self.feature = Site()
        self.tail = conv3(config.width, 3 * config.scale**2)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 3, H * scale, W * scale)`, not clamped."""
        height, width = x.shape[2:]
        scale = self.config.scale
        x = self.head((_mirrored(_mirrored(x, 2), 3) - self.mean) * 255)
        x = self.feature(self.blocks(x) + x)
        x = F.pixel_shuffle(self.tail(x), scale) / 255 + self.mean
        return x[..., : height * scale, : width * scale]


def _shifts(width: int) -> Tensor:
    kernel = torch.zeros(width, 1, 3, 3)
    fifth = width // 5
    for k, (row, column) in enumerate(TAPS):
        kernel[k * fifth : (k + 1) * fifth, 0, row, column] = 1
    kernel[len(TAPS) * fifth :, 0, 1, 1] = 1
    return kernel


def _mirrored(x: Tensor, axis: int) -> Tensor:
    """`x` continued at its end to a multiple of the largest window, by reflection (again and again if it is short)."""
    side = max(WINDOWS)
    size = x.shape[axis]
    own = torch.arange(size, device=x.device)
    period = (2 * own[-1:]).clamp(min=1)  # a tensor: exporters cannot take a remainder by a size
    index = torch.arange((size + side - 1) // side * side, device=x.device) % period
    return x.index_select(axis, torch.minimum(index, period - index))


def _rolled(x: Tensor, pixels: int) -> Tensor:
    return torch.roll(x, (pixels, pixels), (2, 3)) if pixels else x


def _windows(x: Tensor, side: int) -> Tensor:
    """`(N, C, H, W)` to `(windows, side * side, C)`."""
    n, channels, height, width = x.shape
    x = x.reshape(n, channels, height // side, side, width // side, side)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, channels)


def _image(x: Tensor, side: int, size: Sequence[int]) -> Tensor:
    """What `_windows` did to an image of `size`, undone; channels as in `x`."""
    n, _, height, width = size
    x = x.reshape(n, height // side, width // side, side, side, x.shape[-1])
    return x.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, height, width)


def _rename(state: State) -> State:
    if "body.0.modules_lfe.lfe_0.conv0.shift_conv.weight" not in state:
        return state
    for key, kernel in state.items():
        if key.endswith("shift_conv.weight") and not torch.equal(kernel.float(), _shifts(len(kernel))):
            raise ModelError(f"{key} of these weights does not shift as ELAN does")
    rest = {key: value for key, value in state.items() if not key.endswith("shift_conv.weight")}
    rules = {
        r"head\.0\.": "head.",
        r"body\.(\d+)\.modules_lfe\.lfe_(\d)\.conv0\.shift_conv\.conv1x1\.": r"blocks.\1.local.\2.conv1.pointwise.",
        r"body\.(\d+)\.modules_lfe\.lfe_(\d)\.conv1\.shift_conv\.conv1x1\.": r"blocks.\1.local.\2.conv2.pointwise.",
        r"body\.(\d+)\.modules_gmsa\.gmsa_(\d)\.project_inp\.0\.": r"blocks.\1.attention.\2.project_in.",
        r"body\.(\d+)\.modules_gmsa\.gmsa_(\d)\.project_inp\.1\.": r"blocks.\1.attention.\2.bn.",
        r"body\.(\d+)\.modules_gmsa\.gmsa_(\d)\.project_out\.": r"blocks.\1.attention.\2.project_out.",
        r"tail\.0\.": "tail.",
    }
    return renamed(with_mean(rest), rules)


def _infer(state: State) -> Config | None:
    ours = _rename(state)
    blocks = count(ours, "blocks.{}.local.0.conv1.pointwise.weight")
    scale = scale_of(ours["tail.weight"].shape[0]) if blocks else None
    return None if scale is None else Config(scale, blocks, ours["head.weight"].shape[0])


_LOCAL, _ATTENTION = "blocks.*.local.*.", "blocks.*.attention.*."
ARCH = Architecture(
    name="elan",
    config=Config,
    build=ELAN,
    infer=_infer,
    rename=_rename,
    sites=(
        f"{_LOCAL}pointwise",
        f"{_ATTENTION}project_in",
        f"{_ATTENTION}query",
        f"{_ATTENTION}value",
        f"{_ATTENTION}project_out",
    ),
    aware=Aware(
        (
            *map(Rounded, ("blocks.*.pointwise", "blocks.*.project_in", "blocks.*.project_out")),
            *(Rounded(site, weight=False, share=len(WINDOWS)) for site in ("blocks.*.query", "blocks.*.value")),
        )
    ),
    refinable=Refinable(("blocks.*.local.*", "blocks.*.attention.*")),
    counting=Counting(
        terms=(
            Term(f"{_LOCAL}pointwise"),
            Term(f"{_LOCAL}conv2.shift"),  # one of the two shifts
            Term(f"{_ATTENTION}project_in"),
            Term(f"{_ATTENTION}project_out"),
            Term(f"{_ATTENTION}scores.*", "act", "act"),
            Term(f"{_ATTENTION}mixes.*", "full", "act"),  # the scores are not rounded
        ),
        selectors=(
            f"{_LOCAL}pointwise",
            f"{_ATTENTION}project_in",
            f"{_ATTENTION}project_out",
            f"{_ATTENTION}query",
            f"{_ATTENTION}value",
        ),
    ),
    small={"blocks": 2, "width": 15},
    exceptions={"plain form": "forward of ELAN", "receptive field": "windows lie at fixed places"},
)
