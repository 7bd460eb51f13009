"""What was done to a network, in memory: one frozen dataclass a verb, registered under the name that files have for it.

A file's header holds the same as a list of JSON objects (docs/format.md). `Verb.table` gives that object; `read` makes
the verb of it again. What was read is kept as it was, so a model that is opened and saved again has the same history to
the last character, also where another version wrote it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Self

from sharpbit.errors import ModelError

Table = dict[str, Any]

VERBS: dict[str, type[Verb]] = {}


class Verb:
    """One thing that was done to the weights or to the structure of a network. Subclasses are frozen dataclasses.

    A subclass is registered by `class Prune(Verb, verb="prune")`; `also` are names that older files have for it. Its
    fields are the keys of the JSON object. Where a key is no name in Python, `keyed` names it; `spread` makes a field
    whose own items stand in the object itself, as those of a settings dataclass.
    """

    verb: ClassVar[str]
    _written: Table | None = None

    def __init_subclass__(cls, verb: str, also: Iterable[str] = ()) -> None:
        cls.verb = verb.partition(":")[0]
        VERBS.update(dict.fromkeys((verb, *also), cls))

    def apply(self, net: Any) -> Any:
        """The network with the structure that this verb gave it; most verbs change none."""
        return net

    def table(self) -> Table:
        """The JSON object that stands in a file."""
        if self._written is not None:
            return dict(self._written)
        found: Table = {"verb": self.verb}
        for item in _fields(self):
            value = _plain(getattr(self, item.name))
            if "spread" in item.metadata:
                found |= value
            elif value is not None:
                found[item.metadata.get("key", item.name)] = value
        return found

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Self:
        """The verb that `table` describes; keys that this version does not know stay in what `table()` gives.

        Raises:
            KeyError: a key is missing that cannot do without.
        """
        given: Table = {}
        missing: list[str] = []
        left = {key: value for key, value in table.items() if key != "verb"}
        for item in _fields(cls):
            key = item.metadata.get("key", item.name)
            if "spread" in item.metadata:
                continue
            if key in left:
                given[item.name] = _frozen(left.pop(key))
            elif item.default is MISSING and item.default_factory is MISSING:
                missing.append(repr(key))
        if missing:
            raise KeyError(", ".join(missing))
        for item in _fields(cls):
            if "spread" in item.metadata:
                given[item.name] = item.metadata["spread"]({key: _frozen(value) for key, value in left.items()})
        made = cls(**given)
        object.__setattr__(made, "_written", dict(table))
        return made

    def __getitem__(self, key: str) -> Any:
        """What the JSON object has under `key`. Deprecated: entries were dicts once; use the fields."""
        warnings.warn(
            f"entries of a history are typed; use the fields of {type(self).__name__}, or table()[{key!r}]",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.table()[key]

    def __contains__(self, key: object) -> bool:
        """Whether the JSON object has this key."""
        return key in self.table()

    def get(self, key: str, default: Any = None) -> Any:
        """What the JSON object has under `key`, or `default`."""
        return self.table().get(key, default)


def keyed(key: str) -> dict[str, Any]:
    """The metadata of a field whose key in the JSON object is `key`."""
    return {"key": key}


def spread(make: Callable[[Table], Any]) -> dict[str, Any]:
    """The metadata of a field whose own items stand in the JSON object.

    Args:
        make: makes the value from those items of the object that no other field has.
    """
    return {"spread": make}


def settings_of(kind: type[Any]) -> Callable[[Table], Any]:
    """A function that makes an instance of the dataclass `kind` from those items of a table that it knows."""
    names = {item.name for item in fields(kind) if item.init}
    return lambda table: kind(**{key: value for key, value in table.items() if key in names})


def read(table: Mapping[str, Any] | Verb, source: str = "this model") -> Verb:
    """The verb of an entry; `source` names the file in errors.

    Raises:
        ModelError: the entry is no object with a known verb, or lacks a key.
    """
    if isinstance(table, Verb):
        return table
    name = table.get("verb") if isinstance(table, Mapping) else None
    if not isinstance(name, str):
        raise ModelError(f"{source}: an entry of its history is {table!r}, not an object with a verb")
    special = f"{name}:{table.get('method')}"
    kind = VERBS.get(special) or VERBS.get(name)
    if kind is None:
        raise ModelError(
            f"{source}: its history has the verb {name!r}, which this sharpbit does not know; update sharpbit"
        )
    try:
        return kind.read(table)
    except KeyError as error:
        raise ModelError(f"{source}: the entry {name!r} of its history lacks {error.args[0]}") from None
    except TypeError as error:
        raise ModelError(f"{source}: the entry {name!r} of its history cannot be read ({error})") from None


def read_all(history: Iterable[Mapping[str, Any] | Verb], source: str = "this model") -> tuple[Verb, ...]:
    """The verbs of a history, oldest first, without receipts: these belong to the file and not to what it holds.

    See `read` for errors.
    """
    verbs = (read(entry, source) for entry in history)
    return tuple(verb for verb in verbs if not isinstance(verb, Receipt))


@dataclass(frozen=True)
class Start(Verb, verb="start"):
    """The weights at the start of a training came from another recipe.

    Attributes:
        after: name of that recipe.
        tensors: how many tensors were taken over.
        of: how many tensors the network has.
    """

    after: str = ""
    tensors: int = 0
    of: int = 0


@dataclass(frozen=True)
class Train(Verb, verb="train"):
    """The network was trained.

    Attributes:
        steps: steps of the optimizer that were done.
        settings: all other settings by name, as `sharpbit.training.Training` had them then.
    """

    steps: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict, metadata=spread(dict))


@dataclass(frozen=True)
class Reparameterize(Verb, verb="reparameterize"):
    """The network became a plain chain of convolutions, which computes the same function.

    Attributes:
        source: name of the architecture that it was before.
        form: `plain` or `et`.
    """

    source: str = field(default="", metadata=keyed("from"))
    form: str = "plain"


@dataclass(frozen=True)
class Mix(Verb, verb="mix"):
    """The weights were mixed with those of a twin, a network of the same shape.

    Attributes:
        twin: name of the file of the twin.
        denoise: share of the network itself, from 0 to 1.
    """

    twin: str = ""
    denoise: float = 1.0


@dataclass(frozen=True)
class Carry(Verb, verb="carry"):
    """A chain of integers became a float network that keeps constant images constant.

    Attributes:
        source: name of the architecture that it was before.
    """

    source: str = field(default="", metadata=keyed("from"))


@dataclass(frozen=True)
class Pair(Verb, verb="pair"):
    """Two networks were put into one file; the history before this is that of the large one.

    Attributes:
        settings: patch, shared, detail and what else the file says of both networks (docs/format.md).
    """

    settings: Mapping[str, Any] = field(default_factory=dict, metadata=spread(dict))


@dataclass(frozen=True)
class Receipt(Verb, verb="receipt"):
    """What a file claims of itself, measured through the engine that runs it; `sharpbit verify` measures it again.

    Attributes:
        by: the command that wrote it, such as `compress`.
        source: name, architecture and sha256 of what it was made from.
        calibrated: how many images it was calibrated on, and the sha256 of all of them.
        targets: what was asked for.
        steps: what was tried, in its order, and what each step measured.
        chosen: name of the step whose network this is.
        versions: versions of the packages that worked.
    """

    by: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    calibrated: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()
    chosen: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def taken(self) -> tuple[Mapping[str, Any], ...]:
        """The step whose network this is, behind those that led to it where each step is made of the one before it."""
        if self.by == "compress":  # whose steps are tries, one beside the other
            return tuple(step for step in self.steps if step.get("step") == self.chosen)
        return self.steps


def _fields(kind: Any) -> tuple[Field[Any], ...]:
    return fields(kind)


def _plain(value: Any) -> Any:
    """`value` as JSON has it: lists for tuples, tables for dataclasses."""
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: _plain(getattr(value, item.name)) for item in _fields(value) if item.init}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list) else value
