"""Everything that lies in what was named: images, and what is none, cannot be entered, or is not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sharpbit.errors import ImageError, SharpbitError
from sharpbit.image import is_image_name

STREAM = "-"  # standard input or output
HIDDEN = "it is hidden"
FOLLOW = "; --follow-links enters it"  # what the commands that have this option add
VIDEOS = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".wmv"),
    *(".flv", ".ogv", ".3gp", ".y4m", ".mxf"),
}


@dataclass(frozen=True)
class Entry:
    """A file or folder that was named or found.

    Attributes:
        name: The path as the user spells it, or `-`.
        base: The folder that its place in the output tree is relative to.
        found: Whether it was found in a folder, and not named itself.
        ignored: The reason why it is no image to upscale, where it is none.
        error: The reason why it cannot be entered, where it cannot.
    """

    name: str
    base: Path
    found: bool = True
    ignored: str | None = None
    error: SharpbitError | None = None

    @property
    def is_image(self) -> bool:
        """Whether it is an image, as far as its name says."""
        return self.ignored is None and self.error is None


def walk(item: str, *, follow_links: bool) -> Iterator[Entry]:
    """Each entry of what was named, folder by folder, each in the order of names.

    Args:
        item: The path of a file or a folder, or `-`.
        follow_links: Whether folders that are symbolic links are entered, each once.
    """
    if item == STREAM:
        yield Entry(STREAM, Path(), found=False)
    elif not os.path.isdir(item):  # noqa: PTH112 - no error where it may not be asked
        yield Entry(item, Path(item).parent, found=False)
    else:
        yield from _folder(item, Path(item), follow_links, set())


def _folder(folder: str, base: Path, follow_links: bool, entered: set[tuple[int, int]]) -> Iterator[Entry]:
    try:
        status = os.stat(folder)  # noqa: PTH116 - keeps the user's spelling
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        sentence = f"the folder {folder} cannot be entered: {error.strerror or error}"
        yield Entry(folder, base, error=ImageError(sentence))
        return
    folders = []
    for entry in inside:
        if _is_folder(entry):
            folders.append(entry)
        else:
            yield Entry(entry.path, base, ignored=_reason_to_ignore(entry))
    for entry in folders:
        reason = HIDDEN if entry.name.startswith(".") else _link(entry, follow_links, entered)
        if reason is not None:
            yield Entry(entry.path, base, ignored=reason)
        else:
            yield from _folder(entry.path, base, follow_links, entered)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _link(entry: os.DirEntry[str], follow_links: bool, entered: set[tuple[int, int]]) -> str | None:
    if not entry.is_symlink():
        return None
    if not follow_links:
        return f"it is a link to a folder{FOLLOW}"
    try:
        status = entry.stat()
    except OSError:
        return None  # entering it says why
    return "it is a link to a folder that was entered already" if (status.st_dev, status.st_ino) in entered else None


def _reason_to_ignore(entry: os.DirEntry[str]) -> str | None:
    name = Path(entry.name)
    if entry.name.startswith("."):
        return HIDDEN
    if is_video_name(name):
        return "it is a video, which 'sharpbit video' upscales"
    if (reason := no_image(name)) is not None:
        return reason
    if os.path.exists(entry.path) and not os.path.isfile(entry.path):  # noqa: PTH110, PTH113
        return "it is neither a file nor a folder"  # a pipe that nobody writes to would be waited for
    return None


def no_image(path: Path) -> str | None:
    """The reason why a file is no image by its name, if it is none."""
    return None if is_image_name(path) else f"it is no image by its name ({path.suffix.lower() or 'without ending'})"


def is_video_name(path: Path) -> bool:
    """Whether a walk through a folder should take this file for a video: by its extension."""
    return path.suffix.lower() in VIDEOS and not path.name.startswith(".")
