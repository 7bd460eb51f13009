"""Rows in, strips of a fixed height out, each worked on by one of several threads, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from sharpbit.image.data import Array

STRIP_BYTES = 1 << 20  # large enough that compressing strips apart costs less than 1 %, small enough for the cache


class Strips:
    """Cuts the rows of an image into strips and passes `work(strip, above)` of each to `take`, from top to bottom.

    `above` is the row before the strip (zeros before the first). Where strips begin depends only on the row's length,
    never on how the rows came in or on the number of threads.
    """

    def __init__(
        self, row: Array, threads: int, work: Callable[[Array, Array], bytes], take: Callable[[bytes], None]
    ) -> None:
        self.height = max(1, STRIP_BYTES // row.nbytes)
        self._buffer = np.empty((self.height, *row.shape), row.dtype)
        self._filled = 0
        self._above = np.zeros_like(row)
        self._work, self._take = work, take
        self._pool = ThreadPoolExecutor(threads, "sharpbit-write") if threads > 1 else None
        self._pending: deque[Future[bytes]] = deque()
        self._most = 2 * threads

    def push(self, rows: Array) -> None:
        """Add rows (h, ...)."""
        while len(rows):
            part = rows[: self.height - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rows = rows[len(part) :]
            if self._filled == self.height:
                self._send()

    def finish(self) -> None:
        """Send what is left and wait for everything."""
        if self._filled:
            self._send()
        while self._pending:
            self._take(self._pending.popleft().result())

    def close(self) -> None:
        """Let go of the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _send(self) -> None:
        strip, above = self._buffer[: self._filled], self._above
        self._filled = 0
        if self._pool is None:
            self._above = strip[-1].copy()
            self._take(self._work(strip, above))
            return
        self._above = strip[-1]
        self._buffer = np.empty_like(self._buffer)
        self._pending.append(self._pool.submit(self._work, strip, above))
        if len(self._pending) > self._most:
            self._take(self._pending.popleft().result())
