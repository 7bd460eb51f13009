"""The upscaled images that `evaluate` keeps, which the same call goes on from where it was interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sharpbit import zoo
from sharpbit._version import __version__
from sharpbit.errors import OutputExists, UsageError
from sharpbit.image import Metadata, made_by, read
from sharpbit.image.write import open_writer
from sharpbit.measure import bicubic
from sharpbit.measure.benchmarks import Benchmark
from sharpbit.measure.upscaling import Pixels
from sharpbit.system.atomic import check_target

_END = b"IEND\xae\x42\x60\x82"  # of a whole PNG file


class Kept:
    """The results of one set, `NAME.png` in a folder, of 8 bits; each says in `Software` which call made it.

    Args:
        folder: where they lie; it is made when the first one is written.
        benchmark: the set.
        made: text of the mark.

    Attributes:
        found: number of results that this call, interrupted before, has made.

    Raises:
        OutputExists: one of the files is there, and is none that this call made, or damaged.
        UsageError: two images of the set would have one result.
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, benchmark: Benchmark, made: str) -> None:
        self._targets = {path: folder / f"{path.stem}.png" for path in benchmark.large}
        of = {target: path for path, target in self._targets.items()}
        if twice := [path for path, target in self._targets.items() if of[target] != path]:
            target = self._targets[twice[0]]
            raise UsageError(f"{twice[0]} and {of[target]} would both be kept as {target}; rename one of them")
        self._missing = [one for one in (folder, *folder.parents) if not one.exists()]
        self._made = made
        self._found = {path for path, target in self._targets.items() if os.path.lexists(target)}
        for path, target in self._targets.items():
            if path in self._found:
                self._check(target)
            else:
                check_target(target)
        self.found = len(self._found)

    @property
    def complete(self) -> bool:
        """Whether all results are there."""
        return self.found == len(self._targets)

    def get(self, path: Path) -> Pixels | None:
        """The result, `(H, W, 3)`, of the HR image at that path, where it was made before.

        Raises:
            ImageError: the file is damaged.
        """
        return np.ascontiguousarray(read(self._targets[path]).rgb8()) if path in self._found else None

    def keep(self, path: Path, pixels: Pixels) -> None:
        """Write the result, `(H, W, 3)`, of the HR image at that path, unless it was made before.

        Raises:
            ImageError: it cannot be written.
        """
        if path in self._found:
            return
        height, width, channels = pixels.shape
        size = {"height": height, "width": width, "channels": channels}
        mark = Metadata(made=self._made)
        with open_writer(self._targets[path], "PNG", **size, alpha=False, dtype=pixels.dtype, metadata=mark) as writer:
            writer.write(pixels)

    def tidy(self) -> None:
        """Remove the folders that were made and hold nothing, as on a full disk."""
        for folder in self._missing:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _check(self, target: Path) -> None:
        """Refuse what is in the place of a result."""
        if made_by(target) != self._made or not target.read_bytes().endswith(_END):
            raise OutputExists(
                f"{target} exists, and is no whole image that this model made of these test images; move it away,"
                " or name another folder with --save"
            )


def kept_in(
    folder: Path, model: str, sets: Sequence[Benchmark], how: Sequence[str | int | None], sizes: Mapping[str, Any]
) -> list[Kept]:
    """What is kept of each set, in `folder/SET`.

    Args:
        folder: folder of the model's results.
        model: as in `evaluate`.
        sets: the images.
        how: what results depend on besides, such as scale and engine as they were asked for.
        sizes: sizes of published weights that were given.

    Raises:
        OutputExists: one of the results is there, and is none of this model, set and way.
        UsageError: two sets have one name, or two images of a set.
        SharpbitError: there is no such model.
    """
    asked = [__version__, identity(model), *how, *(f"{key}={value}" for key, value in sizes.items())]
    name = Path(model).stem.encode(errors="replace").decode()
    found: list[Kept] = []
    names = [item.name for item in sets]
    if twice := [one for one in names if names.count(one) > 1]:
        raise UsageError(f"two sets are called {twice[0]}; with --save, evaluate them one after the other")
    for item in sets:
        mark = " ".join(f"{name} evaluated {digest(json.dumps([asked, facts(item)]).encode())}".split())
        found.append(Kept(folder / item.name, item, mark))
    return found


def identity(model: str) -> str:
    """What a model is recognized by: a hash of the bytes of its file, or its name where it has none.

    Raises:
        SharpbitError: there is no such model.
    """
    if model in bicubic.NAMES:
        return model
    path = zoo.path_of(model)
    return digest(path.read_bytes()) if path.is_file() else model


def facts(benchmark: Benchmark) -> list[Any]:
    """What a set of images is recognized by: name, cut, names and sizes in bytes of its files, folders of LR images."""
    files = [(path.name, path.stat().st_size) for path in benchmark.large]
    small = [(scale, os.path.relpath(folder, benchmark.large[0].parent)) for scale, folder in benchmark.small.items()]
    return [benchmark.name, benchmark.crop, files, sorted(small)]


def digest(data: bytes) -> str:
    """The first 16 digits of a SHA-256 hash."""
    return hashlib.sha256(data).hexdigest()[:16]
