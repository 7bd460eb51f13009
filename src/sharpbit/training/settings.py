"""How a network is trained, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
        steps: optimiser steps in all.
        batch: crops a step.
        patch: side of a crop in small pixels.
        rate: highest learning rate; about 1e-3 for Adam, 4e-3 for SOAP.
        last_rate: learning rate at the end of the cosine schedule; one that equals `rate` makes it constant.
        warmup: steps of linear rise at the start.
        betas: Adam's decay rates; SOAP has its own.
        halve: numbers of steps after which the rate is halved once more.
        clip: longest gradient of all weights together; 0 leaves it as it is.
        loss: `l1` or `l2`, mean over all values.
        finish: share of the steps, at the end, whose loss is `l2`.
        luma: share of the loss that is that of luma alone; 0, the default, treats the colour channels alike.
        edge_weight: weight of `edge_loss`, which is added (1 in the second training of CRAFT at x4).
        low_weight: weight of the same loss on the residual stream alone (0.5 in the paper of ETDS; 0 leaves it out).
        frozen_steps: steps in which everything called "residual" stays as it is (99,999 in the code of ETDS, which
            counts from 1 and releases it just before step 100,000).
        white: what the loss of the image takes white for; the papers on quantization-aware training have 255, and
            the weights of the other terms are meant for that.
        distill: weight of `attention_transfer` from the teacher, of the feature before the image is upscaled.
        distill_blocks: the same of the result of every block.
        own_loss: weight of what a quantization method itself adds to the loss (CADyQ for bits, DDTB for gates), as a
            multiple of the published one.
        range_rate: highest learning rate of the numbers of ranges; 0 is that of the weights.
        selector_rate: learning rate of what chooses bits; 0 takes that of the weights.
        epoch: steps after which a quantization method's next epoch begins.
        first_epoch: number of the epoch that it begins with; more than 1 for a network that begins with trained ranges,
            which the first epochs of most methods would forget.
        colours: whether the colour channels of crops are shuffled.
        ema: decay of the moving average of the weights, which is the result.
        precision: `bf16` (autocast) or `float32`.
        seed: decides the crops, step by step, so that a resumed run sees what an uninterrupted one would.
        optimizer: `adam`, or `soap`, of which 1000 steps do for a small network what many thousands of Adam do.
    """

    steps: int
    batch: int = 32
    patch: int = 64
    rate: float = 1e-3
    last_rate: float = 1e-6
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    halve: tuple[int, ...] = ()
    clip: float = 0.0
    loss: str = "l1"
    finish: float = 0.0
    luma: float = 0.0
    edge_weight: float = 0.0
    low_weight: float = 0.0
    frozen_steps: int = 0
    white: float = 1.0
    distill: float = 0.0
    distill_blocks: float = 0.0
    own_loss: float = 1.0
    range_rate: float = 0.0
    selector_rate: float = 0.0
    epoch: int = 1000
    first_epoch: int = 1
    colours: bool = True
    ema: float = 0.999
    precision: str = "bf16"
    seed: int = 10
    optimizer: str = "adam"

    def rate_at(self, step: int) -> float:
        """Learning rate of the step numbered from 0."""
        return self._cosine(step) * 0.5 ** sum(step >= milestone for milestone in self.halve)

    def loss_at(self, step: int) -> str:
        """Name of the loss of the step numbered from 0."""
        return "l2" if step >= self.steps * (1 - self.finish) else self.loss

    def _cosine(self, step: int) -> float:
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.last_rate + (self.rate - self.last_rate) * 0.5 * (1 + math.cos(math.pi * progress))
