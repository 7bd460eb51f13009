"""SOAP: Adam in the coordinates in which the gradients of a kernel are least correlated.

A step of a small network costs so much more than its few weights do that what the optimizer learns of the curvature is
nearly free.

Source: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, 2024, algorithm 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

LONGEST = 2048  # rows or columns of a kernel whose correlations are kept


class Soap(torch.optim.Optimizer):
    """Kernels `(out, in, h, w)` are matrices of `out` rows; biases, and what is longer than 2048, have Adam alone.

    Args:
        parameters: tensors, or groups of them, as for all optimizers of PyTorch.
        lr: rate of learning.
        betas: decay of the mean gradient, and of squares and correlations.
        every: steps after which the coordinates are turned again.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.98),
        every: int = 10,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "every": every})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the parameters by their gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    grad = parameter.grad.float()
                    flat = grad.flatten(1) if grad.dim() > 1 else grad
                    change = _change(flat, self.state[parameter], group)
                    parameter.sub_(change.reshape(grad.shape), alpha=group["lr"])


def _change(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """What is taken from a parameter at rate 1; `state` goes on by a step."""
    first, second = group["betas"]
    whole = grad.dim() > 1 and max(grad.shape) <= LONGEST
    if not state:
        state.update(step=0, mean=torch.zeros_like(grad), square=torch.zeros_like(grad))
        if whole:
            state["rows"], state["columns"] = grad @ grad.T, grad.T @ grad
            state["left"], state["right"] = (torch.linalg.eigh(state[name])[1].flip(1) for name in ("rows", "columns"))
    state["step"] += 1
    state["mean"].lerp_(grad, 1 - first)
    turned, mean = grad, state["mean"]
    if whole:
        turned, mean = (state["left"].T @ matrix @ state["right"] for matrix in (grad, mean))
    state["square"].lerp_(turned.square(), 1 - second)
    size = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(1e-8)
    made: Tensor = mean / (1 - first ** state["step"]) / size
    if not whole:
        return made
    change: Tensor = state["left"] @ made @ state["right"].T
    state["rows"].lerp_(grad @ grad.T, 1 - second)
    state["columns"].lerp_(grad.T @ grad, 1 - second)
    if state["step"] % group["every"] == 0:
        for axis, (seen, basis) in enumerate((("rows", "left"), ("columns", "right"))):
            length = (state[basis] * (state[seen] @ state[basis])).sum(0)
            order = length.argsort(descending=True)
            state["square"] = state["square"].index_select(axis, order)
            state[basis] = torch.linalg.qr(state[seen] @ state[basis][:, order])[0]
    return change
