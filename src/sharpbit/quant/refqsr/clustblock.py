"""ClustBlock in PyTorch: the classifier of `sharpbit.twopass.classifier` as it is trained, and as training uses it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.data.textures import Textures
from sharpbit.system.atomic import open_atomic
from sharpbit.twopass.classifier import LAYERS, MEAN, SMALLEST, STEPS, STRIDES, Classifier

WIDTHS = (3, 64, 64, 32)


@dataclass(frozen=True)
class Pretraining:
    """How the classifier is trained; the paper says only on what.

    Attributes:
        epochs: passes over the training images.
        batch: crops a step.
        side: side of a crop in pixels before it is shrunk.
        shrink: most times that it is shrunk, so that textures are as fine as in LR images.
        rate: learning rate of Adam at the start; it falls to 0 along a cosine.
        seed: seed of weights and crops.
    """

    epochs: int = 800
    batch: int = 128
    side: int = 96
    shrink: float = 4.0
    rate: float = 1e-3
    seed: int = 10


class ClustBlock(nn.Module):
    """The classifier, in float until it is given grids.

    Attributes:
        grids: `(4, 3)`, for each layer the step of its weight, and where the grid of its input begins and ends; NaN
            leaves the layer in float.
    """

    grids: Tensor
    mean: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = zip(WIDTHS[:-1], WIDTHS[1:], STRIDES, strict=True)
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(a, b, 3, stride) for a, b, stride in sizes)
        self.fc = nn.Conv2d(WIDTHS[-1], classes, 1)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("grids", torch.full((len(LAYERS), 3), torch.nan))

    @classmethod
    def of(cls, classifier: Classifier) -> ClustBlock:
        """The same classifier as one in numpy."""
        net = cls(len(classifier.classes))
        for name, own in zip(LAYERS, net.grids, strict=True):
            layer, part = classifier.layers[name], net.get_submodule(name)
            assert isinstance(part, nn.Conv2d)
            assert part.bias is not None
            part.weight.data = torch.from_numpy(layer.weight * np.float32(layer.weight_step))
            part.bias.data = torch.from_numpy(layer.bias.copy())
            own.copy_(torch.tensor([layer.weight_step, layer.lo, layer.hi]))
        return net.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` in `[0, 1]`, of 15 pixels at least each way, to `(N, classes)`."""
        missing = [max(SMALLEST - size, 0) for size in x.shape[2:]]
        if any(missing):
            x = F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
        x = x - self.mean
        for k in range(len(STRIDES)):
            x = F.relu(self.layer(k, x))
        return self.layer(len(STRIDES), x.mean((2, 3), keepdim=True)).flatten(1)

    def layer(self, number: int, x: Tensor) -> Tensor:
        """What one layer makes of its input."""
        part = self.get_submodule(LAYERS[number])
        assert isinstance(part, nn.Conv2d)
        step, lo, hi = self.grids[number]
        if torch.isnan(step):
            y: Tensor = part(x)
            return y
        act = (hi - lo) / STEPS
        whole = torch.round(torch.minimum(torch.maximum(x, lo), hi) / act)
        total = F.conv2d(whole, torch.round(part.weight / step), stride=part.stride)
        assert part.bias is not None
        z: Tensor = total * (act * step) + part.bias[:, None, None]
        return z


class VectorsPass(nn.Module):
    """The classifier of patches as engines run it, its vectors as images of one pixel; every number is a constant."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.weights = nn.ParameterList(torch.from_numpy(classifier.layers[name].weight) for name in LAYERS)
        self.biases = nn.ParameterList(torch.from_numpy(classifier.layers[name].bias) for name in LAYERS)
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, h, w)` to `(N, classes, 1, 1)`."""
        x = x - self.mean
        for number, stride in enumerate(STRIDES):
            x = F.relu(self.layer(number, x, stride))
        return self.layer(len(STRIDES), x.mean((2, 3), keepdim=True), 1)

    def layer(self, number: int, x: Tensor, stride: int) -> Tensor:
        """As `Classifier` does it."""
        own = self.classifier.layers[LAYERS[number]]
        whole = torch.round(torch.clamp(x, own.lo, own.hi) / own.step)
        total = F.conv2d(whole, self.weights[number], stride=stride)
        y: Tensor = total * (own.step * own.weight_step) + self.biases[number][:, None, None]
        return y


