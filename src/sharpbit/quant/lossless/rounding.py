"""Weights rounded to integers, each error made up by the weights that follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sharpbit.modelfile.integer_chain import MAX_BIAS, IntegerChain
from sharpbit.modelfile.integer_chain import Layer as IntegerLayer
from sharpbit.nn import byte_layer
from sharpbit.quant.lossless.constant import TAPS, Sums, balanced
from sharpbit.quant.lossless.least_squares import RIDGE, nearest, places_of, windows
from sharpbit.quant.lossless.stage import TOP, LosslessSettings, Stage, copying, in_bytes
from sharpbit.system.progress import Phases

LIMIT = 127  # of a weight
BLOCK = 64  # columns of weights that are rounded before what follows is changed


def rounded(stages: list[Stage], x: Tensor, scale: int, settings: LosslessSettings, progress: Phases) -> IntegerChain:
    """The layers with integer weights, each fitted once more to what comes before weights are rounded."""
    generator = torch.Generator().manual_seed(settings.seed)
    done: list[IntegerLayer] = []
    exact = real = x
    before: tuple[int, ...] = ()
    still = torch.zeros(0)  # the features of a constant image, those that hold it aside
    for number, stage in enumerate(stages):
        places = places_of(x, settings.samples, generator)
        inputs = windows(real, places)
        moments = inputs.T @ inputs / len(inputs)
        kernel = stage.kernel
        if settings.fit:
            solve = stage.sums.nearest if stage.sums else nearest
            kernel = solve(kernel, moments, inputs.T @ (windows(exact, places) @ kernel.T) / len(inputs))
        step = steps_of(kernel)
        if stage.sums:
            step = stage.sums.steps(step)
        whole = compensated(kernel, step, moments, stage.sums) if settings.compensate else _to_nearest(kernel, step)
        done.append(_layer(whole, step, stage.carried, before))
        if stage.sums and settings.compensate:
            if number == len(stages) - 1:
                done[-1] = _settled(done[-1], still)
            still = _still(done[-1], still)
        exact, real, before = in_bytes(stage, exact), run_layer(real, done[-1]), stage.carried
        progress("rounding", number + 1, len(stages))
    return IntegerChain(tuple(done), scale)


def steps_of(kernel: Tensor) -> Tensor:
    """The step of each row's weights, such that none is above `LIMIT` and the bias fits."""
    largest = kernel[:, :-1].abs().amax(1) / LIMIT
    return torch.maximum(largest, kernel[:, -1].abs() * TOP / (MAX_BIAS >> 4)).clamp(min=1e-6)


def compensated(
    kernel: Tensor, step: Tensor, moments: Tensor, sums: Sums | None = None, limits: Tensor | None = None
) -> Tensor:
    """Whole weights, and a bias that is not; each rounding is made up by those after it (Frantar et al., section 3).

    Weights that read the image, where they must have sums, are rounded first. `limits` are those of each weight where
    not all have `LIMIT`.
    """
    first = sums.columns if sums else []
    order = torch.tensor([*first, *(column for column in range(kernel.shape[1]) if column not in set(first))])
    moments, kernel = moments[order][:, order], kernel[:, order]
    damped = moments + torch.diag(torch.full_like(moments.diagonal(), RIDGE * float(moments.diagonal().mean())))
    upper = _inverse_root(damped)
    most = torch.full_like(kernel, LIMIT) if limits is None else limits[:, order]
    left = (kernel / step[:, None]).clone()
    if not sums:
        return _in_blocks(left, upper, most)[:, order.argsort()]
    whole = torch.zeros_like(kernel)
    last = left.shape[1] - 1
    for column in range(last):
        whole[:, column] = left[:, column].round().clamp_(-most[:, column], most[:, column])
        error = (left[:, column] - whole[:, column]) / upper[column, column]
        left[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :]
        if column < len(first) and column % TAPS == TAPS - 1:
            part = slice(column + 1 - TAPS, column + 1)
            moved = balanced(whole[:, part], left[:, part], sums.whole(step)[:, column // TAPS], LIMIT)
            error = (whole[:, part] - moved) / upper.diagonal()[part]
            left[:, column + 1 :] -= error @ upper[part, column + 1 :]
            whole[:, part] = moved
    whole[:, last] = left[:, last]
    return whole[:, order.argsort()]


def _inverse_root(moments: Tensor) -> Tensor:
    """The upper triangular matrix whose transpose times itself is the inverse of the moments."""
    lower = torch.linalg.cholesky(moments.flip(0, 1))
    eye = torch.eye(len(lower), dtype=lower.dtype)
    root: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False)
    return root.flip(0, 1)


def _in_blocks(left: Tensor, upper: Tensor, most: Tensor) -> Tensor:
    """Weights rounded from the first to the last but one; what follows a block of columns is changed at its end."""
    whole, last = torch.zeros_like(left), left.shape[1] - 1
    for begin in range(0, last, BLOCK):
        end = min(begin + BLOCK, last)
        own, errors = left[:, begin:end].clone(), torch.zeros(len(left), end - begin, dtype=left.dtype)
        root = upper[begin:end, begin:end]
        for column in range(end - begin):
            level = own[:, column].round()
            limit = most[:, begin + column]
            whole[:, begin + column] = torch.maximum(torch.minimum(level, limit), -limit)
            errors[:, column] = (own[:, column] - whole[:, begin + column]) / root[column, column]
            own[:, column + 1 :] -= errors[:, column, None] * root[column, column + 1 :]
        left[:, end:] -= errors @ upper[begin:end, end:]
    whole[:, last] = left[:, last]
    return whole


def _still(layer: IntegerLayer, before: Tensor) -> Tensor:
    """The bytes that a layer makes of a constant image, black where the image is carried, from those before it."""
    inputs = torch.zeros(layer.inputs) if not len(before) else before
    image = inputs.to(torch.float32)[None, :, None, None].expand(-1, -1, 3, 3)
    return run_layer(image, layer)[0, :, 1, 1]


def _settled(layer: IntegerLayer, before: Tensor) -> IntegerLayer:
    """The last layer with the bias that cancels what the features of a constant image add."""
    inputs = before.numpy() if len(before) else np.zeros(layer.inputs)  # the image, black, where there is one layer
    added = layer.weight.astype(np.int64).sum((2, 3)) @ inputs.astype(np.int64)
    return replace(layer, bias=(-added).astype(np.int32))


def _to_nearest(kernel: Tensor, step: Tensor) -> Tensor:
    whole = kernel / step[:, None]
    whole[:, :-1] = whole[:, :-1].round().clamp_(-LIMIT, LIMIT)
    return whole


def _layer(whole: Tensor, step: Tensor, carried: tuple[int, ...], before: tuple[int, ...]) -> IntegerLayer:
    rows = list(carried)
    whole, step = copying(whole, carried, before), step.clone()
    step[rows] = 1
    bias = (whole[:, -1] * TOP).round().clamp_(-MAX_BIAS, MAX_BIAS)
    return IntegerLayer(
        whole[:, :-1].reshape(len(whole), -1, 3, 3).to(torch.int8).numpy(),
        bias.to(torch.int32).numpy(),
        step.float().numpy(),
    )


def run_layer(x: Tensor, layer: IntegerLayer) -> Tensor:
    """What an integer layer makes of `(N, C, h, w)` bytes in float32."""
    return byte_layer(x, *(torch.from_numpy(part.copy()) for part in (layer.weight, layer.bias, layer.multiplier)))
