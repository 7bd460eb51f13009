"""Strips of an image on their way from the thread that makes them to the one that writes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from queue import Empty, Full, Queue
from threading import Event
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """A short queue, such as of one strip; an error on either side reaches the other.

    The maker calls `put` and, at last, `end`; the taker iterates, and calls `leave` when it will take no more.

    Args:
        room: How many things wait in it at most.
    """

    def __init__(self, room: int = 1) -> None:
        self._queue: Queue[T | None] = Queue(room)
        self._left = Event()
        self._ended = Event()
        self._error: BaseException | None = None

    def put(self, strip: T) -> bool:
        """Hand something over, waiting for room; False if the taker has left."""
        while not self._left.is_set():
            try:
                self._queue.put(strip, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def end(self, error: BaseException | None = None) -> None:
        """There is no more, or nothing good: the taker gets `error`.

        Never waits, so that Ctrl-C cannot keep the taker from hearing it.
        """
        self._error = error
        self._ended.set()
        with contextlib.suppress(Full):  # a taker that waits for a strip need not wait longer
            self._queue.put_nowait(None)

    def leave(self) -> None:
        """Take no more."""
        self._left.set()

    def __iter__(self) -> Iterator[T]:
        while True:
            ended = self._ended.is_set()
            try:
                strip = self._queue.get(block=not ended, timeout=0.1)
            except Empty:
                if ended:
                    break
                continue
            if strip is None:
                break
            yield strip
        if self._error is not None:
            raise self._error
