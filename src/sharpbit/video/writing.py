"""Encode frames into packets, in segments that each begin anew."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sharpbit.errors import VideoError
from sharpbit.system import priority
from sharpbit.video import libav
from sharpbit.video.encoders import Encoding
from sharpbit.video.hdr import with_hdr

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

GLOBAL_HEADER, BITEXACT = 1 << 22, 1 << 23  # as libav counts them


@dataclass(frozen=True)
class Track:
    """What an encoder needs to know of the video that it makes.

    Attributes:
        encoding: The encoder and its options.
        height: The height of the result in pixels.
        width: The width of the result in pixels.
        aspect: The width of a pixel in proportion to its height.
        time_base: The unit of time stamps in seconds.
        rate: The frames of a second.
        turn: The display matrix, or None.
        side_data: HDR metadata, as bytes by name.
    """

    encoding: Encoding
    height: int
    width: int
    aspect: Fraction
    time_base: Fraction
    rate: Fraction
    turn: tuple[int, ...] | None
    side_data: dict[str, bytes]

    def add_to(self, container: OutputContainer) -> VideoStream:
        """Add the stream of this video to a file that is open for writing.

        Raises:
            VideoError: The file cannot hold it.
        """
        try:
            stream: Any = container.add_stream(self.encoding.encoder.codec, rate=self.rate)
        except ValueError:
            raise VideoError(self.misfit(container.format.name)) from None
        self.set_up(stream.codec_context)
        stream.time_base = self.time_base
        if self.turn is not None:
            stream.set_display_matrix(self.turn)
        return stream  # type: ignore[no-any-return]

    def misfit(self, form: str) -> str:
        """The sentence for a file that cannot hold this video."""
        return (
            f"a file of the format {form} holds no video of {self.encoding.encoder.codec}; give"
            " another --encoder, or another ending of the output, such as .mp4 or .mkv"
        )

    def set_up(self, context: VideoCodecContext) -> None:
        """Set everything that an encoder has to know before it is opened."""
        colour = self.encoding.colour
        context.width, context.height, context.pix_fmt = self.width, self.height, self.encoding.format
        context.time_base, context.framerate = self.time_base, self.rate
        context.sample_aspect_ratio = self.aspect
        context.color_range, context.colorspace = colour.range, colour.matrix
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        context.options = with_hdr(self.encoding, self.side_data)
        context.thread_type = "AUTO"
        context.flags |= GLOBAL_HEADER | BITEXACT


def opened(context: VideoCodecContext, track: Track) -> None:
    """Open an encoder.

    Raises:
        VideoError: It does not take this video, or one of its options.
    """
    av = libav()
    try:
        with priority.kept():
            context.open(strict=False)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        encoder = track.encoding
        options = " ".join(f"{key}={value}" for key, value in encoder.options.items())
        raise VideoError(
            f"{encoder.encoder.codec} does not take {track.width}x{track.height} {encoder.format} with the options"
            f" {options or 'none'}: {getattr(error, 'strerror', None) or error}"
        ) from None
    if context.options:  # those that nobody took
        unknown = ", ".join(sorted(context.options))
        raise VideoError(f"{track.encoding.encoder.codec} has no option {unknown}; see FFmpeg's documentation of it")


@dataclass(frozen=True)
class Moment:
    """When a frame is shown: its time stamp and its duration in units of the time base, 0 where nobody knows."""

    pts: int
    duration: int


@dataclass(frozen=True)
class Coded:
    """One frame as an encoder has made it.

    Attributes:
        pts: When it is shown.
        duration: How long, in the same units.
        key: Whether decoding may begin here.
        data: Its bytes.
    """

    pts: int
    duration: int
    key: bool
    data: bytes


class Segment:
    """An encoder for some frames in a row, the first of which needs none before it.

    Args:
        track: The video that the frames belong to.

    Raises:
        VideoError: The encoder does not take this video.
    """

    def __init__(self, track: Track) -> None:
        self._av = libav()
        self._track, self._durations = track, dict[int, int]()
        self._context = self._av.CodecContext.create(track.encoding.encoder.codec, "w")
        track.set_up(self._context)
        opened(self._context, track)

    @property
    def count(self) -> int:
        """The number of frames so far."""
        return len(self._durations)

    def add(self, frame: VideoFrame, moment: Moment) -> list[Coded]:
        """Encode one frame; the packets that are ready."""
        frame.pts, frame.time_base = moment.pts, self._track.time_base
        frame.pict_type = 1 if not self._durations else 0
        self._durations[moment.pts] = moment.duration
        return [self._coded(packet) for packet in self._context.encode(frame)]

    def finish(self) -> list[Coded]:
        """The packets that were still in the encoder."""
        return [self._coded(packet) for packet in self._context.encode(None)]

    def _coded(self, packet: Any) -> Coded:
        return Coded(packet.pts, self._durations[packet.pts], packet.is_keyframe, bytes(packet))
