"""Images of textures in classes, on which the classifier of patches is trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sharpbit.errors import UsageError
from sharpbit.image import is_image_name, read

EVERY = 4  # of the files of a class, each such one is kept for the test


@dataclass(frozen=True)
class Textures:
    """Images with their classes.

    Attributes:
        classes: names of the classes.
        images: images, each `(3, H, W)` uint8.
        labels: number of the class of each image.
    """

    classes: tuple[str, ...]
    images: tuple[Tensor, ...]
    labels: tuple[int, ...]

    @classmethod
    def read(cls, classes: tuple[str, ...], files: Iterable[tuple[Path, int]]) -> Textures:
        """From files, each with the number of its class."""
        images, labels = [], []
        for path, label in files:
            images.append(torch.from_numpy(read(path).rgb8().copy()).permute(2, 0, 1).contiguous())
            labels.append(label)
        return cls(classes, tuple(images), tuple(labels))

    def batch(self, count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random crops `(count, 3, side, side)`, float in `[0, 1]`, and their classes `(count,)`.

        Every class comes equally often, as in the Describable Textures Dataset, whose classes are of one size. A crop
        has a quarter to the whole of an image's area and a shape of 3:4 to 4:3; it is shrunk (or upscaled) to `side`
        by an antialiased bilinear filter, and mirrored in half of all cases, each way.
        """
        labels = torch.tensor(self.labels)
        sizes = torch.bincount(labels, minlength=len(self.classes))
        which = torch.multinomial(1 / sizes[labels], count, replacement=True, generator=generator)
        crops = [self._crop(self.images[number], side, generator) for number in which.tolist()]
        return torch.stack(crops), labels[which]

    def _crop(self, image: Tensor, side: int, generator: torch.Generator) -> Tensor:
        area, shape, down, right, *flips = torch.rand(6, generator=generator).tolist()
        height, width = image.shape[1:]
        size = ((0.25 + 0.75 * area) * height * width) ** 0.5
        ratio = (4 / 3) ** (shape - 0.5)  # of a side to that of a square
        high, wide = min(height, round(size * ratio)), min(width, round(size / ratio))
        top, left = int(down * (height - high + 1)), int(right * (width - wide + 1))
        crop = image[:, top : top + high, left : left + wide].float()[None] / 255
        crop = F.interpolate(crop, (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)
        return crop.flip([axis for axis, flip in zip((1, 2), flips, strict=True) if flip < 0.5])


def from_folders(folder: str | Path) -> tuple[Textures, Textures]:
    """Training and test images of a folder with one folder for each class.

    Every fourth file of a class, by name, is for the test; a class of fewer than four has none there.

    Raises:
        UsageError: no such folder.
    """
    found = _classes(Path(folder))
    classes = tuple(found)
    files = [(path, label, k) for label, name in enumerate(classes) for k, path in enumerate(found[name])]
    chosen = [[(path, label) for path, label, k in files if (k % EVERY == EVERY - 1) is test] for test in (False, True)]
    return Textures.read(classes, chosen[0]), Textures.read(classes, chosen[1])


def from_dtd(folder: str | Path, split: int = 1) -> tuple[Textures, Textures]:
    """The Describable Textures Dataset: of a published split, `train` with `val` for training, and `test`.

    Args:
        folder: folder with `images/CLASS/*.jpg` and `labels/train1.txt`, `val1.txt`, `test1.txt`.
        split: 1 to 10.

    Raises:
        UsageError: something of that is missing.
    """
    folder = Path(folder)
    classes = tuple(_classes(folder / "images"))
    sets = []
    for names in (("train", "val"), ("test",)):
        files = [item for name in names for item in _listed(folder, f"{name}{split}.txt", classes)]
        sets.append(Textures.read(classes, files))
    return sets[0], sets[1]


def _classes(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one that holds a folder of images for each class")
    found = {
        inside.name: sorted(path for path in inside.iterdir() if is_image_name(path))
        for inside in sorted(folder.iterdir())
        if inside.is_dir()
    }
    found = {name: paths for name, paths in found.items() if paths}
    if len(found) < 2:
        raise UsageError(f"{folder} holds {len(found)} folders with images; textures need two classes at least")
    return found


def _listed(folder: Path, name: str, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    path = folder / "labels" / name
    if not path.exists():
        raise UsageError(f"{path} is missing; the Describable Textures Dataset has it")
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    unknown = next((line for line in lines if line.split("/")[0] not in classes), None)
    if unknown:
        raise UsageError(f"{path} lists {unknown!r}, of whose class there are no images in {folder / 'images'}")
    return [(folder / "images" / line, classes.index(line.split("/")[0])) for line in lines]
