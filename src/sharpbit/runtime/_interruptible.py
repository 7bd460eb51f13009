"""Calls into an engine that may never come back: Ctrl-C and SIGTERM still end them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_GRACE = 1.0  # seconds that a call has to end once it was asked to; then it is left behind


def interruptible(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """What `work` returns or raises; it runs in another thread, so that the main one hears signals meanwhile.

    Python looks at signals in its main thread alone, and only between two of its own instructions. In other threads
    `work` is called as it is.

    Args:
        work: The call.
        stop: Called where the wait ends by an exception, such as that of Ctrl-C; it asks `work` to end soon.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    done, results, errors = threading.Event(), list[T](), list[BaseException]()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="sharpbit-engine", daemon=True).start()
    try:
        while not done.wait(0.5):  # some systems hear signals only between two waits
            pass
    except BaseException:
        stop()
        done.wait(_GRACE)
        raise
    if errors:
        raise errors[0]
    return results[0]
