"""Frames of a video as RGB and back, with the matrix and the range that they have.

Of 8 bits swscale converts, with flags that make it exact: a frame comes within half a level of what the formulas of
the standards give, where its defaults are up to 10 levels off. Of more bits it maps white to 1020 of 1023, so those are
converted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sharpbit.errors import VideoError

if TYPE_CHECKING:
    from av import VideoFrame

Array = NDArray[Any]
Floats = NDArray[np.float32]

LIMITED, FULL = 1, 2
RGB, BT709, UNKNOWN, FCC, BT470BG, SMPTE170M, SMPTE240M, BT2020 = 0, 1, 2, 4, 5, 6, 7, 9
WEIGHTS = {  # of red and blue in luma: ITU-T H.273, table 4
    BT709: (0.2126, 0.0722),
    FCC: (0.30, 0.11),
    BT470BG: (0.299, 0.114),
    SMPTE170M: (0.299, 0.114),
    SMPTE240M: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
NAMES = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "SMPTE ST 2085", 14: "ICtCp"}
SD = 576  # rows up to which a video that does not say its matrix has that of BT.601, as players take it
_SWSCALE = {SMPTE170M: BT470BG}  # one matrix with two numbers; swscale takes the first


@dataclass(frozen=True)
class Colour:
    """What the numbers of a video mean, by ITU-T H.273 and libav's numbers.

    Attributes:
        matrix: The matrix between RGB and the planes of the file; 0 for RGB itself.
        range: 1 (limited: 16 to 235 of 255) or 2 (full).
        primaries: The primaries; 2 where the video does not say.
        transfer: The transfer function; 2 where the video does not say.
        bits: The bits of a sample.
        shift: How often the width and the height of the colour planes are halved.
        grey: Whether there are no colours.
        guessed: Whether the video does not say its matrix, which its height has decided.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int
    bits: int
    shift: tuple[int, int]
    grey: bool
    guessed: bool

    @property
    def deep(self) -> bool:
        """Whether a sample has more than 8 bits."""
        return self.bits > 8


def colour_of(frame: VideoFrame, name: str) -> Colour:
    """What the numbers of a frame mean.

    Args:
        frame: The first frame of a video.
        name: The name of the video, for errors.

    Raises:
        VideoError: Its matrix is one that cannot be undone here.
    """
    form = frame.format
    grey = len(form.components) < 3 and not form.has_palette
    rgb = form.is_rgb or form.has_palette
    full = rgb or grey or form.name.startswith("yuvj")
    matrix, said = int(frame.colorspace), int(frame.color_range)
    guessed = matrix in (UNKNOWN, 3) or (matrix == RGB and not rgb)
    if guessed:
        matrix = SMPTE170M if frame.height <= SD else BT709
    if rgb:
        matrix, guessed = RGB, False
    if matrix not in WEIGHTS and matrix != RGB:
        raise VideoError(
            f"the colours of {name} are in {NAMES.get(matrix, f'matrix {matrix}')}, which is not converted here;"
            " convert it first, such as with ffmpeg -vf zscale=matrix=2020_ncl"
        )
    bits = max(component.bits for component in form.components)
    chroma = (0, 0) if rgb or grey else colour_shift(form)
    return Colour(
        matrix,
        said if said in (LIMITED, FULL) and not full else FULL if full else LIMITED,
        int(frame.color_primaries),
        int(frame.color_trc),
        bits,
        chroma,
        grey,
        guessed,
    )


def colour_shift(form: Any) -> tuple[int, int]:
    """How often the width and the height of the colour planes of a format are halved."""
    return (
        (1 << 10).bit_length() - (form.chroma_width(1 << 10)).bit_length(),
        (1 << 10).bit_length() - (form.chroma_height(1 << 10)).bit_length(),
    )


