"""Old names of things that were renamed, kept for those who import them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def old_names(module: str, renamed: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a module: old names give what has the new name now, with a `DeprecationWarning`.

    Args:
        module: the module's `__name__`.
        renamed: new name by old name; a new name with a colon, `other.module:name`, lies in another module.
    """

    def find(name: str) -> Any:
        new = renamed.get(name)
        if new is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, own = new.rpartition(":")
        warnings.warn(f"{module}.{name} is now {place or module}.{own}", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(place or module), own)

    return find
