"""Files of PyTorch that hold whole networks, as their authors' programs pickled them: tensors, without the programs.

Such a file names classes that are to be built. Here every class that PyTorch itself does not count as safe is replaced
by one that does nothing but keep what it is given, so nothing of the file is run; the tensors that a network would
hold are then found where PyTorch keeps them. Reading is that of `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sharpbit.nn import State

DEEPEST = 64  # networks inside networks


class Inert:
    """Stands for an object of a class that is not loaded: keeps its attributes, and does nothing."""

    def __new__(cls, *given: Any, **more: Any) -> Inert:
        """An object, whatever it would have been made of."""
        return super().__new__(cls)

    def __init__(self, *given: Any, **more: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update({key: value for key, value in state.items() if isinstance(key, str)})


def pickled_state(path: Path) -> State | None:
    """The tensors of a file that holds a whole network; None if it holds none, or what no stand-in can take.

    Args:
        path: a file that `torch.load(weights_only=True)` refuses.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            stand_ins = [(type("Inert", (Inert,), {}), name) for name in names]
            with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
                found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # bytes of others run into whatever they happen to say
        return None
    while isinstance(found, dict) and not isinstance(found, Inert):
        inner = [value for value in found.values() if isinstance(value, Inert | dict)]
        if len(inner) != 1:
            return None
        found = inner[0]
    return dict(_tensors(found, "", 0)) or None if isinstance(found, Inert) else None


def _tensors(part: Any, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of what was a module, and of those inside it, by the names of a state dict."""
    if not isinstance(part, Inert) or depth > DEEPEST:
        return
    for kind in ("_parameters", "_buffers"):
        held = part.__dict__.get(kind)
        skipped = part.__dict__.get("_non_persistent_buffers_set", ())
        for name, value in held.items() if isinstance(held, dict) else ():
            if isinstance(value, Tensor) and not (kind == "_buffers" and _has(skipped, name)):
                yield f"{prefix}{name}", value.detach()
    inner = part.__dict__.get("_modules")
    for name, child in inner.items() if isinstance(inner, dict) else ():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def _has(names: Any, name: Any) -> bool:
    return isinstance(names, (set, frozenset, list, tuple)) and name in names
