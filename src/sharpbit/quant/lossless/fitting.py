"""The float layers in bytes: a scale for each channel, the image carried, and each layer fitted to the float one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import QuantizeError
from sharpbit.quant.lossless.constant import sums_of
from sharpbit.quant.lossless.least_squares import nearest, places_of, windows
from sharpbit.quant.lossless.stage import TOP, LosslessSettings, Stage, copying, in_bytes
from sharpbit.system.progress import Phases


def ranges(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> list[Tensor]:
    """The largest value of every channel after each hidden layer of the float network."""
    tops = [torch.zeros(len(bias), dtype=torch.float64) for _, bias in layers[:-1]]
    for part in torch.split(x, 8):
        y = part / TOP
        for top, (weight, bias) in zip(tops, layers, strict=False):
            y = F.relu(F.conv2d(y, weight.float(), bias.float(), padding=1))
            torch.maximum(top, y.amax((0, 2, 3)).double(), out=top)
    for top in tops:
        if not bool(torch.isfinite(top).all()):
            raise QuantizeError("the network gives values beyond all bounds for the calibration images")
        top.clamp_(min=max(float(top.max()) * 1e-3, 1e-6))  # a channel that never fires still needs a scale
    return tops


def _carriers(layers: list[tuple[Tensor, Tensor]]) -> list[tuple[int, ...]]:
    """The three channels of every hidden layer that hold the image, if the network has such: they read no others."""
    reads = [(weight != 0).any(3).any(2) for weight, _ in layers[:-1]]
    none: list[tuple[int, ...]] = [()] * len(reads)
    found: list[tuple[int, ...]] = []
    for read in reads[1:]:
        few = read.sum(1)
        rows = ((few > 0) & (few <= 3)).nonzero().flatten()
        sources = tuple(read[rows].any(0).nonzero().flatten().tolist())
        found = found or [sources]
        if len(rows) != 3 or len(sources) != 3 or found[-1] != sources:
            return none
        found.append(tuple(rows.tolist()))
    return found or none


def fitted(
    layers: list[tuple[Tensor, Tensor]], x: Tensor, tops: list[Tensor], settings: LosslessSettings, progress: Phases
) -> list[Stage]:
    """The layers in bytes, each fitted to the float layer from the rounded values that it gets."""
    generator = torch.Generator().manual_seed(settings.seed)
    carriers = [*(_carriers(layers) if settings.carry else [()] * len(tops)), ()]
    sums = sums_of(layers, carriers, round((len(layers[-1][1]) / 3) ** 0.5))
    steps = [torch.full((3,), 1 / TOP, dtype=torch.float64), *(top / TOP for top in tops)]
    steps.append(torch.full((len(layers[-1][1]),), 1 / TOP, dtype=torch.float64))
    stages: list[Stage] = []
    real, rounded, before = x / TOP, x, ()
    for number, (weight, bias) in enumerate(layers):
        into, out, carried = steps[number], steps[number + 1], carriers[number]
        if (
            before and not sums
        ):  # these inputs are the image now: what the float network has there, seen as a mixture of it
            weight = weight.clone()
            weight[:, before] = torch.einsum("ocyx,cd->odyx", weight[:, before], _mixture(real[:, before], x / TOP))
        out[list(carried)] = 1 / TOP
        real = F.conv2d(real, layers[number][0].float(), bias.float(), padding=1)
        places = places_of(x, settings.samples, generator)
        inputs = windows(rounded, places)
        target = real[places[0], :, places[1], places[2]].double() / out
        kernel = torch.cat([(weight * into[:, None, None]).flatten(1), bias[:, None] / TOP], 1) / out[:, None]
        moments = inputs.T @ inputs / len(inputs)
        if settings.fit:
            solve = sums[number].nearest if sums else nearest
            kernel = solve(kernel, moments, inputs.T @ target / len(inputs))
        stages.append(Stage(copying(kernel, carried, before), carried, moments, sums[number] if sums else None))
        real, rounded, before = F.relu(real), in_bytes(stages[-1], rounded), carried or ()
        progress("fitting", number + 1, len(layers))
    return stages


def _mixture(real: Tensor, image: Tensor) -> Tensor:
    """The 3x3 matrix by which three channels follow the colours of the image best, a constant aside: `(3, 3)`."""
    y, x = (part.transpose(0, 1).flatten(1).double() for part in (real, image))
    x = torch.cat([x, torch.ones(1, x.shape[1], dtype=x.dtype)])
    return nearest(torch.zeros(3, 4, dtype=x.dtype), x @ x.T / x.shape[1], x @ y.T / x.shape[1])[:, :3]
