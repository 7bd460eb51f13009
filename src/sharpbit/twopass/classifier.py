"""ClustBlock: a small classifier of textures in 8 bits, whose answer tells patches apart; here in numpy.

Three 3x3 convolutions without padding and with ReLU (3 to 64 channels with stride 3, 64 to 64, 64 to 32), the mean over
all positions, and a linear layer with one output a class. Every operand of a product is rounded to a grid of 255 steps
that contains 0, `round(clip(x, lo, hi) / step) * step` with `step = (hi - lo) / 255` (RefQSR, arXiv 2404.01690, eq. 1).
How it is trained: `sharpbit.quant.refqsr.clustblock`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sharpbit.errors import ModelError, UsageError

STEPS = 255
STRIDES = (3, 1, 1)  # of the convolutions
LAYERS = ("conv1", "conv2", "conv3", "fc")
SMALLEST = 15  # side of a patch from which one position is left
MEAN = (0.4488, 0.4371, 0.4040)  # colour that is taken off
EMBEDDED = Path(__file__).with_name("textures.npz")
BATCH = 32  # patches at a time, so that memory stays bounded


@dataclass(frozen=True)
class Layer:
    """A convolution, or the linear layer as a 1x1 one, in whole numbers.

    Attributes:
        weight: `(out, in, side, side)`, whole numbers.
        weight_step: what they are multiples of.
        bias: `(out,)`, in float.
        lo: where the grid of what comes in begins.
        hi: where it ends.
    """

    weight: NDArray[np.float32]
    weight_step: float
    bias: NDArray[np.float32]
    lo: float
    hi: float

    @property
    def step(self) -> float:
        """Of the grid of what comes in."""
        return (self.hi - self.lo) / STEPS


@dataclass(frozen=True)
class Classifier:
    """A trained ClustBlock.

    Attributes:
        layers: the weights by name, see `LAYERS`.
        classes: names, in the order of a vector's entries.
        card: what is known of it: data, split, licence, share of right answers.
    """

    layers: Mapping[str, Layer]
    classes: tuple[str, ...]
    card: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Classifier:
        """From a `.npz` file.

        Raises:
            ModelError: not such a file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                layers = {name: _layer(file, name) for name in LAYERS}
                card = json.loads(str(file["card"]))
                return cls(layers, tuple(card["classes"]), card)
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror or 'it is damaged'}") from None
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile):
            raise ModelError(
                f"{path} holds no classifier of patches; give a .npz file that scripts/train_clustblock.py has written"
            ) from None

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.weight.size + layer.bias.size for layer in self.layers.values())

    def macs(self, size: tuple[int, int]) -> int:
        """Multiply-accumulate operations for one patch of this height and width."""
        sides = [max(side, SMALLEST) for side in size]
        total = 0
        for name, stride in zip(LAYERS, STRIDES, strict=False):
            weight = self.layers[name].weight
            sides = [(side - weight.shape[-1]) // stride + 1 for side in sides]
            total += sides[0] * sides[1] * weight.size
        return total + self.layers["fc"].weight.size

    def vectors(self, patches: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """What it says of each patch, `(N, classes)`.

        Args:
            patches: RGB, `(H, W, 3)` uint8, of any sizes; smaller ones than 15 pixels are continued by their edges.

        Raises:
            UsageError: not such images.
        """
        found = np.empty((len(patches), len(self.classes)), np.float32)
        by_size: dict[tuple[int, ...], list[int]] = {}
        for number, patch in enumerate(patches):
            if patch.dtype != np.uint8 or patch.ndim != 3 or patch.shape[2] != 3 or not patch.size:
                raise UsageError(f"a patch is a uint8 image (H, W, 3), not {patch.dtype} {patch.shape}")
            by_size.setdefault(patch.shape, []).append(number)
        for numbers in by_size.values():
            for start in range(0, len(numbers), BATCH):
                some = numbers[start : start + BATCH]
                found[some] = self._run(np.stack([_filled(patches[number]) for number in some]))
        return found

    def _run(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = patches.astype(np.float32) / np.float32(255) - np.array(MEAN, np.float32)
        for name, stride in zip(LAYERS, STRIDES, strict=False):
            x = np.maximum(_applied(self.layers[name], x, stride), 0)
        x = x.mean((1, 2), keepdims=True)
        return _applied(self.layers["fc"], x, 1)[:, 0, 0]


@lru_cache(maxsize=1)
def embedded() -> Classifier:
    """The classifier that comes with sharpbit."""
    return Classifier.read(EMBEDDED)


def _layer(file: Mapping[str, NDArray[Any]], name: str) -> Layer:
    weight, bias = (file[f"{name}.{part}"].astype(np.float32) for part in ("weight", "bias"))
    step, lo, hi = (float(value) for value in file[f"{name}.grids"])
    return Layer(weight, step, bias, lo, hi)


def _filled(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    missing = [(0, max(SMALLEST - size, 0)) for size in patch.shape[:2]]
    return np.pad(patch, (*missing, (0, 0)), mode="edge") if any(end for _, end in missing) else patch


def _applied(layer: Layer, x: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """`(N, H, W, in)` to `(N, H', W', out)`; sums of whole numbers, which float32 holds exactly in all but name."""
    x = np.rint(np.clip(x, np.float32(layer.lo), np.float32(layer.hi)) / np.float32(layer.step))
    out, _, side, _ = layer.weight.shape
    windows = sliding_window_view(x, (side, side), (1, 2))[:, ::stride, ::stride]  # (N, H', W', in, side, side)
    columns = windows.reshape(*windows.shape[:3], -1)
    total = columns @ layer.weight.reshape(out, -1).T
    return np.asarray(total * np.float32(layer.step * layer.weight_step) + layer.bias, np.float32)
