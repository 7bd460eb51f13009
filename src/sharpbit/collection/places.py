"""Folders of a collection: of this machine, or of an object store that fsspec knows, such as `s3://bucket/photos`."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sharpbit.errors import SharpbitError, UsageError
from sharpbit.image import is_image_name
from sharpbit.pipeline.walk import FOLLOW, HIDDEN, is_video_name, no_image, walk
from sharpbit.system.atomic import open_atomic
from sharpbit.system.extras import loaded

_CHANGE = ("ETag", "LastModified", "mtime", "created")  # what file systems say of the last change, the best first
OWN = ".sharpbit"  # the folder of a collection's results that holds what the manifest is made of


@dataclass(frozen=True)
class Item:
    """A file of a collection.

    Attributes:
        path: Its path inside of the collection, with slashes.
        bytes: Its size in bytes; -1 where nobody says.
        modified: What changes when it does: the time of its last change, or the tag of an object.
        ignored: The reason why it is neither an image nor a video, where it is none.
        error: The reason why it cannot be taken, where it cannot.
        replaces: The path of a result that was made of what the file was before, to be replaced; empty where none is.
    """

    path: str
    bytes: int = -1
    modified: str = ""
    ignored: str | None = None
    error: str | None = None
    replaces: str = ""


@dataclass(frozen=True)
class Place:
    """A folder.

    Attributes:
        url: Its path or address, as it was given.
        fs: The file system of fsspec that it lies in.
        root: Its path in there.
        is_local: Whether it is a folder of this machine.
    """

    url: str
    fs: Any
    root: str
    is_local: bool

    def of(self, path: str) -> str:
        """The full path, in the file system, of a path inside of the folder."""
        return posixpath.join(self.root, path)

    def name_of(self, path: str) -> str:
        """The path or address of a path inside of the folder, for people."""
        return self.of(path) if self.is_local else str(self.fs.unstrip_protocol(self.of(path)))

    def exists(self, path: str) -> bool:
        """Whether there is something at a path inside of the folder."""
        if self.is_local:
            return os.path.lexists(self.of(path))
        with self.reached():
            return bool(self.fs.exists(self.of(path)))

    def is_folder(self) -> bool:
        """Whether it is there."""
        if self.is_local:
            return Path(self.root).is_dir()
        with self.reached():
            return bool(self.fs.isdir(self.root))

    def files(self, path: str = "") -> list[str]:
        """The full paths of all files below a path inside of the folder."""
        with self.reached():
            return list(self.fs.find(self.of(path))) if self.exists(path) else []

    def read(self, path: str) -> bytes:
        """The bytes of a file, by its path inside of the folder."""
        with self.reached():
            return bytes(self.fs.cat_file(self.of(path)))

    def write(self, path: str, data: bytes, *, replace: bool = False) -> None:
        """Write a file, by its path inside of the folder; it appears as a whole."""
        if self.is_local:
            with open_atomic(Path(self.of(path)), overwrite=replace) as file:
                file.write(data)
            return
        with self.reached():
            self.fs.pipe_file(self.of(path), data)

    def remove(self, path: str) -> None:
        """Remove a file, by its full path."""
        with self.reached():
            self.fs.rm_file(path)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn what a store raises, of classes of its own, into one sentence."""
        try:
            yield
        except (OSError, SharpbitError):
            raise
        except Exception as error:
            raise UsageError(f"{self.url} cannot be reached: {error}") from None


def place(url: str | os.PathLike[str]) -> Place:
    """Open a folder.

    Raises:
        MissingExtra: fsspec is not installed.
        UsageError: fsspec does not know such an address, or lacks the package for it.
    """
    core = loaded("fsspec.core", "a collection", "batch")
    text = os.fspath(url)
    if not text:
        raise UsageError("the name of a folder is empty; '.' is the folder that you are in")
    try:
        fs, root = core.url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{text} is no folder that can be opened: {error}") from None
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return Place(text, fs, root, "file" in protocols)


def recordable(text: str) -> str:
    """The text as a manifest can hold it: bytes of file names that are not UTF-8 stand as codes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def items(source: Place, results: Place) -> Iterator[Item]:
    """Every file of a collection, folder by folder; what is none to upscale has the reason.

    Args:
        source: The folder of the collection.
        results: The folder of the results, which is passed over where it lies inside of the first.
    """
    avoid = results.root.rstrip("/") if type(source.fs) is type(results.fs) else None
    found = _local(source, avoid) if source.is_local else _remote(source, avoid)
    names: set[str] = set()
    folder = None
    for item in found:
        here, name = posixpath.split(item.path)
        if here != folder:
            folder, names = here, set()
        names.add(name)
        if item.ignored is None and item.error is None and PurePosixPath(name).stem in names:
            twin = PurePosixPath(name).stem
            if is_image_name(Path(twin)) or is_video_name(Path(twin)):
                error = f"{item.path} may become the same file as the result of {twin} beside it; rename one of them"
                item = Item(item.path, item.bytes, item.modified, error=error)
        yield item


def _local(source: Place, avoid: str | None) -> Iterator[Item]:
    root = Path(source.root)
    avoided = None if avoid is None else Path(os.path.realpath(avoid))
    real = Path(os.path.realpath(root))
    for entry in walk(source.root, follow_links=False):
        inside = Path(entry.name).relative_to(root)
        if avoided is not None and (real / inside).is_relative_to(avoided):
            continue
        path = recordable(inside.as_posix())
        if entry.error is not None:
            yield Item(path, error=str(entry.error))
            continue
        video, ignored = is_video_name(inside), entry.ignored
        try:
            status = os.stat(entry.name)  # noqa: PTH116 - keeps the user's spelling
        except OSError as error:
            reason = f"{entry.name}: {error.strerror or error}"
            yield Item(path, ignored=None if video else ignored, error=reason if video or not ignored else None)
            continue
        if video:  # a walk leaves them to another command
            ignored = None if stat.S_ISREG(status.st_mode) else "it is no file"
        wrong = None if ignored or path == inside.as_posix() else f"{path}: the name is not in UTF-8; rename it"
        ignored = None if ignored is None else ignored.removesuffix(FOLLOW)
        yield Item(path, status.st_size, str(status.st_mtime_ns), ignored, wrong)


def _remote(source: Place, avoid: str | None) -> Iterator[Item]:
    failed: list[Exception] = []
    with source.reached():
        folders = iter(source.fs.walk(source.root, detail=True, on_error=failed.append))
    while True:
        with source.reached():
            entry = next(folders, None)
        if entry is None:
            break
        folder, _, files = entry
        if avoid is not None and f"{folder}/".startswith(f"{avoid}/"):
            continue
        for name in sorted(files):
            facts = files[name]
            path = posixpath.relpath(posixpath.join(folder, name), source.root)
            size, changed = facts.get("size"), [str(facts[key]) for key in _CHANGE if facts.get(key)]
            yield Item(path, -1 if size is None else int(size), "".join(changed[:1]), _reason_to_ignore(path))
    for error in failed:
        yield Item(str(getattr(error, "filename", "")), error=f"a folder of {source.url} cannot be listed: {error}")


def _reason_to_ignore(path: str) -> str | None:
    if any(part.startswith(".") for part in PurePosixPath(path).parts):
        return HIDDEN
    return None if is_video_name(Path(path)) else no_image(Path(path))
