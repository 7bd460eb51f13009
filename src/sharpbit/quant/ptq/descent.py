"""One step of an optimizer, as all parts that learn after training take it."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.optim import Optimizer

from sharpbit.errors import ModelError


def descend(
    loss: Tensor, optimizer: Optimizer, where: str, rate: float, *, scale: Callable[[], None] | None = None
) -> float:
    """Go one step down from `loss`.

    Args:
        loss: What is to become less, a single number.
        optimizer: The optimizer, whose gradients are those of this step alone.
        where: Where the step is taken, for the error, such as `at step 3 of refining`.
        rate: The learning rate that is to be lowered, for the error.
        scale: Called between gradients and step; None (default) leaves gradients as they are.

    Returns:
        The loss.

    Raises:
        ModelError: It is not finite.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if scale is not None:
        scale()
    optimizer.step()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ModelError(f"the loss is {value} {where}; lower the rate {rate:g}")
    return value
