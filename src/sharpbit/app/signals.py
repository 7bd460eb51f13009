"""How a run ends by Ctrl-C or SIGTERM: the exceptions, and the word and exit code that each of them has."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_MOMENT = 0.02  # seconds until a signal comes again


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises: it ends a run as Ctrl-C does."""


def word_of(end: KeyboardInterrupt) -> str:
    """What happened to the run, for people: `interrupted` or `terminated`."""
    return "terminated" if isinstance(end, Terminated) else "interrupted"


def code_of(end: KeyboardInterrupt) -> int:
    """The exit code, as shells give it for a program that the signal ended: 130 or 143."""
    return 128 + (signal.SIGTERM if isinstance(end, Terminated) else signal.SIGINT)


def listen() -> None:
    """Let both signals end the run by an exception, also where nothing listens to Ctrl-C yet."""
    signal.signal(signal.SIGTERM, end_run)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as `sharpbit.__main__` leaves it while modules are loaded
        signal.signal(signal.SIGINT, end_run)


def end_run(number: int, frame: FrameType | None) -> None:
    """End the run; a moment later where Python looks for a module, as it would keep a lock for which threads wait."""
    if frame is None or not frame.f_code.co_filename.startswith("<frozen importlib"):
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
    again = threading.Timer(_MOMENT, _send, [number])
    again.daemon = True
    again.start()


def _send(number: int) -> None:
    """Send the main thread a signal, so that it wakes up where it waits."""
    main_thread = threading.main_thread().ident
    if main_thread is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread, number)
    else:
        signal.raise_signal(number)
