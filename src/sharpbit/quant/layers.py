"""Layers that round what they take: the float layer's very weight and bias, and quantizers beside them."""

from __future__ import annotations

from torch import Tensor, nn

from sharpbit.nn import Site, linear
from sharpbit.quant.grid import spread
from sharpbit.system.deprecated import old_names


class QuantConv2d(nn.Conv2d):
    """A convolution with rounded input and weight. The bias is never rounded.

    Args:
        conv: the float layer; its parameters are taken over, not copied, under the names that they have.
        act: quantizer of the input.
        kernel: quantizer of the weight.
    """

    def __init__(self, conv: nn.Conv2d, act: nn.Module, kernel: nn.Module) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.act, self.kernel = act, kernel
        self._product = type(conv)._conv_forward
        self.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer, of rounded numbers."""
        return self.product(self.act(x), self.kernel(self.weight))

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """The result for an input and a weight that nobody rounds any more."""
        y: Tensor = self._product(self, x, weight, self.bias)
        return y


class QuantLinear(nn.Linear):
    """A linear layer with rounded input and weight. See `QuantConv2d`."""

    def __init__(self, linear: nn.Linear, act: nn.Module, kernel: nn.Module) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.act, self.kernel = act, kernel
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """As the float layer, of rounded numbers."""
        return self.product(self.act(x), self.kernel(self.weight))

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `QuantConv2d.product`."""
        return linear(x, weight, self.bias)


class Equalized(nn.Module):
    """A quantizer of a tensor whose channels are scaled first; the weights undo it (`sharpbit.quant.ptq.equalize`).

    Attributes:
        inner: what rounds.
        scale: `(C,)`.
        axis: dimension along which the scale lies.
    """

    def __init__(self, inner: nn.Module, scale: Tensor, axis: int) -> None:
        super().__init__()
        self.inner, self.axis = inner, axis
        self.scale: Tensor
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """`x`, scaled and rounded."""
        y: Tensor = self.inner(x * spread(self.scale, x, self.axis))
        return y


def rounding(act: nn.Module) -> nn.Module:
    """What rounds in a layer's `act`."""
    return act.inner if isinstance(act, Equalized) else act


class QuantSite(Site):
    """A named tensor, rounded."""

    def __init__(self, site: Site, act: nn.Module) -> None:
        super().__init__()
        self.act = act
        self.train(site.training)

    @property
    def separable(self) -> bool:
        """Whether the range is the same for every part of the tensor, and nobody looks at the whole of it."""
        return super().separable and getattr(self.act, "separable", False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """`input`, rounded."""
        rounded: Tensor = self.act(input)
        return rounded


Weighted = QuantConv2d | QuantLinear


__getattr__ = old_names(__name__, {"Balanced": "Equalized"})
