"""The bias that attention adds for the offset between two tokens of a window, made by a small MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Position(nn.Module):
    """Two linear steps with LayerNorm and ReLU from an offset to a bias for each head ("dynamic position bias").

    With a hidden width of 1, as in every published CRAFT, LayerNorm makes a constant of everything: the bias is
    the same for all offsets, and softmax does not see it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.pos_proj = nn.Linear(2, width)
        self.pos1, self.pos2, self.pos3 = (
            nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))
            for outputs in (width, width, heads)
        )

    @property
    def constant(self) -> bool:
        """Whether all offsets have the same bias."""
        return self.pos_proj.out_features == 1

    def forward(self, offsets: Tensor) -> Tensor:
        """Offsets `(K, 2)` to biases `(K, heads)`."""
        bias: Tensor = self.pos3(self.pos2(self.pos1(self.pos_proj(offsets))))
        return bias


def offsets(height: int, width: int) -> tuple[Tensor, Tensor]:
    """All offsets between two tokens of a window `(K, 2)`, and which of them each pair has `(T, T)`."""
    rows, columns = torch.arange(1 - height, height), torch.arange(1 - width, width)
    table = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    place = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).flatten(1)
    down, right = place[:, :, None] - place[:, None, :]
    return table.float(), (down + height - 1) * (2 * width - 1) + right + width - 1
