"""Animated WebP, whose encoder looks for what changed itself, and takes all frames at once."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
from PIL import Image

from sharpbit.image.animation.frame import Animation, Drawn, still
from sharpbit.image.muted_decoder import quiet


class WebpWriter:
    """Gathers the frames, which are encoded at the end.

    Args:
        file: The file, which can seek and be read.
        animation: What all frames share.
    """

    def __init__(self, file: BinaryIO, animation: Animation) -> None:
        self._file, self._animation = file, animation
        self._images: list[Image.Image] = []
        self._durations: list[int] = []
        self._info: dict[str, object] = {}
        self.notes: tuple[str, ...] = ()

    def add(self, frame: Drawn) -> None:
        """Add a frame."""
        pixels, alpha, shared = frame.pixels, frame.alpha, self._animation
        if not self._images:
            data, self.notes = still("WEBP", *frame.part((0, 0, 1, 1)), shared, shared.metadata)
            with Image.open(io.BytesIO(data)) as first:
                self._info = {key: first.info[key] for key in ("icc_profile", "exif", "xmp") if key in first.info}
        if not frame.boxes and self._images:
            self._images.append(self._images[-1])
        else:
            rgb = pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels
            self._images.append(Image.fromarray(rgb.copy() if alpha is None else np.dstack([rgb, alpha])))
        self._durations.append(round(frame.duration))

    def finish(self) -> None:
        """Encode and write."""
        options = self._animation.options
        effort = {"quality": 20, "kmax": 0} if options.lossless else {"quality": options.quality}
        self._images[0].save(
            self._file,
            "WEBP",
            save_all=True,
            append_images=self._images[1:],
            duration=self._durations,
            loop=min(self._animation.loop, 65535),
            lossless=options.lossless,
            **effort,
            **self._info,
        )
        self._file.seek(0)
        with quiet(), Image.open(self._file) as image:
            joined = len(self._images) - int(getattr(image, "n_frames", 1))
        if joined:
            self.notes = (*self.notes, f"WebP: {joined} frames that equal the one before were joined with it")
