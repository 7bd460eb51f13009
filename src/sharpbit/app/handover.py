"""Strips of a picture on their way from the thread that makes them to the one that writes them."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Full, Queue
from threading import Event

from sharpbit.upscaler import Strip


class Handover:
    """A queue of one strip; an error on either side reaches the other.

    The maker calls `put` and, at last, `end`; the taker iterates, and calls `leave` when it will take no more.
    """

    def __init__(self) -> None:
        self._queue: Queue[Strip | None] = Queue(1)
        self._left = Event()
        self._error: BaseException | None = None

    def put(self, strip: Strip | None) -> bool:
        """Hand a strip over, waiting for room; False if the taker has left."""
        while not self._left.is_set():
            try:
                self._queue.put(strip, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def end(self, error: BaseException | None = None) -> None:
        """There are no more strips, or no good ones: the taker gets `error`."""
        self._error = error
        self.put(None)

    def leave(self) -> None:
        """Take no more."""
        self._left.set()

    def __iter__(self) -> Iterator[Strip]:
        while (strip := self._queue.get()) is not None:
            yield strip
        if self._error is not None:
            raise self._error
