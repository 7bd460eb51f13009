"""Where the HR and the LR images of a training set lie: the trees of folders that people have.

Known are those of sharpbit (`HR`, `LR_bicubic/X2`), of the authors of ETDS (`HR/{original,subs}`,
`LR/bicubic/X2/{original,subs}`) and of BasicSR, as CRAFT uses it (`DIV2K_train_HR_sub`,
`DIV2K_train_LR_bicubic/X2_sub`; `DIV2K_train_HR`, `DIV2K_train_LR_bicubic/X2`). Windows (`subs`, `_sub`) are preferred
to the images that they were cut from, and nothing called `valid` or `test` is trained on unless it is given itself. A
tree with LR images that fits none of them is refused: else these would be taken for HR images, or left unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sharpbit.errors import UsageError
from sharpbit.image import is_image_name

LARGE, SMALL = "HR", "LR_bicubic/X{}"
WINDOWS, WHOLE, SUB = "subs", "original", "_sub"
_HELD_OUT = re.compile(r"(?i)(^|[_-])(valid|validation|val|test)([_-]|$)")
_BASICSR = re.compile(r"_HR(_sub)?$")
_LOW = re.compile(r"(?i)^(LR([_-].*|bic.*|x?[2-8])?|.*[_-]LR([_-].*)?|X[2-8]([_-]sub)?)$")


@dataclass(frozen=True)
class Tree:
    """The folders of a training set.

    Attributes:
        large: folder of the HR images.
        small: folder of the LR images; None where they are made.
    """

    large: Path
    small: Path | None

    def files(self) -> list[Path]:
        """The HR images, sorted.

        Raises:
            UsageError: there are none.
        """
        paths = sorted(path for path in self.large.rglob("*") if is_image_name(path))
        if not paths:
            raise UsageError(f"{self.large} holds no images to train on; give a folder of PNG or JPEG files")
        return paths

    def partner(self, path: Path, scale: int) -> Path | None:
        """The LR image of an HR image; None where it is made.

        Raises:
            UsageError: it is not there.
        """
        if self.small is None:
            return None
        return partner(self.small, path.relative_to(self.large).with_suffix(""), path, scale)


def find_tree(folder: Path, scale: int) -> Tree:
    """The HR images of a training set, and the LR images of one scale.

    Args:
        folder: folder of the set, or of its HR images.
        scale: upscaling factor.

    Raises:
        UsageError: LR images lie there, but not those of this scale, or not where they are looked for.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one of training images")
    for large, low, rest in _candidates(folder, scale):
        if large.is_dir():
            small = _present(low, rest, scale)
            if small is None and (beside := _elsewhere(large)):
                raise UsageError(
                    f"{beside} seems to hold LR images, which are looked for in {low / rest}; put them there, or take"
                    " them away to have LR images made by bicubic"
                )
            return Tree(large, small)
    if odd := [path for path in (folder, *sorted(folder.rglob("*"))) if path.is_dir() and _is_low(path)]:
        raise UsageError(
            f"{odd[0]} seems to hold LR images, and {folder} has no HR images where they are looked for: HR, HR/subs,"
            " or NAME_train_HR beside NAME_train_LR_bicubic; give the folder that holds both"
        )
    if held := [path for path in sorted(folder.iterdir()) if path.is_dir() and _HELD_OUT.search(path.name)]:
        raise UsageError(f"{held[0]} is not for training; give the folder of the training images alone")
    return Tree(folder, None)


def partner(folder: Path, stem: Path, path: Path, scale: int) -> Path:
    """The LR image of `path` in `folder`: of the same name, or with the scale behind it, as DIV2K has them.

    Raises:
        UsageError: it is not there.
    """
    for name in (stem.name, f"{stem.name}x{scale}", f"{stem.name}_x{scale}"):
        for suffix in dict.fromkeys((path.suffix, ".png")):
            if (found := folder / stem.parent / f"{name}{suffix}").exists():
                return found
    place = folder / stem.parent
    raise UsageError(
        f"{path} has no LR image {stem.name}x{scale}{path.suffix} in {place}, nor {place / stem.name}{path.suffix}"
    )


def _candidates(folder: Path, scale: int) -> Iterator[tuple[Path, Path, str]]:
    """Where HR images may lie, the preferred first; the folder of all LR images, and the place of these in it."""
    root = next((path for path in (folder, folder.parent, folder.parent.parent) if _of_etds(path, folder)), folder)
    for kind in (folder.name,) if root != folder and folder.name in (WINDOWS, WHOLE) else (WINDOWS, WHOLE):
        yield root / LARGE / kind, root / "LR", f"bicubic/X{scale}/{kind}"
    for large in [folder] if _BASICSR.search(folder.name) else _basicsr(folder):
        end = SUB if large.name.endswith(SUB) else ""
        name = large.name.removesuffix(SUB).removesuffix("_HR")
        yield large, large.parent / f"{name}_LR_bicubic", f"X{scale}{end}"
    root = folder.parent if folder.name == LARGE else folder
    low, _, rest = SMALL.format(scale).partition("/")
    yield root / LARGE, root / low, rest


def _of_etds(root: Path, folder: Path) -> bool:
    inside = any((root / LARGE / kind).is_dir() for kind in (WINDOWS, WHOLE))
    return inside and folder in (root, root / LARGE, root / LARGE / WINDOWS, root / LARGE / WHOLE)


def _basicsr(folder: Path) -> list[Path]:
    """Folders such as `DIV2K_train_HR_sub` in a folder, windows first.

    Raises:
        UsageError: they are of several sets.
    """
    found = [path for path in folder.glob("*_HR*") if path.is_dir() and _BASICSR.search(path.name)]
    found = sorted((path for path in found if not _HELD_OUT.search(path.name)), reverse=True)
    names = {path.name.removesuffix(SUB) for path in found}
    if len(names) > 1:
        raise UsageError(f"{folder} holds several sets, {' and '.join(sorted(names))}; give the folder of one of them")
    return found


def _present(low: Path, rest: str, scale: int) -> Path | None:
    """The folder of LR images `low/rest`; None where there are none of any scale."""
    if (low / rest).is_dir():
        return low / rest
    if not low.is_dir():
        return None
    there = sorted(path.relative_to(low).as_posix() for path in low.rglob("*") if path.is_dir())
    raise UsageError(
        f"{low} holds {', '.join(there) or 'nothing'}, not {rest}; prepare the folder with --scale {scale} too, or take"
        f" {low.name} away to have LR images made by bicubic"
    )


def _elsewhere(large: Path) -> Path | None:
    """A folder of LR images beside the HR images or one below, other than for validation."""
    top = large.parent
    while top.name in (LARGE, WINDOWS, WHOLE):
        top = top.parent
    found = (path for pattern in ("*", "*/*") for path in sorted(top.glob(pattern)) if path.is_dir())
    return next((path for path in found if _is_low(path) and not _held_out(path.relative_to(top))), None)


def _held_out(path: Path) -> bool:
    return any(_HELD_OUT.search(part) for part in path.parts)


def _is_low(path: Path) -> bool:
    return bool(_LOW.match(path.name)) and any(is_image_name(one) for one in path.iterdir())
