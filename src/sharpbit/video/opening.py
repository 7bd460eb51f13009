"""A video that is open for reading: what it is, and its frames one after the other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from sharpbit.errors import VideoError
from sharpbit.video import libav
from sharpbit.video.colour import Colour, colour_of

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

STREAM = "-"  # standard input or output, as y4m
INDEXED = ("mp4", "matroska")
MARGIN = 10  # seconds before a time from which on frames are decoded, so that none lacks what it is made of
STILLS = ("image2", "_pipe")  # in the names of libav's formats for images


@dataclass(frozen=True)
class Shape:
    """What the frames of a video are.

    Attributes:
        height: The height in pixels, as stored.
        width: The width in pixels, as stored.
        colour: What their numbers mean.
        aspect: The width of a pixel in proportion to its height.
        turn: The display matrix, nine numbers; None where frames are shown as they are stored.
        interlaced: Whether the frames hold two fields each.
        alpha: Whether they have a transparency, which no result keeps.
        side_data: The bytes of HDR metadata of the first frame, by their name.
    """

    height: int
    width: int
    colour: Colour
    aspect: Fraction
    turn: tuple[int, ...] | None
    interlaced: bool
    alpha: bool
    side_data: dict[str, bytes]

    @property
    def quarter(self) -> bool:
        """Whether width and height change places when the frames are shown."""
        return self.turn is not None and self.turn[0] == 0 and self.turn[4] == 0


class Source:
    """A video, open for reading; a context.

    Args:
        path: The path of the file, or `-` for y4m from standard input.
        decode: Whether frames are wanted, and not only packets.

    Raises:
        VideoError: It cannot be read, or holds no video.
    """

    sample: VideoFrame
    shape: Shape

    def __init__(self, path: str, *, decode: bool = True) -> None:
        self.path = path
        self.name = "standard input" if path == STREAM else path
        self.av = libav()
        self.container: InputContainer = self._open()
        self.damaged: list[float] = []
        self._end = 0.0
        try:
            self.stream = self._stream()
            self._left: Iterator[VideoFrame] = self._decoded()
            if decode:
                self.sample = self._first()
                self.shape = self._shape(self.sample)
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *reason: object) -> None:
        self.container.close()

    @property
    def time_base(self) -> Fraction:
        """The unit of time stamps in seconds."""
        return self.stream.time_base or Fraction(1, 1000)

    @property
    def rate(self) -> Fraction:
        """The frames of a second; where they vary, their mean."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def expected(self) -> int | None:
        """About how many frames there are, where the file says so."""
        if self.stream.frames:
            return self.stream.frames
        length = self.length
        return None if length is None else max(1, round(length * self.rate))

    @property
    def length(self) -> float | None:
        """The length in seconds, where the file says so."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        return self.container.duration / self.av.time_base if self.container.duration else None

    @property
    def missing(self) -> float:
        """The seconds by which frames end before the file says that they do, once all were taken."""
        length = float(self.stream.duration * self.time_base) if self.stream.duration else None
        tag = self.stream.metadata.get("DURATION")  # Matroska's
        if length is None and tag and re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", tag):
            hours, minutes, seconds = tag.split(":")
            length = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return 0.0 if length is None else max(0.0, length - self._end)

    def frames(self, start: Fraction | None = None) -> Iterator[VideoFrame]:
        """All frames in the order in which they are shown; once only.

        Args:
            start: The time in seconds before which frames may be left out where that saves decoding them.
        """
        yield self.sample if start is None or not self._sought(start) else self._first()
        for frame in self._left:
            if (frame.height, frame.width) != (self.shape.height, self.shape.width):
                raise VideoError(
                    f"the frames of {self.name} change their size from {self.shape.width}x{self.shape.height} to"
                    f" {frame.width}x{frame.height} after {frame.time or 0:.2f} s; cut it there and upscale the parts"
                )
            yield frame

    def _sought(self, start: Fraction) -> bool:
        """Go to a key frame well before a time, where a format has an index of them; false where nothing was done."""
        place = int((start - MARGIN) / self.time_base)
        if place <= (self.sample.pts or 0) or not any(form in self.container.format.name for form in INDEXED):
            return False
        self.container.seek(place, stream=self.stream)
        self._left = self._decoded()
        first = next(self._left, None)
        if first is not None and (first.pts or 0) * self.time_base <= start:
            self._left = chain([first], self._left)
            return True
        self.container.close()  # what its index says is wrong: all frames from the beginning
        self.container = self._open()
        self.stream = self._stream()
        self._left = self._decoded()
        return True

    def _first(self) -> VideoFrame:
        for frame in self._left:
            return frame
        raise VideoError(f"{self.name} has no frame that can be decoded; there is nothing to upscale")

    def _open(self) -> InputContainer:
        av = self.av
        try:
            if self.path == STREAM:
                return av.open(sys.stdin.buffer, format="yuv4mpegpipe")  # type: ignore[no-any-return]
            return av.open(self.path, metadata_errors="replace")  # type: ignore[no-any-return]
        except OSError as error:
            raise VideoError(f"{self.name} cannot be read: {error.strerror or error}") from None
        except (av.error.FFmpegError, UnicodeDecodeError):
            what = "no y4m" if self.path == STREAM else "no video that can be read, or is damaged at its beginning"
            raise VideoError(f"{self.name} is {what}") from None

    def _stream(self) -> VideoStream:
        if any(word in self.container.format.name for word in STILLS):
            raise VideoError(f"{self.name} is an image, not a video; run: sharpbit upscale {self.path}")
        pictures = self.av.stream.Disposition.attached_pic
        streams = [stream for stream in self.container.streams.video if not stream.disposition & pictures]
        if not streams:
            kinds = sorted({stream.type for stream in self.container.streams})
            only = f", only {' and '.join(kinds)}" if kinds else ""
            raise VideoError(f"{self.name} has no video stream{only}")
        best = self.container.streams.best("video")
        stream = best if best in streams else streams[0]
        if stream.codec_context is None:
            raise VideoError(f"the video in {self.name} has a codec that is not known here")
        stream.thread_type = "AUTO"
        return stream

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames of the video stream; what cannot be decoded is passed over and noted."""
        packets = self.container.demux(self.stream)
        before: VideoFrame | None = None
        while True:
            try:
                packet = next(packets, None)
            except (self.av.error.InvalidDataError, self.av.error.EOFError, OSError):
                self._damage(before)
                packet = None
            if packet is None:
                return
            try:
                found = packet.decode()
            except (self.av.error.InvalidDataError, self.av.error.EOFError):
                self._damage(before)
                continue
            for frame in found:
                if frame.is_corrupt:
                    self._damage(frame)
                self._time(frame, before)
                before = frame
                self._end = float(((frame.pts or 0) + frame.duration - (self.stream.start_time or 0)) * self.time_base)
                yield frame

    def _damage(self, frame: VideoFrame | None) -> None:
        self.damaged.append((frame.time or 0.0) if frame is not None else 0.0)

    def _time(self, frame: VideoFrame, before: VideoFrame | None) -> None:
        """Give a frame its time stamp where the file has none for it, as AVI may, or one that is taken already."""
        step = frame.duration or max(1, round(1 / (self.rate * self.time_base)))
        last = None if before is None else before.pts
        if frame.pts is None:
            frame.pts = (frame.dts or 0) if last is None else last + step
        if last is not None and frame.pts <= last:
            frame.pts = last + 1  # kept, as late as can be told apart
        if not frame.duration:
            frame.duration = step

    def _shape(self, frame: VideoFrame) -> Shape:
        items: Any = frame.side_data
        side = {item.type.name: bytes(item) for item in items}
        matrix = side.pop("DISPLAYMATRIX", None)
        turn = None if matrix is None else tuple(int(value) for value in np.frombuffer(matrix, "<i4"))
        wanted = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
        return Shape(
            frame.height,
            frame.width,
            colour_of(frame, self.name),
            self.stream.sample_aspect_ratio or Fraction(1),
            turn,
            bool(frame.interlaced_frame),
            self.stream.metadata.get("alpha_mode") == "1"
            or any(letter in frame.format.name for letter in ("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya")),
            {name: side[name] for name in wanted if name in side},
        )


def samples(path: str, count: int = 5) -> list[VideoFrame]:
    """Some frames spread evenly over a video that can seek, for whoever wants to know what it shows."""
    found = []
    with Source(path, decode=False) as source:
        length, start = source.length or 0.0, source.stream.start_time or 0
        for number in range(count):
            place = start + int(length * (number + 0.5) / count / source.time_base)
            try:
                source.container.seek(place, stream=source.stream)
                found.append(next(source.container.decode(source.stream)))
            except (source.av.error.FFmpegError, StopIteration, OSError):
                continue
    return found


def expected(path: str) -> int | None:
    """About how many frames a video has, where its file says so; asked for a bar of progress."""
    if path == STREAM:
        return None
    with Source(path, decode=False) as source:
        return source.expected
