"""Encoders: their names, licences, defaults, and the pixel formats that suit a video."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sharpbit.errors import UsageError, VideoError
from sharpbit.video import libav
from sharpbit.video.colour import BT709, FULL, LIMITED, RGB, Colour, colour_shift

if TYPE_CHECKING:
    from sharpbit.video.opening import Shape

LGPL = "LGPL-2.1-or-later, FFmpeg's own"


@dataclass(frozen=True)
class Encoder:
    """An encoder, and how it is used.

    Attributes:
        codec: Its name in libav.
        licence: Its licence.
        quality: The option that holds its quality; empty where it has none.
        default: The value of that option by default.
        options: Its other options by default.
        even: Whether sides have to be even where colours have half the resolution.
        lossless: Whether it keeps every pixel, and so gets RGB.
        least: The smallest side that it takes, in pixels.
    """

    codec: str
    licence: str
    quality: str = ""
    default: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    even: bool = False
    lossless: bool = False
    least: int = 1


SVT_LEAST = 32  # SVT-AV1 waits for ever where one side has 24 pixels or less and the other more than 64
ENCODERS = {
    "av1": Encoder("libsvtav1", "BSD-3-Clause-Clear, SVT-AV1", "crf", "25", {"preset": "10"}, least=SVT_LEAST),
    "vp9": Encoder(
        "libvpx-vp9",
        "BSD-3-Clause, libvpx",
        "crf",
        "24",
        {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    ),
    "ffv1": Encoder("ffv1", LGPL, options={"level": "3", "slices": "4", "slicecrc": "1"}, lossless=True),
    "prores": Encoder("prores_ks", LGPL, options={"profile": "hq"}),
    "h264": Encoder("libx264", "GPL-2.0-or-later, x264", "crf", "18", {"preset": "medium"}, even=True),
    "h265": Encoder(
        "libx265",
        "GPL-2.0-or-later, x265",
        "crf",
        "20",
        {"preset": "medium", "x265-params": "log-level=none"},
        even=True,
    ),
}
DEFAULT = "av1"
_KINDS = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (0, 1): "440"}


@dataclass(frozen=True)
class Encoding:
    """An encoder with everything that is decided about one video.

    Attributes:
        encoder: The encoder.
        format: The pixel format that it gets.
        colour: What the numbers of the result mean.
        options: All options, those of the user last.
        notes: Sentences on what the encoder does not keep of the source.
    """

    encoder: Encoder
    format: str
    colour: Colour
    options: dict[str, str]
    notes: tuple[str, ...]


def encoder_of(name: str) -> Encoder:
    """The encoder that a name stands for: one of `ENCODERS`, or any video encoder of libav.

    Raises:
        UsageError: There is none.
    """
    if name in ENCODERS:
        return _there(ENCODERS[name])
    for known in ENCODERS.values():
        if known.codec == name:
            return _there(known)
    return _there(Encoder(name, "see FFmpeg's documentation"))


def _there(encoder: Encoder) -> Encoder:
    av = libav()
    try:
        kind = av.Codec(encoder.codec, "w").type
    except (av.error.FFmpegError, ValueError):
        kind = ""
    if kind != "video":
        known = ", ".join(f"{name} ({each.codec})" for name, each in ENCODERS.items())
        raise UsageError(f"there is no video encoder {encoder.codec!r} here; give one of {known}, or another of FFmpeg")
    os.environ.setdefault("SVT_LOG", "0")  # it prints past all of Python; errors are told here
    return encoder


def encoding_of(
    name: str,
    shape: Shape,
    size: tuple[int, int],
    *,
    quality: str | None = None,
    options: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002
) -> Encoding:
    """How a video is encoded.

    Args:
        name: The name of the encoder.
        shape: What the frames of the source are.
        size: The height and the width of the result.
        quality: The quality, as the encoder counts it; None takes its default.
        options: Options of the encoder.
        format: The pixel format; None takes what comes nearest to the source.

    Raises:
        UsageError: No such encoder or pixel format, or it has no quality.
    """
    av = libav()
    encoder = encoder_of(name)
    codec = av.Codec(encoder.codec, "w")
    known = [each.name for each in codec.video_formats or []]
    if min(size) < encoder.least:
        raise VideoError(
            f"{encoder.codec} takes no side of less than {encoder.least} pixels, and the result has"
            f" {size[1]}x{size[0]}; give another --encoder, such as vp9"
        )
    odd = encoder.even and (size[0] % 2 or size[1] % 2)
    if format is not None and known and format not in known:
        raise UsageError(f"{encoder.codec} has no pixel format {format!r}; it has {', '.join(known)}")
    chosen = format or _nearest(known, shape.colour, rgb=encoder.lossless, full_colour=bool(odd))
    if chosen is None:
        raise VideoError(f"{encoder.codec} has no pixel format for {size[1]}x{size[0]}; give another --encoder")
    if quality is not None and not encoder.quality:
        raise UsageError(f"{encoder.codec} has no --crf; give its own options with --option")
    colour, notes = _colour(shape.colour, av.VideoFormat(chosen, 2, 2))
    if odd and colour.shift == (0, 0) and shape.colour.shift != (0, 0):
        notes.append(f"{encoder.codec} takes odd sizes in full colour resolution only, so the result has it")
    all_options = {**({encoder.quality: quality or encoder.default} if encoder.quality else {}), **encoder.options}
    return Encoding(encoder, chosen, colour, {**all_options, **(options or {})}, tuple(notes))


def _nearest(known: list[str], colour: Colour, *, rgb: bool, full_colour: bool) -> str | None:
    """The pixel format of an encoder that comes nearest to what the source has."""
    if rgb or (colour.matrix == RGB and "gbrp" in known):
        wanted = ["gbrp16le", "rgb48le", "gbrp12le", "gbrp10le"] if colour.deep else ["bgr0", "gbrp", "rgb24"]
    else:
        kind = "444" if full_colour else _KINDS.get(colour.shift, "420")
        if colour.matrix == RGB or colour.grey:
            kind = "444" if full_colour else "420"
        kinds = list(dict.fromkeys([kind, *([] if full_colour else ["420", "422"]), "444"]))
        ends = ("12le", "10le", "") if colour.bits > 10 else ("10le", "12le", "") if colour.deep else ("", "10le")
        wanted = [f"yuv{each}p{end}" for end in ends for each in kinds]
        full = colour.range == FULL and not colour.deep
        wanted = [*([f"yuvj{each}p" for each in kinds] if full and "yuv420p" not in known else []), *wanted]
    return next((each for each in wanted if each in known), known[0] if known else wanted[0])


def _colour(source: Colour, form: Any) -> tuple[Colour, list[str]]:
    """What the numbers of a result in a pixel format mean, and what is lost."""
    bits, shift = max(component.bits for component in form.components), colour_shift(form)
    made, notes = replace(source, bits=bits, shift=shift, grey=False), []
    if bits < min(source.bits, 10):
        notes.append(f"{form.name} holds {bits} bits per sample: {source.bits} were rounded")
    if form.is_rgb:
        return replace(made, matrix=RGB, range=FULL), notes
    if any(mine < its for mine, its in zip(source.shift, shift, strict=True)) and not source.grey:
        notes.append(f"{form.name} holds colours at a lower resolution than the source does")
    if source.matrix == RGB:
        return replace(made, matrix=BT709, range=LIMITED), notes
    return replace(
        made, range=FULL if form.name.startswith("yuvj") else LIMITED if source.grey else source.range
    ), notes
