"""What a module says that has a plain equivalent."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn


class Reparameterizable(ABC):
    """A module that equals a plainer one exactly, borders included."""

    @abstractmethod
    def reparameterize(self) -> nn.Module:
        """The plain module, with weights of its own."""
