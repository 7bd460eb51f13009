"""All layers trained together, nearer to the result of the float network."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.quant.lossless.least_squares import regularized
from sharpbit.quant.lossless.stage import TOP, LosslessSettings, Stage
from sharpbit.system.progress import Phases

WHITE = 3e-3  # as `RIDGE` where inputs are made white: directions with less than this are followed less


def tuned(
    stages: list[Stage], layers: list[tuple[Tensor, Tensor]], x: Tensor, settings: LosslessSettings, progress: Phases
) -> list[Stage]:
    """All layers together, nearer to the result of the float network."""
    generator = torch.Generator().manual_seed(settings.seed)
    white = [_whitening(stage.moments) for stage in stages]
    white = [
        basis @ stage.sums.projection(basis) if stage.sums else basis
        for basis, stage in zip(white, stages, strict=True)
    ]
    kernels = [stage.kernel.float() for stage in stages]
    moves = [torch.zeros_like(kernel, requires_grad=True) for kernel in kernels]
    free = [torch.ones(len(kernel), 1) for kernel in kernels]
    for mask, stage in zip(free, stages, strict=True):
        mask[list(stage.carried)] = 0
    adam = torch.optim.Adam(moves, settings.rate, betas=(0.9, 0.99))
    for step in range(settings.steps):
        warm = min(1.0, (step + 1) / 10)
        adam.param_groups[0]["lr"] = settings.rate * warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        batch = x[torch.randint(len(x), (settings.batch,), generator=generator)]
        target = _float(layers, batch).clamp_(-2, TOP + 2)  # beyond white and black nothing is to be seen
        with torch.enable_grad():
            y = batch
            for number, (kernel, move, basis, mask) in enumerate(zip(kernels, moves, white, free, strict=True)):
                moved = kernel + mask * (move @ basis)
                y = F.conv2d(y, moved[:, :-1].reshape(len(moved), -1, 3, 3), moved[:, -1] * TOP, padding=1)
                if number < len(kernels) - 1:
                    y = y.clamp(0, TOP)
                    y = y + (y.round() - y).detach()
            loss = (y.clamp(-2, TOP + 2) - target).square().mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        progress("tuning", step + 1, settings.steps)
    parts = zip(stages, kernels, moves, white, free, strict=True)
    return [replace(s, kernel=(k + mask * (move.detach() @ basis)).double()) for s, k, move, basis, mask in parts]


def _whitening(moments: Tensor) -> Tensor:
    """The matrix that makes inputs with these moments white: a step along each of its rows changes outputs alike."""
    damped = regularized(moments, WHITE)
    one = torch.eye(len(moments), dtype=moments.dtype)
    basis: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(damped), one, upper=False)
    return basis.float()


def _float(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """What the float network gives, in bytes, before the pixel shuffle, not clipped."""
    y = x / TOP
    for number, (weight, bias) in enumerate(layers):
        y = F.conv2d(y, weight.float(), bias.float(), padding=1)
        if number < len(layers) - 1:
            y = F.relu_(y)
    return y * TOP
