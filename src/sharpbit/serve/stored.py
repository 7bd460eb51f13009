"""Files without a name: uploads and results, which vanish with the process, however it ends."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from pathlib import Path
from typing import IO, BinaryIO, cast

PIECE = 1 << 16


def folder() -> str:
    """Where they lie: `$TMPDIR`, else `/var/tmp`, which unlike `/tmp` is on a disk on most systems."""
    lasting = Path("/var/tmp")
    own = os.environ.get("TMPDIR")
    return tempfile.gettempdir() if own or not os.access(lasting, os.W_OK) else str(lasting)


class Stored:
    """A file without a name that several threads read at once; it is deleted when the last of its users lets it go.

    Args:
        file: The file; None makes one.
    """

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self.file = file or cast(IO[bytes], tempfile.TemporaryFile(dir=folder()))  # noqa: SIM115 - closed in `drop`
        self.file.fileno()  # one that was in memory so far goes to the disk
        self.file.flush()
        self._users = 1
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Its length in bytes; 0 once it was deleted."""
        with self._lock:
            return os.fstat(self.file.fileno()).st_size if self._users else 0

    def use(self) -> Stored:
        """The same file, with one more user."""
        with self._lock:
            if not self._users:
                raise FileNotFoundError("the file was deleted")
            self._users += 1
        return self

    def drop(self) -> None:
        """One user less; the last one deletes it."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self.file.close()

    def reader(self) -> BinaryIO:
        """The file from its start, open for one reader, who counts as a user until it closes it."""
        return cast(BinaryIO, io.BufferedReader(_Reader(self.use()), PIECE))


class _Reader(io.RawIOBase):
    """A reader with a position of its own."""

    def __init__(self, stored: Stored) -> None:
        self._stored, self._at = stored, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        found = os.pread(self._stored.file.fileno(), len(view), self._at)
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = (0, self._at, self._stored.size)[whence]
        if base + offset < 0:
            raise OSError("a place before the start of the file")
        self._at = base + offset
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._stored.drop()
        super().close()