def pretrain(
    textures: Textures, how: Pretraining, *, device: str = "cpu", log: Callable[[int, int, float], object] | None
) -> ClustBlock:
    """A classifier trained on images of textures, in 8 bits.

    Args:
        textures: images to train on; clipping ranges of activations are found on crops of them.
        how: the plan.
        device: `cpu` or `cuda`.
        log: Called after each step with its number, that of all steps, and the loss.
    """
    torch.manual_seed(how.seed)
    net = ClustBlock(len(textures.classes)).to(device)
    steps = how.epochs * math.ceil(len(textures.images) / how.batch)
    optimizer = torch.optim.Adam(net.parameters(), lr=how.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(how.seed)
    for step in range(1, steps + 1):
        x, label = textures.batch(how.batch, _side(how, generator), generator)
        loss = F.cross_entropy(net(x.to(device)), label.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if log:
            log(step, steps, float(loss.detach()))
    net = net.cpu().eval().requires_grad_(False)
    crops = [textures.batch(how.batch, _side(how, generator), generator)[0] for _ in range(16)]
    give_grids(net, crops)
    return net


@torch.no_grad()
def give_grids(net: ClustBlock, crops: list[Tensor]) -> None:
    """Round every layer to 8 bits: weights between their extremes, activations between those seen on `crops`."""
    net.grids.fill_(torch.nan)
    seen = torch.tensor([[torch.inf, -torch.inf]]).repeat(len(LAYERS), 1)
    watched = [(seen[k], net.get_submodule(name)) for k, name in enumerate(LAYERS)]

    def look(bounds: Tensor, x: Tensor) -> None:
        bounds[0], bounds[1] = torch.minimum(bounds[0], x.min()), torch.maximum(bounds[1], x.max())

    handles = [
        part.register_forward_pre_hook(lambda part, args, bounds=bounds: look(bounds, args[0]))
        for bounds, part in watched
    ]
    for crop in crops:
        net(crop)
    for handle in handles:
        handle.remove()
    for k, (bounds, part) in enumerate(watched):
        weight = part.weight
        assert isinstance(weight, Tensor)
        net.grids[k] = torch.stack([(weight.max() - weight.min()) / STEPS, *bounds])


@torch.no_grad()
def right(net: ClustBlock, textures: Textures, side: int = 96) -> float:
    """The share of right answers, mean over classes: of each image the middle square, shrunk to `side`.

    Of the Describable Textures Dataset, whose classes are of one size, that is the share of all images.
    """
    hits: dict[int, list[bool]] = {}
    for image, label in zip(textures.images, textures.labels, strict=True):
        size = min(image.shape[1:])
        top, left = ((whole - size) // 2 for whole in image.shape[1:])
        square = image[:, top : top + size, left : left + size].float()[None] / 255
        square = F.interpolate(square, (side, side), mode="bilinear", antialias=True)
        hits.setdefault(label, []).append(int(net(square).argmax(1)) == label)
    return sum(sum(own) / len(own) for own in hits.values()) / max(len(hits), 1)


def write(net: ClustBlock, classes: tuple[str, ...], card: Mapping[str, Any], path: Path, *, overwrite: bool) -> None:
    """The file that `Classifier.read` reads."""
    arrays: dict[str, NDArray[Any]] = {"card": np.array(json.dumps({**card, "classes": classes}))}
    for name, grids in zip(LAYERS, net.grids, strict=True):
        part = net.get_submodule(name)
        assert isinstance(part, nn.Conv2d)
        assert part.bias is not None
        arrays[f"{name}.weight"] = torch.round(part.weight / grids[0]).to(torch.int16).numpy()
        arrays[f"{name}.bias"] = part.bias.numpy()
        arrays[f"{name}.grids"] = grids.numpy()
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    with open_atomic(path, overwrite=overwrite) as file:
        file.write(buffer.getvalue())


def card_of(how: Pretraining, train: Textures, test: Textures, top1: float, **more: Any) -> dict[str, Any]:
    """What is known of a classifier that was trained so."""
    sizes = {"train": len(train.images), "test": len(test.images), "top1": round(top1, 4)}
    return {**more, **sizes, "pretraining": asdict(how)}


def _side(how: Pretraining, generator: torch.Generator) -> int:
    factor = 1 + (how.shrink - 1) * float(torch.rand((), generator=generator))
    return max(SMALLEST, round(how.side / factor))
