"""What training makes smaller: distances of images and of their edges, and from what a teacher makes of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.model import Model
from sharpbit.quant.context import GREY
from sharpbit.quant.distill import reading, transfer
from sharpbit.quant.refqsr.switch import Run
from sharpbit.training.settings import Training

FEATURE, BLOCKS = "feature", "*.output"  # sites that distillation compares
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss}


def with_luma(loss_of: Callable[[Tensor, Tensor], Tensor], share: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of RGB images `(N, 3, H, W)`, `share` of which is that of their luma alone: what PSNR compares."""
    if not share:
        return loss_of
    weights = torch.tensor(GREY)

    def both(result: Tensor, large: Tensor) -> Tensor:
        lumas = (torch.einsum("nchw,c->nhw", image, weights.to(image)) for image in (result, large))
        return (1 - share) * loss_of(result, large) + share * loss_of(*lumas)

    return both


def edge_loss(result: Tensor, large: Tensor) -> Tensor:
    """How far the edges of two images `(N, 3, H, W)` are apart: Charbonnier distance of their Laplacians.

    A Laplacian is what an image loses by a step of the Gaussian pyramid down and up. Source: `EdgeLoss` in
    `basicsr/losses/basic_loss.py` of AVC2-UESTC/Frequency-Inspired-Optimization-for-EfficientSR.
    """
    difference = _laplacian(result - large)  # it is linear
    return (difference.square() + 1e-12).sqrt().mean()


def _laplacian(x: Tensor) -> Tensor:
    smooth = _blurred(x)
    even = torch.zeros_like(smooth)
    even[..., ::2, ::2] = 4 * smooth[..., ::2, ::2]
    return x - _blurred(even)


def _blurred(x: Tensor) -> Tensor:
    row = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05], dtype=x.dtype, device=x.device)
    kernel = torch.outer(row, row).repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=x.shape[1])


def image_loss(net: Run, small: Tensor, large: Tensor, how: Training, loss_of: Callable[..., Tensor]) -> Tensor:
    """How far what `net`, or one pass of it, makes of LR images is from the large ones, by one of `LOSSES`."""
    loss_of = with_luma(loss_of, how.luma)
    if not how.low_weight:
        result = net(small).float()
        loss = loss_of(how.white * result, how.white * large)
        return loss + how.edge_weight * edge_loss(result, large) if how.edge_weight else loss
    whole, low = net.streams(small)  # type: ignore[operator,union-attr]
    return loss_of(whole.float(), large) + how.low_weight * loss_of(low.float(), large)


@contextmanager
def lesson(net: nn.Module, teacher: Model | None, how: Training, device: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """The loss by what the teacher makes of the LR images that `net` has just seen; 0 without one."""
    if teacher is None:
        yield lambda small: small.new_zeros(())
        return
    shown = copy.deepcopy(teacher.net).to(device).eval()
    globs = [FEATURE, *([BLOCKS] if how.distill_blocks else [])]
    with reading(net, globs) as own, reading(shown, globs) as theirs:

        def loss(small: Tensor) -> Tensor:
            with torch.no_grad():
                shown(small)
            shared = {name: seen for name, seen in own.items() if name in theirs}  # not those of wrapped blocks
            return transfer(shared, theirs, how.distill, how.distill_blocks, FEATURE)

        yield loss
