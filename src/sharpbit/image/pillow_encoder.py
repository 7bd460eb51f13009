"""What Pillow encodes: the rows are gathered in one of its images, which is saved at the end."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from sharpbit.image.data import Array
from sharpbit.image.encoding import Stored
from sharpbit.image.mark import mark_of
from sharpbit.image.muted_decoder import quiet
from sharpbit.image.space import with_nclx


class PillowEncoder:
    """Gathers the rows in a Pillow image, which is saved at the end.

    Args:
        file: The file.
        kind: The format, such as `JPEG`.
        stored: What is written.
    """

    def __init__(self, file: BinaryIO, kind: str, stored: Stored) -> None:
        self._file, self._kind = file, kind
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[stored.channels]
        self._image = Image.new(mode, (stored.width, stored.height))
        self._row, self._options = 0, _save_options(kind, stored)
        self._cicp: tuple[int, int, int, int] | None = self._options.pop("cicp", None)

    def write(self, rows: Array) -> None:
        """Add rows, from top to bottom."""
        strip = Image.fromarray(np.ascontiguousarray(rows[..., 0] if rows.shape[2] == 1 else rows))
        self._image.paste(strip, (0, self._row))
        self._row += len(rows)

    def finish(self) -> None:
        """Save the image."""
        pil_image = self._image
        if self._kind == "GIF" and pil_image.mode in ("LA", "RGBA"):
            pil_image = pil_image.convert("RGBA")
            pil_image.putalpha(pil_image.getchannel("A").point([0] * 128 + [255] * 128))
        elif self._kind == "GIF" and pil_image.mode == "RGB":
            pil_image = pil_image.quantize(256, Image.Quantize.MEDIANCUT)
        elif pil_image.mode == "LA":
            pil_image = pil_image.convert("RGBA")
        if self._kind == "AVIF" and pil_image.mode == "L":
            self._options.pop("subsampling", None)
        target = self._file if self._file.seekable() and self._cicp is None else io.BytesIO()
        with quiet():
            pil_image.save(target, self._kind, **self._options)
        if isinstance(target, io.BytesIO) and target is not self._file:
            self._file.write(target.getvalue() if self._cicp is None else with_nclx(target.getvalue(), self._cicp))

    def close(self) -> None:
        """Let go of the pixels."""
        self._image = Image.new("L", (1, 1))


def _save_options(kind: str, stored: Stored) -> dict[str, Any]:
    """The arguments of `Image.save`."""
    metadata, options = stored.metadata, stored.options
    if kind == "GIF":
        return {"comment": mark_of(metadata.made).encode()} if metadata.made else {}
    if kind not in ("JPEG", "WEBP", "AVIF"):
        return {"dpi": metadata.dpi} if kind == "BMP" and metadata.dpi else {}
    block = metadata.exif
    held = {"icc_profile": metadata.icc, "exif": block and b"Exif\0\0" + block, "xmp": metadata.xmp}
    save: dict[str, Any] = {"quality": options.quality} | {key: value for key, value in held.items() if value}
    if kind == "JPEG":
        save["subsampling"] = options.sampling
        if metadata.dpi:
            save["dpi"] = tuple(min(round(value), 65535) for value in metadata.dpi)
    elif kind == "WEBP" and options.lossless:
        save |= {"lossless": True, "exact": True}
    elif kind == "AVIF":
        save |= {"max_threads": stored.threads, "cicp": metadata.colour.cicp}
        save["subsampling"] = options.sampling
    return save
