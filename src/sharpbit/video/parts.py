"""Finished segments of a video that is being made, in a hidden folder beside it: what a killed run had done is kept."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sharpbit.errors import VideoError
from sharpbit.system.atomic import open_atomic
from sharpbit.video.writing import Coded

LENGTH = 120  # frames of a segment: what a killed run loses at most, and how often decoding may begin
_HEAD = struct.Struct("<qq?I")  # time stamp, duration, whether it is a key frame, bytes
_JOB, _LOCK = "job.json", "lock"


class Parts:
    """The segments of one video; a context, that only one process can enter at a time.

    Args:
        output: The path of the video that is made of them.
        job: What decides the segments: the same command on the same file has the same, and goes on.

    Raises:
        VideoError: Another process makes this video.
        OSError: The folder cannot be made.
    """

    waiting = 1  # segments that are finished while the next has begun

    def __init__(self, output: Path, job: dict[str, Any]) -> None:
        self.folder = output.with_name(f".{output.name}.parts")
        self._output, self._job = output, json.loads(json.dumps(job))

    def __enter__(self) -> Parts:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / _LOCK).open("w")
        if not _locked(self._lock):
            self._lock.close()
            raise VideoError(f"another process makes {self._output}; wait for it, or name another output")
        if self._known() != self._job:
            for path in self._files():
                path.unlink()
            with open_atomic(self.folder / _JOB, overwrite=True) as file:
                file.write(json.dumps(self._job, indent=1).encode())
        return self

    def __exit__(self, *reason: object) -> None:
        self._lock.close()
        if not list(self._files()):  # nothing that another run could go on with
            self.remove()

    def remove(self) -> None:
        """Remove everything, once the video is there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def has(self, number: int) -> bool:
        """Whether a segment is finished."""
        return self._path(number).exists()

    def kept(self) -> list[int]:
        """The time stamps of all frames in the finished segments that have none missing before them."""
        found: list[int] = []
        for number, path in enumerate(self._files()):
            if path != self._path(number):
                break
            found += self._heads(path)
        return found

    @property
    def frames(self) -> int:
        """The number of frames in all finished segments."""
        return sum(len(self._heads(path)) for path in self._files())

    @contextlib.contextmanager
    def writer(self, number: int) -> Iterator[Callable[[Sequence[Coded]], None]]:
        """What keeps the packets of a segment, which is there, complete, when the block ends without an error."""
        with self._named(), open_atomic(self._path(number), overwrite=True) as file:

            def write(packets: Sequence[Coded]) -> None:
                for packet in packets:
                    file.write(_HEAD.pack(packet.pts, packet.duration, packet.key, len(packet.data)))
                    file.write(packet.data)

            yield write

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Make errors of a disk, such as a full one, speak of the video, and say what is kept."""
        try:
            yield
        except OSError as error:
            kept = f" ({self.frames} frames are kept, and the same command goes on)"
            raise OSError(error.errno, f"{error.strerror}{kept}", str(self._output)) from None

    def times(self) -> list[int]:
        """The time stamps of all frames in the order in which they are encoded."""
        return [pts for path in self._files() for pts in self._heads(path)]

    def packets(self) -> Iterator[Coded]:
        """All encoded frames of all segments, one after the other."""
        for path in self._files():
            with path.open("rb") as file:
                while head := _head(file):
                    pts, duration, key, size = head
                    yield Coded(pts, duration, key, file.read(size))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.segment"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.segment"))

    def _known(self) -> Any:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.folder / _JOB).read_text())
        return None

    def _heads(self, path: Path) -> list[int]:
        found = []
        with path.open("rb") as file:
            while head := _head(file):
                found.append(head[0])
                file.seek(head[3], 1)
        return found


def _head(file: BinaryIO) -> tuple[int, int, bool, int] | None:
    data = file.read(_HEAD.size)
    return _HEAD.unpack(data) if len(data) == _HEAD.size else None


def _locked(file: Any) -> bool:
    """Whether this process has the file for itself; where a system has no such locks, nobody else is known of."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
