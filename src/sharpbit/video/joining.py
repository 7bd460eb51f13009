"""The finished file: encoded segments, and everything else that the source holds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharpbit.errors import VideoError
from sharpbit.system.atomic import open_atomic
from sharpbit.video import copying, libav
from sharpbit.video.copying import Cut
from sharpbit.video.opening import Source
from sharpbit.video.parts import Parts
from sharpbit.video.writing import Track, opened

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

HOLDS = {"mpegts": ("libx264", "libx265", "mpeg2video", "mpeg1video", "mpeg4")}  # what is written, and found again
SQUARE = ("libsvtav1", "libvpx-vp9")  # encoders whose streams do not say the shape of pixels, as the file has to
BUFFER = 1 << 20  # bytes that are written at a time


def check_format(output: Path) -> None:
    """Raise before the work where no format has the ending of the output.

    Raises:
        VideoError: There is none.
    """
    av = libav()
    _format(av, output)


def check_track(output: Path, track: Track) -> None:
    """Raise before the work where the format cannot hold the video, or the encoder does not take it.

    Raises:
        VideoError: One of both is so.
    """
    av = libav()
    form = _format(av, output)
    if track.encoding.encoder.codec not in HOLDS.get(form, (track.encoding.encoder.codec,)):
        raise VideoError(track.misfit(form))
    if track.aspect != 1 and form in ("matroska", "webm") and track.encoding.encoder.codec in SQUARE:
        raise VideoError(
            f"{output}: pixels of {track.aspect.numerator}:{track.aspect.denominator} cannot be written into"
            f" {form} with {track.encoding.encoder.codec}; name the output .mp4, or give --encoder h264 or ffv1"
        )
    container = av.open(io.BytesIO(), "w", format=form)
    opened(track.add_to(container).codec_context, track)
    try:
        with container:
            container.start_encoding()
    except (av.error.FFmpegError, OSError):
        raise VideoError(track.misfit(form)) from None


def join(source_path: str, output: Path, track: Track, parts: Parts, cut: Cut, *, overwrite: bool) -> list[str]:
    """Write the finished video; it appears complete or not at all.

    Args:
        source_path: The path of the source, whose other streams are copied; `-` has none.
        output: The path of the result; its ending decides the format.
        track: The video stream of the result.
        parts: Its encoded segments.
        cut: The part of the source that was taken.
        overwrite: Whether `output` is replaced if it exists.

    Returns:
        Sentences on streams that the format cannot hold.

    Raises:
        VideoError: The format cannot hold the video.
        OutputExists: `output` exists, and `overwrite` is false.
    """
    av = libav()
    with open_atomic(output, overwrite=overwrite) as file:
        container = av.open(file, "w", format=_format(av, output), buffer_size=BUFFER)
        try:
            with container:
                container.flags |= int(av.container.Flags.bitexact.value)
                if source_path == "-":
                    stream = _video(container, track)
                    _mux(container, stream, track, parts, iter(()))
                    return []
                with Source(source_path, decode=False) as source:
                    return _join(container, source, track, parts, cut)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno and error.errno > 0:
                raise OSError(error.errno, error.strerror, str(output)) from None
            raise VideoError(f"{output} cannot be written: {error.strerror}") from None


def _join(container: OutputContainer, source: Source, track: Track, parts: Parts, cut: Cut) -> list[str]:
    made: list[VideoStream] = []

    def video() -> None:
        made.append(_video(container, track))
        made[0].metadata.update(copying.stream_tags(source))
        made[0].disposition = source.stream.disposition

    streams, left = copying.copied(source, container, video)
    container.metadata.update(copying.file_tags(source))
    if chapters := copying.chapters(source, cut):
        container.set_chapters(chapters)
    _mux(container, made[0], track, parts, copying.packets(source, streams, cut))
    return left


def _video(container: OutputContainer, track: Track) -> VideoStream:
    stream = track.add_to(container)
    opened(stream.codec_context, track)
    return stream


def _mux(
    container: OutputContainer, stream: VideoStream, track: Track, parts: Parts, others: Iterator[Packet[Any]]
) -> None:
    """Write all packets, those of the video and the others in the order of their times."""
    other = next(others, None)
    for packet in _timed(parts, stream, track.time_base):
        while other is not None and _time(other) <= _time(packet):
            container.mux_one(other)
            other = next(others, None)
        container.mux_one(packet)
    while other is not None:
        container.mux_one(other)
        other = next(others, None)


def _time(packet: Packet[Any]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return (stamp or 0) * packet.time_base


def _timed(parts: Parts, stream: VideoStream, time_base: Fraction) -> Iterator[Packet[Any]]:
    """The packets of all segments with times of decoding that rise over the whole video."""
    from av import Packet

    for coded, dts in zip(parts.packets(), decoding_times(parts.times()), strict=True):
        packet: Packet[Any] = Packet(coded.data)
        packet.pts, packet.dts, packet.duration = coded.pts, dts, coded.duration
        packet.time_base, packet.is_keyframe = time_base, coded.key
        packet.stream = stream
        yield packet


def decoding_times(times: Sequence[int]) -> list[int]:
    """When each frame is decoded: as the times of showing rise, as much earlier as the order of encoding needs.

    Args:
        times: When frames are shown, in the order in which they were encoded.
    """
    shown = sorted(times)
    place = {time: number for number, time in enumerate(shown)}
    delay = max((number - place[time] for number, time in enumerate(times)), default=0)
    step = min((after - before for before, after in pairwise(shown)), default=1)
    early = [shown[0] - step * (delay - number) for number in range(delay)] if shown else []
    return (early + shown)[: len(shown)]


def _format(av: Any, output: Path) -> str:
    """The name of libav's format for the ending of a file."""
    ending = output.suffix.lower().lstrip(".")
    known = {"mkv": "matroska", "m4v": "mp4", "ts": "mpegts", "m2ts": "mpegts", "y4m": "yuv4mpegpipe", "mpg": "mpeg"}
    name = known.get(ending, ending)
    try:
        form = av.format.ContainerFormat(name, "w")
    except ValueError:
        raise VideoError(
            f"{output}: the ending {output.suffix or '(none)'} is no format of videos; give .mp4, .mkv, .webm, .mov or"
            " .avi"
        ) from None
    return str(form.name)
