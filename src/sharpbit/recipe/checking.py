"""Checks of a table of TOML: keys, types, ranges; errors name the table, the key, the value and what was expected."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import RecipeError, SharpbitError
from sharpbit.quant.core import METHODS
from sharpbit.recipe.limits import HYPER, LIMITS, NAME, SCALE, Choice, Limit, Name, Span
from sharpbit.recipe.schema import Start

T = TypeVar("T")
KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a table"}
IMPOSSIBLE = (
    ArithmeticError,
    AssertionError,
    IndexError,
    MemoryError,
    RuntimeError,
    TypeError,
    UserWarning,
    ValueError,
)
LONGEST = 60  # characters of a value that an error shows


def checked(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A table of TOML as a dataclass.

    Args:
        kind: the dataclass.
        table: keys and values as TOML has them.
        where: name of the table in errors, beginning with the file.

    Raises:
        RecipeError: a key that is unknown or missing, or a value of the wrong type or out of its range.
    """
    table = tabled(table, where)
    own = fields(kind)  # type: ignore[arg-type]
    known_keys([item.name for item in own], table, where)
    hints, limits = get_type_hints(kind), LIMITS.get(kind, {})
    for key, value in table.items():
        _check(key, value, hints[key], limits.get(key), where)
    for item in own:
        if item.name not in table and item.default is MISSING and item.default_factory is MISSING:
            raise RecipeError(f"{where} lacks the key {item.name!r}, which should be {_expected(hints[item.name])}")
    return kind(**table)


def known_keys(known: Iterable[str], table: Mapping[str, Any], where: str) -> None:
    """Refuse keys that are not known.

    Raises:
        RecipeError: a key that is not known; it names the nearest one.
    """
    known = list(known)
    for key in table:
        if key not in known:
            raise RecipeError(f"{where} has a key {shortened(key)} that is not known{nearest(key, known)}")


def nearest(key: Any, known: Iterable[str]) -> str:
    """The end of an error that names the nearest known word; empty where none is known."""
    near = difflib.get_close_matches(str(key)[:LONGEST], sorted(known), 1, 0.0)
    return f"; nearest: {near[0]!r}" if near else ""


def tabled(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a table.

    Raises:
        RecipeError: something else.
    """
    if not isinstance(value, dict):
        raise RecipeError(f"{where} is {shortened(value)}, which should be a table of keys and values")
    return value


def listed(value: Any, where: str) -> list[Any]:
    """The value, if it is a list.

    Raises:
        RecipeError: something else.
    """
    if not isinstance(value, list):
        raise RecipeError(f"{where} is {shortened(value)}, which should be a list of tables, each under {where[-8:]}")
    return value


def check_name(value: Any, key: str, where: str) -> None:
    """Refuse what is not a name.

    Raises:
        RecipeError: another type, or a text with other characters.
    """
    _check(key, value, str, NAME, where)


def check_config(start: Start, where: str) -> None:
    """Check the hyper-parameters of a network by the types of its `Config`.

    Raises:
        RecipeError: a key that the network does not have, a value of another type, or a missing or impossible scale.
    """
    kind = ARCHITECTURES[start.arch].config
    hints = get_type_hints(kind)
    for key in start.config:
        if key not in hints:
            raise RecipeError(
                f"{where} has a key {shortened(key)} that is not known{nearest(key, hints)}; the sizes of"
                f" {start.arch} are {', '.join(hints)}"
            )
    if "scale" not in start.config:
        raise RecipeError(f"{where} lacks the key 'scale', which should be {SCALE}")
    for key, value in start.config.items():
        _check(key, value, hints[key], SCALE if key == "scale" else HYPER, where)


def check_options(method: str, options: Mapping[str, Any], where: str) -> None:
    """Check the options of a method's clipping range by its signature.

    Raises:
        RecipeError: an option that it does not have, or a value of another type.
    """
    parameters = inspect.signature(METHODS[method].act, eval_str=True).parameters.values()
    known = {item.name: item.annotation for item in parameters if item.kind is item.KEYWORD_ONLY}
    known["per_channel"] = bool
    known_keys(known, options, f"{where} options of {method}")
    for key, value in options.items():
        hint = known[key]
        _check(key, value, Any if hint is inspect.Parameter.empty else hint, HYPER, f"{where} options of {method}")


@contextmanager
def possible(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """Within, numbers that are each in their range and do not go together become one sentence.

    Args:
        what: beginning of the sentence.
        kinds: exceptions that it stands for; default: those that impossible sizes raise in PyTorch and Python.

    Raises:
        RecipeError: `what` with the first line of the error that PyTorch or Python raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Initializing zero-element", UserWarning)
            yield
    except SharpbitError:
        raise
    except Exception as error:
        if not isinstance(error, kinds or IMPOSSIBLE):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RecipeError(f"{what}: {reason}") from error


def shortened(value: Any) -> str:
    """A value as errors show it."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print whole numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _check(key: str, value: Any, hint: Any, limit: Limit | None, where: str) -> None:
    if expected := _problem(value, hint, limit):
        near = ""
        if isinstance(limit, Choice) and isinstance(value, str):
            near = nearest(value, limit.names())
        raise RecipeError(f"{where} has {key} = {shortened(value)}, which should be {expected}{near}")


def _problem(value: Any, hint: Any, limit: Limit | None) -> str:
    """What was expected of a value; empty where it is right."""
    if not _fits(value, hint):
        return _expected(hint, limit)
    if value is None or limit is None:
        return ""
    if isinstance(value, list | tuple):
        return next((f"a list, each {problem}" for item in value if (problem := _problem_of(item, limit))), "")
    return _problem_of(value, limit)


def _problem_of(value: Any, limit: Limit) -> str:
    if isinstance(limit, Span) and (isinstance(value, bool) or not isinstance(value, int | float)):
        return ""  # true, or a text, where the type allows that besides numbers
    return limit.problem(value)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a TOML value suits the type of a field: a whole number is a float too, a list is a tuple too."""
    if hint is Any:
        return True
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if isinstance(value, bool) and origin is not bool:
        return False
    if origin is tuple:
        return isinstance(value, list | tuple) and _fit_items(value, get_args(hint))
    if not isinstance(origin, type):
        return True
    if issubclass(origin, tuple):  # a named one, whose fields have defaults
        return isinstance(value, list | tuple)
    return isinstance(value, (int, float) if origin is float else origin)


def _fit_items(values: list[Any] | tuple[Any, ...], hints: tuple[Any, ...]) -> bool:
    if not hints:
        return True
    if hints[-1] is Ellipsis:
        return all(_fits(value, hints[0]) for value in values)
    return len(values) == len(hints) and all(map(_fits, values, hints))


def _expected(hint: Any, limit: Limit | None = None) -> str:
    """A type, or a range of values, in words."""
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return " or ".join(
            dict.fromkeys(_expected(option, limit) for option in get_args(hint) if option is not type(None))
        )
    if origin is tuple:
        items = get_args(hint)
        one = _expected(items[0], limit) if items else "value"
        return f"a list, each {one}" if not items or items[-1] is Ellipsis else f"a list of {len(items)}, each {one}"
    if isinstance(limit, Span) and origin in (int, float):
        return str(limit if origin is float else replace(limit, whole=True))
    if isinstance(limit, Choice | Name) and origin is str:
        return limit.problem(None)
    return KINDS.get(origin, f"a {getattr(origin, '__name__', origin)}")
