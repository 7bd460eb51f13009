"""Pixels of another colour space made sRGB, for formats that cannot say what their numbers mean."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from sharpbit.errors import ImageError
from sharpbit.image.data import Array
from sharpbit.image.space import ColourSpace

_NEAR = 1  # of 255: what differs by no more from sRGB needs no conversion


def conversion(space: ColourSpace, kind: str, channels: int) -> tuple[Callable[[Array], Array] | None, tuple[str, ...]]:
    """What turns rows into sRGB for a format that holds no other colours, and a note where that changes anything.

    Args:
        space: The description of the pixels.
        kind: The format, such as `GIF`.
        channels: 1 for grey, 3 for RGB.
    """
    try:
        convert = to_srgb(space, channels)
    except ImageError as error:
        return None, (f"{space.name} left out ({error})",)
    return convert, () if convert is None else (converted(kind),)


def converted(kind: str) -> str:
    """The note on colours that a format holds as sRGB only."""
    return f"colours converted to sRGB ({kind} holds no other)"


def to_srgb(space: ColourSpace, channels: int) -> Callable[[Array], Array] | None:
    """What turns rows `(h, W, channels)` of 8 bits into sRGB; None where they are as good as that.

    Args:
        space: The description of the pixels.
        channels: 1 for grey, 3 for RGB.

    Raises:
        ImageError: nobody knows how.
    """
    profile = space.profile(channels)
    if profile is None:
        return None
    from PIL import ImageCms  # with the library behind it, a twentieth of a cold start

    mode = "L" if channels == 1 else "RGB"
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ImageError("its profile cannot be used") from error

    def convert(rows: Array) -> Array:
        pil_image = Image.fromarray(np.ascontiguousarray(rows[..., 0] if channels == 1 else rows))
        made = ImageCms.applyTransform(pil_image, transform)
        return np.asarray(made)[..., :channels]

    steps = np.linspace(0, 255, 18).astype(np.uint8)
    some = np.stack(np.meshgrid(*[steps] * channels), axis=-1).reshape(1, -1, channels)
    return None if np.abs(convert(some).astype(int) - some).max() <= _NEAR else convert
