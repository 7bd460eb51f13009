"""Float networks, one file each: RGB in `[0, 1]`, `(N, 3, H, W)` in, `(N, 3, H * scale, W * scale)` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from sharpbit.nn import Rounding, State
from sharpbit.system.catalog import Catalog


class Config(Protocol):
    """What a network's frozen config dataclass has in any case."""

    scale: int


@dataclass(frozen=True)
class Architecture:
    """A network family: how to build it, and how to recognise it from weights alone.

    Attributes:
        name: as in the catalog and in the headers of model files.
        config: the frozen dataclass of hyper-parameters; it has a `scale`.
        build: config to network with fresh weights.
        infer: state dict, with our keys or published ones, to config; None if these are not weights of this family.
        rename: published state dict to ours; the identity where the keys are ours already.
        sites: globs of the modules that quantizing "the body" of this network means.
        rounding: what quantizing all of it after training rounds, and how.
    """

    name: str
    config: type[Any]
    build: Callable[[Any], nn.Module]
    infer: Callable[[State], Any | None]
    rename: Callable[[State], State] = lambda state: state
    sites: tuple[str, ...] = ()
    rounding: Rounding = field(default_factory=Rounding)


ARCHITECTURES: Mapping[str, Architecture] = Catalog("sharpbit.arch", "ARCH")
