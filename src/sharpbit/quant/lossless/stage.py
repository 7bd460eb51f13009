"""A layer on its way to integers: bytes in, bytes out, with weights that are still to be rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from sharpbit.system.deprecated import old_names

if TYPE_CHECKING:
    from sharpbit.quant.lossless.constant import Sums

TOP = 255.0


@dataclass(frozen=True)
class LosslessSettings:
    """How much work is done.

    Attributes:
        carry: whether the image is carried as it is, where the network has channels for it.
        fit: whether layers are fitted by least squares before their weights are rounded.
        compensate: whether the rounding of a weight is made up by the following ones.
        steps: number of tuning steps; 0 leaves tuning out.
        batch: images in one step.
        rate: learning rate of Adam (Kingma and Ba, 2015), in grey levels of output that a step changes along one white
            coordinate.
        samples: places in the images that least squares see.
        seed: seed of everything that is drawn at random.
    """

    carry: bool = True
    fit: bool = True
    compensate: bool = True
    steps: int = 200
    batch: int = 8
    rate: float = 0.004
    samples: int = 20000
    seed: int = 0


@dataclass(frozen=True)
class Stage:
    """A layer that turns bytes into bytes, which are still to be rounded (float64).

    Attributes:
        kernel: `(out, in * 9 + 1)`: weights, then the bias divided by 255, as if its input were always white.
        carried: rows that hold the image itself.
        moments: mean products of the inputs of `kernel`, `(in * 9 + 1, in * 9 + 1)`.
        sums: what weights sum to where the chain keeps constant images constant.
    """

    kernel: Tensor
    carried: tuple[int, ...]
    moments: Tensor
    sums: Sums | None = None

    @property
    def weight(self) -> Tensor:
        """`(out, in, 3, 3)`."""
        return self.kernel[:, :-1].reshape(len(self.kernel), -1, 3, 3)

    @property
    def bias(self) -> Tensor:
        """`(out,)`."""
        return self.kernel[:, -1] * TOP


def in_bytes(stage: Stage, x: Tensor) -> Tensor:
    """What a layer makes of `(N, C, h, w)` bytes, rounded to bytes, in float32."""
    return F.conv2d(x, stage.weight.float(), stage.bias.float(), padding=1).round_().clamp_(0, TOP)


def copying(kernel: Tensor, carried: tuple[int, ...], before: tuple[int, ...]) -> Tensor:
    """The kernel with rows that copy the image from the channels `before`, or from the image."""
    kernel = kernel.clone()
    for row, source in zip(carried, before or range(3), strict=False):
        kernel[row] = 0
        kernel[row, source * 9 + 4] = 1
    return kernel


__getattr__ = old_names(__name__, {"Settings": "LosslessSettings"})
