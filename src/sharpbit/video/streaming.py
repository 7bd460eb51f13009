"""A video as y4m on standard output, for programs that read one from a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sharpbit.video import libav
from sharpbit.video.writing import Coded, Track, opened

RAW = "rawvideo"


class Y4m:
    """What takes the place of kept segments where frames go straight to standard output; a context.

    Args:
        track: The video, in raw frames.
    """

    waiting = 0

    def __init__(self, track: Track) -> None:
        self._track = replace(track, time_base=1 / track.rate)  # the only times that y4m has
        self._count = 0

    def __enter__(self) -> Y4m:
        av = libav()
        self._packet, self._errors = av.Packet, av.error.FFmpegError
        options = {"strict": "-1"}  # more than 8 bits are an addition to the format, which all that read it know
        self._container = av.open(sys.stdout.buffer, "w", format="yuv4mpegpipe", container_options=options)
        self._stream = self._track.add_to(self._container)
        opened(self._stream.codec_context, self._track)
        return self

    def __exit__(self, *reason: object) -> None:
        with contextlib.suppress(OSError, self._errors) if reason[0] else contextlib.nullcontext():
            self._container.close()
            sys.stdout.buffer.flush()

    def kept(self) -> list[int]:
        """The times of frames that an earlier run has made: none."""
        return []

    def has(self, number: int) -> bool:
        """Whether a segment is finished: none is before it was made."""
        return False

    @contextlib.contextmanager
    def writer(self, number: int) -> Iterator[Callable[[Sequence[Coded]], None]]:
        """What writes the frames of a segment."""

        def write(packets: Sequence[Coded]) -> None:
            for coded in packets:
                packet = self._packet(coded.data)
                packet.pts = packet.dts = self._count
                packet.duration, packet.time_base, packet.stream = 1, self._track.time_base, self._stream
                self._count += 1
                self._container.mux_one(packet)

        yield write
