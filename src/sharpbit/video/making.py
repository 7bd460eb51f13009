"""Decode, upscale and encode at the same time: a thread each, with short queues between them."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sharpbit.errors import VideoError
from sharpbit.image import Choice, ImageData, Metadata
from sharpbit.pipeline.chain import Chain
from sharpbit.pipeline.resized import sized
from sharpbit.pipeline.sequence import upscaled
from sharpbit.pipeline.strip_queue import Handover
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.system.memory import give_back
from sharpbit.system.progress import Progress
from sharpbit.video.colour import Array, Painter, same, to_rgb
from sharpbit.video.copying import Cut
from sharpbit.video.opening import Source
from sharpbit.video.parts import LENGTH, Parts
from sharpbit.video.streaming import Y4m
from sharpbit.video.writing import Moment, Segment, Track

if TYPE_CHECKING:
    from av import VideoFrame

ROOM = 4  # frames that wait between two threads


@dataclass(frozen=True)
class Decoded:
    """A frame on its way to the network."""

    number: int
    moment: Moment
    pixels: Array


@dataclass(frozen=True)
class Made:
    """A frame on its way to the encoder.

    Attributes:
        moment: When it is shown.
        image: The frame of the source.
        pixels: What the network made of it, before it is brought to its size.
        same: Whether it equals the frame before.
    """

    moment: Moment
    image: ImageData
    pixels: Array
    same: bool


@dataclass
class Counts:
    """What a run did.

    Attributes:
        frames: The number of frames that were upscaled or repeated.
        repeated: The number of those that equalled the frame before.
        computed: The share of the others that went through the network, summed.
        kept: The number of frames that an earlier run had made.
    """

    frames: int = 0
    repeated: int = 0
    computed: float = 0.0
    kept: int = 0


@dataclass(frozen=True)
class Making:
    """How the frames of a video are made.

    Attributes:
        upscaler: The opened networks, whose factor is that of the chain.
        chain: The networks and the size of the result.
        choice: What has chosen the networks; None where they were named.
        track: The video that is made.
        parts: Where its segments are kept.
        cut: The part of the source that is taken.
        tolerance: How far a pixel may differ from the one before and still count as equal, in levels of 255.
        compare: Whether the result shows the frame before and after, side by side.
        counts: What was done so far.
    """

    upscaler: Upscaler
    chain: Chain
    choice: Choice | None
    track: Track
    parts: Parts | Y4m
    cut: Cut
    tolerance: int = 0
    compare: bool = False
    counts: Counts = field(default_factory=Counts)

    def run(self, source: Source, progress: Progress) -> None:
        """Make all segments that are not there yet.

        Args:
            source: The video.
            progress: Called with the number of frames that are done since the last call.

        Raises:
            VideoError: There is no frame in the part that is taken.
        """
        encoding, size = self.track.encoding, (self.track.height, self.track.width)
        deep = source.shape.colour.deep
        sample = source.sample if isinstance(self.parts, Parts) else None
        painter = Painter(sample, encoding.colour, size, encoding.format, deep=deep)  # before others take frames
        decoded: Handover[Decoded] = Handover(ROOM)
        reader = _thread("decode", decoded.end, lambda: self._decode(source, decoded, progress))
        writers = _Writers(self, painter)
        try:
            for made in self._upscaled(decoded, source.name):
                if not writers.put(made):
                    break
                progress(1.0)
            writers.end()
        except BaseException as error:
            writers.stop(error)
            raise
        finally:
            decoded.leave()
            reader.join()
        if not self.counts.frames + self.counts.kept:
            raise VideoError(f"{source.name} has no frame in the part that --start and --end name")

    def _decode(self, source: Source, decoded: Handover[Decoded], progress: Progress) -> None:
        shift = round(self.cut.shift / source.time_base)
        kept = self.parts.kept()  # the times of what an earlier run has made, from the first frame on
        number, last = len(kept) - 1, max(kept, default=-1 << 62) + shift
        self.counts.kept = len(kept)
        progress(float(len(kept)))
        before: tuple[VideoFrame, Array] | None = None
        for frame in source.frames(last * source.time_base if kept else self.cut.start):
            assert frame.pts is not None
            if frame.pts <= last:
                continue
            time = frame.pts * source.time_base
            if not self.cut.holds(time):
                if self.cut.end is not None and time >= self.cut.end:
                    return
                continue
            number += 1
            if self.parts.has(number // LENGTH):
                self.counts.kept += 1
                progress(1.0)
                continue
            repeated = before is not None and same(frame, before[0])
            pixels = before[1] if before is not None and repeated else to_rgb(frame, source.shape.colour)
            before = frame, pixels
            if not decoded.put(Decoded(number, Moment(frame.pts - shift, frame.duration), pixels)):
                return

    def _upscaled(self, decoded: Handover[Decoded], name: str) -> Iterator[tuple[int, Made]]:
        waiting: deque[tuple[Decoded, ImageData]] = deque()

        def images() -> Iterator[ImageData]:
            for frame in decoded:
                image = ImageData(frame.pixels, None, Metadata(), (), "video", choice=self.choice)
                waiting.append((frame, image))
                yield image

        for drawn in upscaled(self.upscaler, images(), name, self.tolerance, restart=self._restart(waiting)):
            frame, image = waiting.popleft()
            area = sum((bottom - top) * (right - left) for top, left, bottom, right in drawn.boxes)
            self.counts.frames += 1
            self.counts.repeated += not area
            self.counts.computed += area / (drawn.pixels.shape[0] * drawn.pixels.shape[1])
            yield frame.number, Made(frame.moment, image, drawn.pixels, not area)

    def _restart(self, waiting: deque[tuple[Decoded, ImageData]]) -> Callable[[], bool]:
        """Whether the frame at hand depends on none before: with a tolerance each segment stands for itself."""
        return lambda: self.tolerance > 0 and waiting[-1][0].number % LENGTH == 0

    def painted(self, made: Made) -> Array:
        """The pixels of a frame of the result."""
        pixels = made.pixels
        if self.chain.resized:
            whole = replace(self.chain, scales=(self.chain.scale,))  # all networks in one, which made the pixels
            strips = [rows for rows, _ in sized([(pixels, None)], made.image, whole)]
            pixels = strips[0] if len(strips) == 1 else np.concatenate(strips)
        if self.compare:
            from sharpbit.video.preview import side_by_side

            return side_by_side(made.image.pixels, pixels)
        return pixels


class _Writers:
    """Encodes segments, each in a thread of its own: while one is finished, the next has begun."""

    def __init__(self, making: Making, painter: Painter) -> None:
        self._making, self._painter = making, painter
        self._number = -1
        self._queue: Handover[Made] | None = None
        self._threads: deque[threading.Thread] = deque()
        self._errors: list[BaseException] = []

    def put(self, numbered: tuple[int, Made]) -> bool:
        """Give a frame to the encoder of its segment; False where an encoder has failed."""
        number, made = numbered[0] // LENGTH, numbered[1]
        if number != self._number:
            self._close()
            while len(self._threads) > self._making.parts.waiting:
                self._threads.popleft().join()
            if self._errors:
                return False
            self._number, self._queue = number, Handover(ROOM)
            self._threads.append(_thread("encode", self._failed(self._queue), self._work(number, self._queue)))
        assert self._queue is not None
        return self._queue.put(made)

    def end(self) -> None:
        """Wait until all is encoded; raises what went wrong."""
        self._close()
        self._wait()

    def stop(self, error: BaseException) -> None:
        """Give up the segment at hand; one that only has to be finished is."""
        if self._queue is not None:
            self._queue.end(error)
        with contextlib.suppress(BaseException):
            self._wait()

    def _close(self) -> None:
        if self._queue is not None:
            self._queue.end()
            self._queue = None

    def _wait(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _failed(self, queue: Handover[Made]) -> Callable[[BaseException | None], None]:
        def fail(error: BaseException | None) -> None:
            if error is not None:
                self._errors.append(error)
            queue.leave()

        return fail

    def _work(self, number: int, queue: Handover[Made]) -> Callable[[], None]:
        making, painter = self._making, self._painter

        def encode() -> None:
            with making.parts.writer(number) as write:
                segment, frame = Segment(making.track), None
                for made in queue:
                    if frame is None or not made.same or making.compare:
                        frame = painter(making.painted(made))
                    write(segment.add(frame, made.moment))
                write(segment.finish())
            del segment, frame  # some hundred MB, in memory of threads that have ended
            give_back()

        return encode


def _thread(name: str, end: Callable[[BaseException | None], None], work: Callable[[], None]) -> threading.Thread:
    """A thread that has begun, and says at its end how it ended."""

    def run() -> None:
        try:
            work()
        except BaseException as error:
            end(error)
        else:
            end(None)

    thread = threading.Thread(target=run, name=f"sharpbit-{name}", daemon=True)
    thread.start()
    return thread
