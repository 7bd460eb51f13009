"""Numbers from a caller's hands: those of numpy are as good as Python's, everything else is refused in a sentence."""

from __future__ import annotations

import numbers
from typing import Any

from sharpbit.errors import UsageError


def number(name: str, value: Any) -> float | None:
    """A real number as one of Python, a whole one as int; None stays None.

    Args:
        name: The name of the argument, for the error.
        value: What was given.

    Raises:
        UsageError: It is no number.
    """
    if value is None:
        return None
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise UsageError(f"{name} is a number such as 2 or 1.5, not {value!r}")
    real = _float(name, value)
    return int(value) if isinstance(value, numbers.Integral) else real


def whole(name: str, value: Any) -> int | None:
    """A whole number, also where it comes as a float such as 8.0; None stays None.

    Args:
        name: The name of the argument, for the error.
        value: What was given.

    Raises:
        UsageError: It is no whole number.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if value is not None and (not real or not _float(name, value).is_integer()):
        raise UsageError(f"{name} is a whole number, not {value!r}")
    return None if value is None else int(value)


def at_least_one(name: str, value: Any) -> int | None:
    """A whole number from 1 on; None stays None.

    Args:
        name: The name of the argument, for the error.
        value: What was given.

    Raises:
        UsageError: It is no whole number, or less than 1.
    """
    number = whole(name, value)
    if number is not None and number < 1:
        raise UsageError(f"{name} is a whole number from 1 on, not {number}")
    return number


def _float(name: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"{name} is larger than any number that is taken") from None


def pair(name: str, value: Any) -> tuple[int, int] | None:
    """Two whole numbers; None stays None.

    Args:
        name: The name of the argument and what the two numbers are, for the error.
        value: What was given.

    Raises:
        UsageError: These are not two whole numbers.
    """
    if value is None:
        return None
    try:
        first, second = (whole(name, item) for item in value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is two whole numbers, such as (1920, 1080), not {value!r}") from None
    if first is None or second is None:
        raise UsageError(f"{name} is two whole numbers, such as (1920, 1080), not {value!r}")
    return first, second
