"""The log file of a run: what the command prints for people, and each outcome, with the time."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sharpbit.app.text import printable

if TYPE_CHECKING:
    import logging

_logger: logging.Logger | None = None


@contextmanager
def to(path: str | None, command: Sequence[str]) -> Iterator[None]:
    """Append what happens to the file `path`, between a line with the command and one with its exit code and time.

    Raises:
        OSError: the file cannot be written to.
    """
    global _logger
    if path is None:
        yield
        return
    import logging

    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    logger = logging.Logger("sharpbit")  # apart from the root, which a program around this one may have set up
    logger.addHandler(handler)
    started, ended = time.monotonic(), "0"
    _logger = logger
    try:
        line(f"begin: {shlex.join(['sharpbit', *command])}")
        yield
    except BaseException as error:
        code = getattr(error, "exit_code", None)
        ended = str(code if code is not None else getattr(error, "code", type(error).__name__) or 0)
        raise
    finally:
        line(f"end: exit code {ended}, {time.monotonic() - started:.1f} s")
        _logger = None
        handler.close()


def line(text: str) -> None:
    """Append a line, where there is a log."""
    if _logger is not None:
        _logger.info("%s", printable(text))
