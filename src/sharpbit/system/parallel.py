"""Training by several processes at once, started by `torchrun`: each takes its part of every batch.

All processes hold the whole network and draw the same crops; each computes its own part of them, gradients are
averaged, and so weights stay the same everywhere. The networks of this field are small: one message with all gradients
costs little, and nothing needs to be wrapped. With one process all functions here do nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from sharpbit.errors import UsageError

PATIENCE = timedelta(hours=12)  # for the first process while it reads a large set of images


@contextmanager
def joined(device: str = "cpu") -> Iterator[str]:
    """Within, this process is one of those that `torchrun` has started; gives the device that it works on.

    Args:
        device: `cpu`, or `cuda`: then each process of a machine takes another one.

    Raises:
        UsageError: one CUDA device was named for several processes, or there are fewer than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield device
        return
    cuda = device.startswith("cuda")
    if cuda:
        number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if device != "cuda" or number >= there:
            raise UsageError(
                f"several processes take a CUDA device each, and this machine has {there}; give --device cuda, and"
                " --nproc-per-node as many as there are"
            )
        device = f"cuda:{number}"
        torch.cuda.set_device(number)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 writes files and talks to people."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def first() -> bool:
    """Whether this process writes files and talks to people."""
    return rank() == 0


@contextmanager
def first_alone() -> Iterator[None]:
    """Within, the first process is alone; the others go in when it has left."""
    if not first():
        distributed.barrier()
    try:
        yield
    finally:  # after an error too, or the others would wait for ever
        if first() and count() > 1:
            distributed.barrier()


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over all processes, which all have the same tensors."""
    parts = list(tensors)
    if count() == 1 or not parts:
        return
    message = torch.cat([part.reshape(-1) for part in parts])
    distributed.all_reduce(message)
    message /= count()
    for part, mean in zip(parts, torch.split(message, [part.numel() for part in parts]), strict=True):
        part.copy_(mean.view_as(part))


def average_gradients(net: nn.Module) -> None:
    """Replace gradients by their mean over all processes: those of the whole batch."""
    average(own.grad for own in net.parameters() if own.grad is not None)


def share_statistics(net: nn.Module) -> None:
    """Let batch normalization see the whole batch, not only this process's part; in place, for training only."""
    if count() == 1:
        return
    for part in net.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = _WholeBatchNorm


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clone()
        distributed.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        distributed.all_reduce(grad)
        return grad


class _WholeBatchNorm(nn.BatchNorm2d):
    """`torch.nn.SyncBatchNorm`, which exists for GPUs alone, on any device."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        number = x.numel() // x.shape[1] * count()
        mean = _total(x.mean((0, 2, 3))) / count()
        apart = x - mean.view(1, -1, 1, 1)
        variance = _total(apart.square().mean((0, 2, 3))) / count()
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * (number / max(number - 1, 1)), share)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        y = apart * scale.view(1, -1, 1, 1)
        return y + self.bias.view(1, -1, 1, 1) if self.affine else y


def _total(x: Tensor) -> Tensor:
    y: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return y
