"""One layer of a chain in integers: its numbers, the limits of these, and what it computes.

See `sharpbit.modelfile.integer_chain`. Within the limits every engine runs it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import ModelError

Bytes = NDArray[np.uint8]

MAX_CHANNELS = 64
MAX_BIAS = 1 << 30  # with the products of 64 channels and what is passed on in 16 bits it stays below 2**31
MAX_MULTIPLIER = float(1 << 20)
MAX_PASSED = 1 << 13  # of the weight of a wide channel
FINE = 256  # steps of the second byte in one of the first
MIDDLE = 128  # the second byte where the first one is exact


@dataclass(frozen=True)
class Slopes:
    """What a layer needs besides where its results may be negative.

    Attributes:
        negative: `(outputs,)` float32, multiplies negative sums instead of `multiplier`; of any sign.
        zero: `(outputs,)` uint8, the byte that stands for 0: added after rounding, and what the next layer takes to lie
            outside of the image. The products of it and that layer's weights are part of that layer's bias.
    """

    negative: NDArray[np.float32]
    zero: NDArray[np.uint8]


@dataclass(frozen=True)
class Wide:
    """The channels of a layer that are kept in 16 bits as well, and what is added of those of the layer before.

    Trained networks pass some channels on from layer to layer with small changes, as if around a skip. What eight bits
    cost is lost in these; so they have a second byte, which no convolution reads.

    Attributes:
        count: so many of the outputs, the first ones, have a second byte.
        weight: `(count of the layer before,)` int32, at most 2**13: the 16 bits of the same pixel are multiplied by it
            and added to the sum of the output with the same number.
    """

    count: int
    weight: NDArray[np.int32]


@dataclass(frozen=True)
class Layer:
    """One convolution and how its sums become bytes again.

    Attributes:
        weight: `(outputs, inputs, 3, 3)` int8, from -127 to 127.
        bias: `(outputs,)` int32, in units of the sum, at most 2**30.
        multiplier: `(outputs,)` float32, from a sum to the next layer's byte; not negative.
        slopes: None where negative sums become 0; all layers of a chain have them, or none.
        wide: None where all is kept in bytes; all layers of a chain with slopes have it, or none.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.float32]
    slopes: Slopes | None = None
    wide: Wide | None = None

    @property
    def outputs(self) -> int:
        """Channels that come out."""
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        """Channels that go in."""
        return int(self.weight.shape[1])


def convolved(
    x: Bytes, layer: Layer, around: Bytes, *, fine: Bytes | None = None, added: Bytes | None = None
) -> tuple[Bytes, Bytes]:
    """What a layer makes of bytes `(h, w, inputs)`: its bytes, and the second bytes of its wide channels.

    Args:
        x: what comes in.
        layer: what is computed.
        around: `(inputs,)`, a pixel outside of the image.
        fine: `(h, w, wide channels)`, the second bytes of what comes in; None: there are none.
        added: `(h, w, outputs)`, takes the place of zero points; None: nothing does.
    """
    height, width = x.shape[:2]
    padded = np.empty((height + 2, width + 2, layer.inputs), np.float64)  # sums stay below 2**53: exact
    padded[:] = around
    padded[1:-1, 1:-1] = x
    total = np.broadcast_to(layer.bias.astype(np.float64), (height, width, layer.outputs)).copy()
    for row in range(3):
        for column in range(3):
            window = padded[row : row + height, column : column + width]
            total += window @ layer.weight[:, :, row, column].T.astype(np.float64)
    if fine is not None and layer.wide is not None:
        count = fine.shape[2]
        total[:, :, :count] += layer.wide.weight * (FINE * x[:, :, :count].astype(np.float64) + fine - MIDDLE)
    multiplier, zero = layer.multiplier, np.uint8(0)
    if layer.slopes is not None:
        multiplier = np.where(total < 0, layer.slopes.negative, layer.multiplier)
        zero = layer.slopes.zero  # type: ignore[assignment]
    product = total.astype(np.int64).astype(np.float32) * multiplier
    rounded = np.rint(product).astype(np.float64)
    level = np.asarray(np.clip(rounded + (zero if added is None else added), 0, 255), np.uint8)
    return level, _fine(product, level, layer)


def _fine(product: NDArray[np.float32], level: Bytes, layer: Layer) -> Bytes:
    """What the bytes of the wide channels lack, in steps of 1/256; clipped, as a clipped byte may lack more."""
    if layer.wide is None or layer.slopes is None:
        return np.zeros((*level.shape[:2], 0), np.uint8)
    own = slice(0, layer.wide.count)
    kept = level[:, :, own].astype(np.float32) - layer.slopes.zero[own].astype(np.float32)
    left = np.rint((product[:, :, own] - kept) * np.float32(FINE))  # float32 in every step
    return np.asarray(np.clip(left + MIDDLE, 0, 255), np.uint8)


def check_layer(layer: Layer, channels: int, where: str) -> None:
    """Raise ModelError unless every engine can run the layer exactly; `channels` come in."""
    if layer.inputs != channels or not 1 <= layer.outputs <= MAX_CHANNELS or layer.weight.shape[2:] != (3, 3):
        raise ModelError(
            f"{where} has weights of {layer.weight.shape}; expected are {channels} channels in, at most"
            f" {MAX_CHANNELS} out, and 3x3"
        )
    channels = layer.outputs
    if layer.bias.shape != (channels,) or layer.multiplier.shape != (channels,):
        raise ModelError(f"{where} has {layer.bias.size} biases and {layer.multiplier.size} multipliers")
    if layer.weight.min() < -127:
        raise ModelError(f"{where} has a weight of -128; weights lie between -127 and 127")
    if np.abs(layer.bias.astype(np.int64)).max() > MAX_BIAS:
        raise ModelError(f"{where} has a bias beyond 2**30")
    if not (np.isfinite(layer.multiplier).all() and 0 <= layer.multiplier.min() <= layer.multiplier.max()):
        raise ModelError(f"{where} has a multiplier that is negative or not a number")
    if layer.multiplier.max() > MAX_MULTIPLIER:
        raise ModelError(f"{where} has a multiplier above 2**20")
    if layer.slopes is not None:
        _check_slopes(layer.slopes, channels, where)
    if layer.wide is not None:
        _check_wide(layer.wide, channels, where)


def _check_slopes(slopes: Slopes, channels: int, where: str) -> None:
    if slopes.negative.shape != (channels,) or slopes.zero.shape != (channels,):
        raise ModelError(f"{where} has {slopes.negative.size} slopes and {slopes.zero.size} zero points")
    if not (np.isfinite(slopes.negative).all() and np.abs(slopes.negative).max() <= MAX_MULTIPLIER):
        raise ModelError(f"{where} has a slope that is not a number, or beyond 2**20")


def _check_wide(wide: Wide, channels: int, where: str) -> None:
    if not 0 <= wide.count <= channels:
        raise ModelError(f"{where} has {wide.count} wide channels of {channels}")
    if wide.weight.size > channels:
        raise ModelError(f"{where} takes over {wide.weight.size} wide channels, and has but {channels} itself")
    if np.abs(wide.weight.astype(np.int64)).max(initial=0) > MAX_PASSED:
        raise ModelError(f"{where} has a weight of a wide channel beyond 2**13")