def to_rgb(frame: VideoFrame, colour: Colour) -> Array:
    """A frame as `(H, W, 3)`: uint8, or uint16 where a sample has more than 8 bits."""
    _mark(frame, colour)
    if not colour.deep:
        made = frame.reformat(format="rgb24", interpolation=_flags(), threads=1)
        return np.ascontiguousarray(made.to_ndarray())
    if colour.matrix == RGB or colour.grey:
        planar = frame.reformat(format="gbrp16le" if not colour.grey else "gray16le", threads=1)
        pixels = planar.to_ndarray(channel_last=True) if not colour.grey else planar.to_ndarray()[..., None]
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    y, u, v = (plane.astype(np.float32) for plane in _planes(frame, colour))
    u, v = (_raised(plane, y.shape, colour.shift) for plane in (u, v))
    unit, black, middle, luma, chroma = _levels(colour)
    y, u, v = (y - black) / (luma * unit), (u - middle) / (chroma * unit), (v - middle) / (chroma * unit)
    red, blue = (np.float32(weight) for weight in WEIGHTS[colour.matrix])
    out = np.empty((*y.shape, 3), np.float32)
    out[..., 0] = y + 2 * (1 - red) * v
    out[..., 2] = y + 2 * (1 - blue) * u
    out[..., 1] = (y - red * out[..., 0] - blue * out[..., 2]) / (1 - red - blue)
    np.clip(out, 0, 1, out=out)
    return np.rint(out * np.float32(65535), out=out).astype(np.uint16)


def same(one: VideoFrame, other: VideoFrame) -> bool:
    """Whether two frames of one video have the same samples; False also where only what lies behind rows differs."""
    planes = zip(one.planes, other.planes, strict=True)
    return all(np.array_equal(*(np.frombuffer(plane, np.uint8) for plane in pair)) for pair in planes)  # type: ignore[call-overload]


def _mark(frame: VideoFrame, colour: Colour) -> None:
    """Say on a frame what is known of the whole video, so that swscale need not guess."""
    if colour.matrix != RGB:
        frame.colorspace = colour.matrix
        frame.color_range = colour.range


def _flags() -> int:
    from av.video.reformatter import Interpolation as Flags

    return int(Flags.BILINEAR | Flags.FULL_CHR_H_INT | Flags.FULL_CHR_H_INP | Flags.ACCURATE_RND | Flags.BITEXACT)


class Painter:
    """Makes frames of a result out of its pixels; for several threads, once the source is not read meanwhile.

    Args:
        sample: A frame of the source: where its colours lie between pixels, those of the result do. None puts them in
            the middle, as y4m has them.
        colour: What the numbers of the result mean.
        size: The height and the width of the result.
        format: The pixel format of the result.
        deep: Whether the pixels of the result are uint16.
    """

    def __init__(
        self,
        sample: VideoFrame | None,
        colour: Colour,
        size: tuple[int, int],
        format: str,  # noqa: A002
        *,
        deep: bool,
    ) -> None:
        from av import VideoFrame

        self._colour, self._format = colour, format
        self._canvas: VideoFrame | None = None
        self._lock = Lock()
        if not deep:
            if sample is None:
                sample = VideoFrame(size[1], size[0], "yuv420p")
            self._canvas = sample.reformat(width=size[1], height=size[0], format="rgb24", threads=1)

    def __call__(self, pixels: Array) -> VideoFrame:
        """The frame of an image `(H, W, 3)` of uint8, or of uint16."""
        from av import VideoFrame

        pixels = np.ascontiguousarray(pixels)
        if self._canvas is None:
            return self._deep(pixels)
        if self._colour.matrix == RGB:
            return VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=self._format, threads=1)
        with self._lock:
            return self._shallow(self._canvas, pixels)

    def _shallow(self, canvas: VideoFrame, pixels: Array) -> VideoFrame:
        plane = canvas.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
        rows[:, : pixels.shape[1] * 3] = pixels.reshape(len(pixels), -1)
        canvas.color_range = FULL
        matrix = _SWSCALE.get(self._colour.matrix, self._colour.matrix)
        return canvas.reformat(
            format=self._format,
            interpolation=_flags(),
            dst_colorspace=matrix,
            dst_color_range=self._colour.range,
            threads=1,
        )

    def _deep(self, pixels: Array) -> VideoFrame:
        from av import VideoFrame

        colour = self._colour
        if colour.matrix == RGB:
            return VideoFrame.from_ndarray(pixels, "rgb48le").reformat(format=self._format, threads=1)
        rgb = pixels.astype(np.float32) / np.float32(65535)
        red, blue = (np.float32(weight) for weight in WEIGHTS[colour.matrix])
        y = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
        u, v = (rgb[..., 2] - y) / (2 * (1 - blue)), (rgb[..., 0] - y) / (2 * (1 - red))
        unit, black, middle, luma, chroma = _levels(colour)
        frame = VideoFrame(pixels.shape[1], pixels.shape[0], self._format)
        planes = [y * (luma * unit) + black]
        if len(frame.planes) == 3:
            planes += [_lowered(plane, colour.shift) * (chroma * unit) + middle for plane in (u, v)]
        for plane, values in zip(frame.planes, planes, strict=True):
            dtype = "<u2" if colour.deep else "u1"
            rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)  # type: ignore[call-overload]
            rows[:, : values.shape[1]] = np.rint(np.clip(values, 0, (1 << colour.bits) - 1)).astype(dtype)
        _mark(frame, colour)
        return frame


