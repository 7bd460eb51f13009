"""RefER, reference-based error refinement: what a patch of few bits learns from a like one of many bits.

Source: "Reference-based Quantization for Image Super-Resolution" (RefQSR), arXiv 2404.01690, eq. 4 to 7. There is no
public code; what the paper leaves open is marked as a choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POOL = 3  # features are compared at a third of their size
SHARPNESS = 1000.0  # of the softmax by which training chooses a position
LEAST = 1e-6  # length of a pixel's vector, against a division by zero; a choice
PRINTED, POOLED, CENTRED = MATCHINGS = ("normalize-then-pool", "pool-then-normalize", "centred")


class RefER(nn.Module):
    """Corrects features of a query by those of its reference.

    Features are normalized, pooled and rounded; each place of the query finds the place of the reference with the
    largest product; the reference is warped there, and convolutions turn the difference into a correction.

    Args:
        residual: makes the correction.
        query: quantizer of the pooled features of the query.
        reference: the same of the reference.
        rectified: whether a ReLU follows the sum, as in the block that this stands for.
        pooled: whether features are normalized and pooled before they are compared; if not, every pixel is compared
            with every pixel.
        matching: how they are made ready to be compared, one of `MATCHINGS`; see `compared`.
    """

    def __init__(
        self,
        residual: Correction,
        query: nn.Module,
        reference: nn.Module,
        *,
        rectified: bool,
        pooled: bool = True,
        matching: str = PRINTED,
    ) -> None:
        super().__init__()
        self.residual, self.query, self.reference = residual, query, reference
        self.rectified, self.pooled, self.matching = rectified, pooled, matching

    def forward(self, query: Tensor, reference: Tensor) -> Tensor:
        """`(N, C, h, w)` and `(N, C, h', w')` to the former."""
        places = self.places(query, reference)
        if self.pooled:
            places = upscaled(places, query)
        y: Tensor = query + self.residual(query, warped(reference, places))
        return F.relu(y) if self.rectified else y

    def places(self, query: Tensor, reference: Tensor) -> Tensor:
        """Where in the reference each place of the (pooled) query is best matched: see `matched`."""
        if not self.pooled:
            return matched(self.query(query), self.reference(reference), reference.shape, soft=self.training)
        own, other = compared(query, reference, self.matching)
        return matched(self.query(own), self.reference(other), reference.shape, soft=self.training)


class Correction(nn.Module):
    """The convolutions of a block, of the difference of two features.

    Args:
        conv1: the first one.
        act: what comes between them.
        conv2: the second one.
        other: another first one for the warped features, if both features are taken instead of their difference (the
            paper's "w/ concat"; one convolution of both side by side).
    """

    def __init__(self, conv1: nn.Module, act: nn.Module, conv2: nn.Module, other: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.act, self.conv2, self.other = conv1, act, conv2, other

    def forward(self, query: Tensor, warped: Tensor) -> Tensor:
        """Two features `(N, C, h, w)` to a correction of the same shape."""
        y = self.conv1(query - warped) if self.other is None else self.conv1(query) + self.other(warped)
        correction: Tensor = self.conv2(self.act(y))
        return correction

    @torch.no_grad()
    def begin(
        self, block: nn.Module, parts: Sequence[str] = ("conv1", "act", "conv2"), *, neutral: bool = False
    ) -> None:
        """Take over the weights of the block that this stands for; ranges are left, for differences are smaller.

        Here is no normalization; what that of the block multiplies by goes into the weights, what it adds is left out.
        Of two features it begins with the difference.

        Args:
            block: The block.
            parts: The names in it of the two convolutions and, between them, of the activation (empty: none).
            neutral: Whether the last convolution begins with 0, so that at first nothing is corrected.
        """
        inside = dict(block.named_modules())
        for name, own in zip(parts, (self.conv1, self.act, self.conv2), strict=True):
            if name and name in inside:
                state = inside[name].state_dict()
                own.load_state_dict({key: value for key, value in state.items() if ".range." not in key}, strict=False)
        for name, own in (("bn1", self.conv1), ("bn2", self.conv2)):
            norm = getattr(block, name, None)
            if isinstance(norm, nn.BatchNorm2d) and isinstance(own, nn.Conv2d):
                assert norm.running_var is not None
                factor = norm.weight / (norm.running_var + norm.eps).sqrt()
                own.weight.mul_(factor[:, None, None, None])
                if own.bias is not None:
                    own.bias.mul_(factor)
        if self.other is not None:
            self.other.load_state_dict(self.conv1.state_dict())
            for part in self.other.modules():
                if isinstance(part, nn.Conv2d):
                    part.weight.neg_()
                    if part.bias is not None:
                        part.bias.zero_()
        if neutral:
            for number in self.conv2.parameters(recurse=False):
                number.zero_()


def compared(query: Tensor, reference: Tensor, matching: str = PRINTED) -> tuple[Tensor, Tensor]:
    """Features of a query and of its reference, `(N, C, h, w)`, as they are compared: `(N, C, h // 3, w // 3)`.

    Args:
        query: The features of the query.
        reference: Those of the reference, perhaps of another size.
        matching: `normalize-then-pool`, as printed (eq. 4): the mean of unit vectors is shorter where there is texture,
            so products prefer flat places. `pool-then-normalize`: every place has a vector of length 1. `centred`: the
            mean over all places of the reference, which all features share, is subtracted from both before that.
    """
    if matching == PRINTED:
        return prepared(query), prepared(reference)
    own, other = pooled(query), pooled(reference)
    if matching == CENTRED:
        mean = other.mean((2, 3), keepdim=True)
        own, other = own - mean, other - mean
    return unit(own), unit(other)


def prepared(x: Tensor) -> Tensor:
    """Features `(N, C, h, w)` with the vector of every pixel of length 1, pooled to `(N, C, h // 3, w // 3)` (eq. 4).

    The paper does not say over what it normalizes; a vector at each place makes products cosines.
    """
    return pooled(unit(x))


def unit(x: Tensor) -> Tensor:
    """Features `(N, C, h, w)` with the vector of every place of length 1."""
    return x / x.square().sum(1, keepdim=True).sqrt().clamp(min=LEAST)


def pooled(x: Tensor) -> Tensor:
    """The means of about 3x3 places of features `(N, C, h, w)`: `(N, C, h // 3, w // 3)`."""
    rows, columns = (_pooling(size, x) for size in x.shape[2:])
    return F.linear(F.linear(x, columns).transpose(2, 3).contiguous(), rows).transpose(2, 3).contiguous()


def _pooling(size: int, like: Tensor) -> Tensor:
    """`(size // 3, size)`: what adaptive average pooling multiplies by; as a product any size can be exported."""
    count = max(size // POOL, 1)
    first = torch.arange(count, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)
    begin, end = first * size // count, ((first + 1) * size + count - 1) // count
    inside = ((place >= begin) & (place < end)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def matched(query: Tensor, reference: Tensor, size: tuple[int, ...] | torch.Size, *, soft: bool) -> Tensor:
    """For each place of the query the place of the reference with the largest product (eq. 5 to 7).

    Args:
        query: `(N, C, h, w)`.
        reference: `(N, C, h', w')`.
        size: the last two entries are height and width of the reference in pixels.
        soft: take the mean of all places, weighed by a sharp softmax of the products, which has a gradient.

    Returns:
        `(N, 2, h, w)`: column and row in pixels of the reference, of the middle of the place.
    """
    products = query.flatten(2).transpose(1, 2) @ reference.flatten(2)  # (N, hw, h'w')
    spots = middles(reference, size).to(products.dtype)  # (h'w', 2)
    found = torch.softmax(SHARPNESS * products, 2) @ spots if soft else spots[products.argmax(2)]
    return found.transpose(1, 2).reshape(query.shape[0], 2, *query.shape[2:])


def upscaled(places: Tensor, query: Tensor) -> Tensor:
    """Places `(N, 2, h // 3, w // 3)` for each pixel of the query, `(N, 2, h, w)`, by bilinear interpolation.

    What is interpolated is how far each place is from the same place in the query. Inside that is the same as
    interpolating the places themselves; at the borders, where interpolation has nothing beyond, it keeps a shift exact.
    """
    home = middles(places, query.shape).to(places.dtype).T.reshape(1, 2, *places.shape[2:])
    own = middles(query, query.shape).to(places.dtype).T.reshape(1, 2, *query.shape[2:])
    return own + F.interpolate(places - home, query.shape[2:], mode="bilinear", align_corners=False)


def warped(reference: Tensor, places: Tensor) -> Tensor:
    """The reference `(N, C, h', w')` at places `(N, 2, h, w)`, by bilinear sampling; edges go on outside."""
    height, width = reference.shape[2:]
    size = torch.tensor([width, height], dtype=places.dtype, device=places.device)
    grid = (2 * places.permute(0, 2, 3, 1) + 1) / size - 1
    return F.grid_sample(reference, grid, mode="bilinear", padding_mode="border", align_corners=False)


def middles(x: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    """Column and row of the middles of the places of `x` `(N, C, h, w)` in an image of `size`: `(hw, 2)`."""
    rows, columns = (
        (torch.arange(count, device=x.device) + 0.5) * (whole / count) - 0.5
        for count, whole in zip(x.shape[2:], size[-2:], strict=True)
    )
    own = (columns + torch.zeros_like(rows)[:, None], rows[:, None] + torch.zeros_like(columns))
    return torch.stack([part.flatten() for part in own], 1)
