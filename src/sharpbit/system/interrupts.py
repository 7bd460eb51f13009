"""Ctrl-C and SIGTERM that wait until a piece of work is whole."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TWICE = 0.5  # seconds within which a signal that comes again is the same one: `timeout` sends it to process and group


class Held:
    """Within, the first signal waits for `deliver`; a second one, half a second later or more, ends the run at once.

    What a signal does stays with whoever listened to it before, and signals that are ignored stay ignored. Python
    hears signals in its main thread alone: in another one nothing is held.

    Args:
        wanted: whether signals are held at all; by default they are.

    Attributes:
        waiting: number of the signal that waits; None where none does.
    """

    def __init__(self, wanted: bool = True) -> None:
        self._wanted = wanted and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}
        self._heard = 0.0
        self.waiting: int | None = None

    def __enter__(self) -> Held:
        self._hold()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._release()
        if kind is None:
            self.deliver()

    def deliver(self) -> None:
        """Do what the signal that waits does, which mostly raises `KeyboardInterrupt`; nothing where none waits."""
        number, self.waiting = self.waiting, None
        if number is not None:
            with self.let_through():
                signal.raise_signal(number)

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Within, signals are not held."""
        held = bool(self._before)
        self._release()
        try:
            yield
        finally:
            if held:
                self._hold()

    def _hold(self) -> None:
        if self._wanted:
            for number in _SIGNALS:
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    self._before[number] = signal.signal(number, self._hear)

    def _release(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.waiting is None:
            self.waiting, self._heard = number, now
        elif now - self._heard > _TWICE:
            before = self._before.get(number)
            self._release()
            if callable(before):
                before(number, frame)
            else:
                signal.raise_signal(number)
