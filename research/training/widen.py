"""An SRResNet that computes what a Carry computes, so that its training need not begin anew.

    python research/training/widen.py weights/x2-clean.safetensors WORK/runs/srresnet-start.safetensors --photos PHOTOS

A block stands for a layer. Half of its hidden channels hold what the layer makes, the other half what it takes, and the
second convolution puts the former in the place of the latter; features are never negative, so PReLU with a slope of 0
changes neither. The image is carried beside them. All other channels begin small and at random, and what they are read
with is 0. Normalizations begin with the statistics of the photos and undo them. Networks that grow without changing
what they compute: "Net2Net", Chen, Goodfellow, Shlens, ICLR 2016.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.carry import COLOURS, Carry
from sharpbit.arch.srresnet import SRResNet
from sharpbit.errors import UsageError
from sharpbit.image import read
from sharpbit.image.folder import in_folder, spread_over
from sharpbit.model import Model, load, save
from sharpbit.modelfile.history import Start

WIDTH, BLOCKS = 64, 8
SMALL = 0.02  # standard deviation of what begins at random
WHITE = 255.0  # an SRResNet computes in grey levels
SIDE, PHOTOS = 96, 16  # crops that normalizations are measured on


@torch.no_grad()
def widened(old: Carry, photos: Tensor, blocks: int = BLOCKS, width: int = WIDTH) -> SRResNet:
    """The SRResNet.

    Args:
        old: has at most `blocks - 1` layers between the first and the last.
        photos: `(N, 3, h, w)` in `[0, 1]`.
        blocks: of the result.
        width: channels of the result.

    Raises:
        UsageError: if it has no room for `old`.
    """
    wide, layers = len(old.first.weight), [old.first, *old.hidden()]
    image, one = slice(wide, wide + COLOURS), width - 1  # channels of the image, and of a constant
    if len(layers) > blocks or 2 * wide > width or wide + COLOURS > one:
        what = f"{blocks} blocks of {width} channels"
        raise UsageError(f"{what} have no room for {len(layers)} layers of {wide} channels")
    arch = ARCHITECTURES["srresnet"]
    net = arch.build(arch.config(scale=old.config.scale, blocks=blocks, width=width))
    assert isinstance(net, SRResNet)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_(std=SMALL)
        elif isinstance(module, nn.PReLU):
            module.weight.zero_()
    biases: dict[nn.Module, Tensor] = {}
    net.head.weight[: wide + COLOURS] = net.head.weight[one] = 0
    net.head.weight[image, :, 4, 4] = torch.eye(COLOURS)
    for number, block in enumerate(net.blocks):
        first, second = block.conv1.weight, block.conv2.weight
        first[: 2 * wide] = second[: wide + COLOURS] = 0
        biases[block.bn1], biases[block.bn2] = torch.zeros(width), torch.zeros(width)
        if number < len(layers):
            layer = layers[number]
            assert layer.bias is not None
            read_image = number > 0
            first[:wide, image] = layer.weight[:, -COLOURS:]
            if read_image:
                first[:wide, :wide] = layer.weight[:, :wide]
            first[wide : 2 * wide, :wide, 1, 1] = torch.eye(wide)
            second[:wide, : 2 * wide, 1, 1] = torch.cat([torch.eye(wide), -torch.eye(wide)], 1)
            biases[block.bn1][:wide] = WHITE * layer.bias
    net.fuse.weight[: wide + COLOURS] = net.fuse.weight[one] = 0
    net.fuse.weight[:wide, :wide, 1, 1] = torch.eye(wide)
    biases[net.fuse_bn] = torch.zeros(width)
    biases[net.fuse_bn][one] = WHITE
    last, rows = net.upsample[0].weight, len(old.last.weight)
    last[:rows] = 0
    last[:rows, :wide], last[:rows, image] = old.last.weight, old.interpolation.weight
    assert old.last.bias is not None
    last[:rows, one, 1, 1] = old.last.bias
    net.tail.weight.zero_()
    net.tail.weight[:, :COLOURS, 4, 4] = torch.eye(COLOURS)
    _measure(net, biases, photos)
    return net


def _measure(net: SRResNet, biases: dict[nn.Module, Tensor], photos: Tensor) -> None:
    """Give each normalization the statistics of its input, and the factors that undo them and add its bias."""

    def undo(module: nn.Module, given: tuple[Tensor]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        variance, mean = torch.var_mean(given[0], (0, 2, 3))
        module.running_mean, module.running_var = mean, variance
        module.weight.copy_((variance + module.eps).sqrt())
        module.bias.copy_(mean + biases[module])

    hooks = [module.register_forward_pre_hook(undo) for module in biases]  # type: ignore[arg-type]
    net.eval()(photos)
    for hook in hooks:
        hook.remove()


def crops(folder: Path) -> Tensor:
    """The middles of some photos, a quarter as large, `(N, 3, h, w)` in `[0, 1]`."""
    found = []
    for path in spread_over(in_folder(folder), PHOTOS):
        pixels = torch.tensor(read(path).rgb8()).permute(2, 0, 1)[None] / WHITE
        small = nn.functional.avg_pool2d(pixels, 4)
        y, x = ((side - SIDE) // 2 for side in small.shape[2:])
        found.append(small[:, :, y : y + SIDE, x : x + SIDE])
    return torch.cat(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="of a Carry")
    parser.add_argument("out", type=Path, help="file of weights to write")
    parser.add_argument("--photos", required=True, type=Path, help="folder of photos")
    given = parser.parse_args()
    torch.manual_seed(1)
    model = load(given.weights)
    if not isinstance(model.net, Carry):
        raise SystemExit(f"{given.weights} is of the architecture {model.arch.name}; give weights of a carry")
    net = widened(model.net, crops(given.photos))
    count = len(net.state_dict())
    made = Model(ARCHITECTURES["srresnet"], net.config, net, (Start(given.weights.stem, count, count),), model.about)
    save(made, given.out)


if __name__ == "__main__":
    main()
