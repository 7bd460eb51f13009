"""What size a result should have."""

from __future__ import annotations

from dataclasses import dataclass

from sharpbit.errors import UsageError
from sharpbit.image.rounding import half_up
from sharpbit.pipeline.arguments import number, pair, whole

MOST = 16  # times that a side may grow


@dataclass(frozen=True)
class Size:
    """What size the result should have: a factor, or pixels. At most one of `scale`, `fit` and width or height.

    Attributes:
        scale: The factor of both sides; None takes the model's.
        width: The width in pixels; the height follows unless it is given too.
        height: The height in pixels; the width follows unless it is given too.
        fit: The height and the width in pixels within which the largest size of the same shape is taken; exactly
            these where the image has their shape but for the rounding of its own sides, as 854x480 has that of
            1920x1080.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    fit: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, checked in (("scale", number), ("width", whole), ("height", whole), ("fit", pair)):
            object.__setattr__(self, name, checked(name, getattr(self, name)))
        asked = [self.scale is not None, self.fit is not None, self.width is not None or self.height is not None]
        if sum(asked) > 1:
            raise UsageError("give one of scale, fit, and width or height, not several")
        numbers = [self.width, self.height, *(self.fit or ())]
        for side in numbers:
            if side is not None and not 0 < side <= 1 << 20:
                raise UsageError(f"a size must be above 0 and at most {1 << 20} pixels, not {side}")
        if self.scale is not None and not 1 <= self.scale <= MOST:
            raise UsageError(
                f"a scale is a number from 1 to {MOST}, not {self.scale:g}; a size in pixels is given with --width,"
                " --height or --fit"
            )

    @property
    def in_pixels(self) -> bool:
        """Whether the result's size does not follow from a factor."""
        return self.scale is None and (self.fit or self.width or self.height) is not None

    def of(self, height: int, width: int, default: float) -> tuple[int, int]:
        """Height and width of the result for an image of this size; `default` is the factor where none was given.

        Half a pixel becomes a whole one.

        Raises:
            UsageError: it would be more than `MOST` times as high or wide; a slip of the key asks for terabytes.
        """
        if self.height and self.width:
            return self._bounded(height, width, (self.height, self.width))
        if self.fit:
            if _alike(height, width, self.fit):
                return self._bounded(height, width, self.fit)
            factor = min(self.fit[0] / height, self.fit[1] / width)
        elif self.height or self.width:
            factor = self.height / height if self.height else (self.width or 0) / width
        else:
            factor = self.scale or default
        return self._bounded(height, width, (max(1, half_up(height * factor)), max(1, half_up(width * factor))))

    def _bounded(self, height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
        if max(size[0] / height, size[1] / width) > MOST:
            raise UsageError(
                f"an image of {width}x{height} would become {size[1]}x{size[0]}; it grows at most {MOST} times a side"
            )
        return size


def _alike(height: int, width: int, fit: tuple[int, int]) -> bool:
    """Whether a side is less than a pixel, and less than a hundredth, away from giving exactly the shape of `fit`."""
    off = abs(width - height * fit[1] / fit[0])
    return (off < 1 or off * fit[0] / fit[1] < 1) and off < width / 100
