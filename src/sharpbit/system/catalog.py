"""A folder of modules, and an entry-point group of the same name, seen as one mapping: the only registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from sharpbit.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

T = TypeVar("T")


class Catalog(Mapping[str, T], Generic[T]):
    """Names of the modules of `package`, each mapped to what the module calls `attribute`, imported on first use.

    A module without the attribute is no member. Another distribution adds one through the entry-point group
    called `package`; the package's own modules come first.

    Args:
        package: such as `sharpbit.arch`.
        attribute: such as `ARCH`.
    """

    def __init__(self, package: str, attribute: str) -> None:
        self.package = package
        self.attribute = attribute
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        added = [point.name for point in self._added()]
        yield from dict.fromkeys(self._own() + added)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _load(self, name: str) -> T:
        if name in self._own():
            return cast(T, getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute))
        for point in self._added():
            if point.name == name:
                return cast(T, point.load())
        import difflib

        kind = self.package.rsplit(".", 1)[-1]
        near = difflib.get_close_matches(name, list(self), 3, 0.4)
        others = f"near it: {', '.join(near)}" if near else f"known are {', '.join(sorted(self))}"
        raise UsageError(f"there is no {kind} called {name!r}; {others}")

    def _added(self) -> EntryPoints:
        from importlib.metadata import entry_points  # a tenth of a cold start; the names of our own do not need it

        return entry_points(group=self.package)

    def _own(self) -> list[str]:
        path = importlib.import_module(self.package).__path__
        names = [module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_")]
        # A compiled library that lies beside the modules would count as one.
        return [name for name in names if any((Path(folder) / f"{name}.py").exists() for folder in path)]