def _levels(colour: Colour) -> tuple[Any, Any, Any, Any, Any]:
    """The size of a step, black, the middle of colours, and how many steps luma and colours have."""
    if colour.range == FULL:
        most = (1 << colour.bits) - 1
        return np.float32(1), np.float32(0), np.float32(1 << (colour.bits - 1)), np.float32(most), np.float32(most)
    step = np.float32(1 << (colour.bits - 8))
    return step, 16 * step, 128 * step, np.float32(219), np.float32(224)


def _planes(frame: VideoFrame, colour: Colour) -> list[Array]:
    """The three planes of a frame of more than 8 bits, in whatever order its format has them."""
    names = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (0, 1): "440"}
    kind = names.get(colour.shift)
    planar = f"yuv{kind}p{colour.bits}le"
    if frame.format.name != planar and kind is not None:
        frame = frame.reformat(format=planar, threads=1)
    found = []
    for plane in frame.planes[:3]:
        rows = np.frombuffer(plane, "<u2").reshape(plane.height, -1)  # type: ignore[call-overload]
        found.append(rows[:, : plane.width])
    return found


def _raised(plane: Floats, size: tuple[int, ...], shift: tuple[int, int]) -> Floats:
    """A colour plane at the size of luma, linearly; it lies on the left pixel of each pair, and between rows."""
    if shift[1]:
        plane = _spread(plane, 0, size[0], np.float32(0.5))
    return _spread(plane, 1, size[1], np.float32(0)) if shift[0] else plane


def _spread(plane: Floats, axis: int, size: int, offset: np.float32) -> Floats:
    """Twice as many samples along an axis: the sample `k` lies at `2 * k + offset`."""
    place = (np.arange(size, dtype=np.float32) - offset) / 2
    low = np.floor(place).astype(np.intp)
    weight = (place - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
    first, second = (np.take(plane, np.clip(k, 0, plane.shape[axis] - 1), axis) for k in (low, low + 1))
    made: Floats = first * (1 - weight) + second * weight
    return made


def _lowered(plane: Floats, shift: tuple[int, int]) -> Floats:
    """A colour plane at its own size, out of one of the size of luma."""
    if shift[1]:
        plane = np.pad(plane, ((0, plane.shape[0] % 2), (0, 0)), mode="edge")
        plane = (plane[0::2] + plane[1::2]) / np.float32(2)
    if shift[0]:
        wide = np.pad(plane, ((0, 0), (1, 1 + plane.shape[1] % 2)), mode="edge")
        plane = (wide[:, 0:-2:2] + 2 * wide[:, 1:-1:2] + wide[:, 2::2]) / np.float32(4)
    return plane
