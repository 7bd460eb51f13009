"""Streams that are not upscaled: copied packet by packet, or named where the output cannot hold them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sharpbit.video.opening import Source

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.stream import Stream

FILE_TAGS = {
    "major_brand",
    "minor_version",
    "compatible_brands",
}  # of the file that they stand in, which is another now
STREAM_TAGS = {
    "bps",
    "duration",
    "number_of_frames",
    "number_of_bytes",
    "encoder",
    "vendor_id",
    "alpha_mode",
}  # of the old packets
CHAPTER_TEXT = "bin_data"  # how MP4 shows its chapters as a stream; they are copied as chapters


@dataclass(frozen=True)
class Cut:
    """The part of a video that is taken, in seconds; all of it where both are None.

    Attributes:
        start: The time of the first frame; times of the result count from there.
        end: The time before which the last frame lies.
    """

    start: Fraction | None = None
    end: Fraction | None = None

    @property
    def shift(self) -> Fraction:
        """What is taken from times, in seconds."""
        return self.start or Fraction(0)

    def holds(self, time: Fraction) -> bool:
        """Whether a frame at this time belongs to it."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


def name_of(stream: Stream) -> str:
    """A stream for people, such as `subtitle 3 (subrip, eng)`."""
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else ""
    about = [codec, stream.language or "", stream.metadata.get("filename", "")]
    words = ", ".join(word for word in about if word)
    return f"{stream.type} {stream.index}" + (f" ({words})" if words else "")


def copied(
    source: Source, container: OutputContainer, video: Callable[[], object]
) -> tuple[dict[int, Stream], list[str]]:
    """Add all streams of a source to a file, in their order.

    Args:
        source: The source.
        container: The file, open for writing.
        video: Called where the stream that is upscaled has its turn; it adds that one.

    Returns:
        the new stream by the number of the old one, and sentences on those that the file cannot hold.
    """
    made: dict[int, Stream] = {}
    left = []
    for stream in source.container.streams:
        if stream.index == source.stream.index:
            video()
            continue
        if stream.type == "data" and stream.name == CHAPTER_TEXT:
            continue
        if not _fits(source.av, stream, container.format.name):
            left.append(f"{name_of(stream)} is not in the result: {container.format.name} cannot hold it")
            continue
        new = container.add_stream_from_template(stream, opaque=True)
        new.metadata.update(stream.metadata)
        new.disposition = stream.disposition
        made[stream.index] = new
    return made, left


def _fits(av: Any, stream: Stream, form: str) -> bool:
    """Whether a file of a format can hold a stream: one is begun with it alone, in memory."""
    trial = av.open(io.BytesIO(), "w", format=form)
    try:
        trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
    except (ValueError, av.error.FFmpegError, OSError):
        return False
    with contextlib.suppress(av.error.FFmpegError, OSError):
        trial.close()
    return True


def packets(source: Source, streams: dict[int, Stream], cut: Cut) -> Iterator[Packet[Any]]:
    """The packets of the copied streams, with times that count from the beginning of the cut."""
    wanted = [stream for stream in source.container.streams if stream.index in streams and stream.type != "attachment"]
    if not wanted:
        return
    demuxed = source.container.demux(*wanted)
    while True:
        try:
            packet = next(demuxed, None)
        except (source.av.error.InvalidDataError, source.av.error.EOFError, OSError):
            return  # a broken tail, which decoding has noted
        if packet is None:
            return
        picture = bool(packet.stream.disposition & source.av.stream.Disposition.attached_pic)
        if picture and packet.pts is None:
            packet.pts = packet.dts = 0
        if packet.size == 0 or (packet.pts is None and packet.dts is None):
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        time = (stamp or 0) * packet.time_base
        if not picture and not cut.holds(time):
            continue
        shift = 0 if picture else round(cut.shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = streams[packet.stream.index]
        yield packet


def chapters(source: Source, cut: Cut) -> list[Any]:
    """The chapters of a source, in the times of the result."""
    kept = []
    for chapter in source.container.chapters():
        base = chapter["time_base"] or Fraction(1)
        start, end = chapter["start"] * base, chapter["end"] * base
        if (cut.end is not None and start >= cut.end) or end <= cut.shift:
            continue
        first = max(start, cut.shift) if cut.start is not None else start
        last = end if cut.end is None else min(end, cut.end)
        kept.append({**chapter, "start": round((first - cut.shift) / base), "end": round((last - cut.shift) / base)})
    return kept


def file_tags(source: Source) -> dict[str, str]:
    """The metadata of a source that its result has too."""
    return {key: value for key, value in source.container.metadata.items() if key.lower() not in FILE_TAGS}


def stream_tags(source: Source) -> dict[str, str]:
    """The metadata of the video stream that its result has too: not what counts its old packets."""
    return {
        key: value
        for key, value in source.stream.metadata.items()
        if key.lower().split("-")[0] not in STREAM_TAGS and not key.startswith("_STATISTICS")
    }
