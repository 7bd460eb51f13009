"""What a quantized network is taught by another one: distances of features, and how to read those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.nn import Site


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """How far apart two networks lie in where they are active: AT, the structured knowledge transfer of PAMS.

    The mean over channels of the squares, a vector for each image, divided by its length; of two, the mean squared
    difference.

    Args:
        student: features `(N, C, H, W)`.
        teacher: features `(N, D, H, W)`.

    Source: PAMS, section 3.3; `utility.py` of colorjam/PAMS.
    """
    return (_activity(student) - _activity(teacher)).square().mean()


def _activity(x: Tensor) -> Tensor:
    return F.normalize(x.square().mean(1).flatten(1))


@contextmanager
def reading(net: nn.Module, globs: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Within, what the sites that `globs` name were given in the last forward, before it is rounded; by name.

    Raises:
        UsageError: a glob names no site.
    """
    names = [name for name, part in net.named_modules() if isinstance(part, Site)]
    chosen: dict[str, None] = {}
    for glob in globs:
        found = [name for name in names if fnmatchcase(name, glob)]
        if not found:
            raise UsageError(f"{glob!r} names no site of {type(net).__name__}; it has {', '.join(names) or 'none'}")
        chosen |= dict.fromkeys(found)
    seen: dict[str, Tensor] = {}

    def note(name: str, args: tuple[Tensor, ...]) -> None:
        seen[name] = args[0]

    handles = [
        net.get_submodule(name).register_forward_pre_hook(lambda part, args, name=name: note(name, args))
        for name in chosen
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def transfer(
    student: dict[str, Tensor], teacher: dict[str, Tensor], last: float, each: float = 0.0, end: str = "feature"
) -> Tensor:
    """The sum of the distances of features of the same name.

    Args:
        student: features of the network that learns.
        teacher: features of the other one.
        last: weight of the feature called `end`, before the image is upscaled.
        each: weight of every other one.
        end: name of that feature.
    """
    weights = {name: last if name == end else each for name in student}
    terms = [weight * attention_transfer(student[name], teacher[name]) for name, weight in weights.items() if weight]
    return torch.stack(terms).sum()
