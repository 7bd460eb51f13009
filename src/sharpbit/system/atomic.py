"""Files that appear complete or not at all, even when the process is killed.

On Linux the bytes go to a file without a name (`O_TMPFILE`), which the kernel itself forgets when the process dies.
Elsewhere they go to a hidden neighbour `.NAME.PID.XXXX.part`, and the next run removes the parts of dead processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sharpbit.errors import OutputExists, UsageError

_PART = re.compile(r"^\..*\.(\d+)\.[0-9a-z_]+\.part$")
_swept: set[Path] = set()


@contextlib.contextmanager
def open_atomic(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, complete, when the block ends without an error.

    Missing folders are made. The file is flushed to the disk before it gets its name.

    Raises:
        OutputExists: `path` exists (checked at the start and, atomically, at the end) and `overwrite` is false.
        OSError: It cannot be written; the error names `path`, not the file that stands for it until then.
    """
    path = Path(path)
    if not overwrite:
        refuse_existing(path)
    elif path.is_symlink():
        path = Path(os.path.realpath(path))  # what it points to is replaced, and the link stays
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # what should be its folder, or hold it
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    _sweep(path.parent)
    part = _part_name(path)
    with _naming(path, part):
        fd, named = _open(path.parent, part)
    try:
        with _naming(path, part), os.fdopen(fd, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not named:
                target = part if overwrite else path
                _link(f"/proc/self/fd/{file.fileno()}", target)
        if overwrite:
            with _naming(path, part):
                os.replace(part, path)
        elif named:
            _publish(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def refuse_existing(path: Path) -> None:
    """Raise unless there is nothing called `path`.

    Raises:
        OutputExists: there is.
    """
    if os.path.lexists(path):
        raise _exists(path)


def check_target(path: Path, *, overwrite: bool = False) -> None:
    """Raise before long work what `open_atomic` would raise after it. Nothing is left behind, not even a folder.

    Args:
        path: The file to be written.
        overwrite: Whether a file of that name is replaced, by default not.

    Raises:
        OutputExists: `path` exists and `overwrite` is false.
        OSError: It is a folder, or its folder, or what should hold that, cannot be written to.
    """
    path = Path(path)
    if not overwrite:
        refuse_existing(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    part = folder / _part_name(path).name
    with _naming(path, part):
        fd, named = _open(folder, part)
        os.close(fd)
        if named:
            os.unlink(part)


def check_folder(folder: Path, named: str = "") -> None:
    """Raise before long work where a folder is to be made and a file has its name, or that of a folder around it.

    Args:
        folder: The folder to be written to; it need not exist.
        named: The option that names it, for the sentence; empty where there is none.

    Raises:
        UsageError: there is such a file.
    """
    file = next((one for one in (folder, *folder.parents) if one.exists() and not one.is_dir()), None)
    if file is not None:
        given = f"{named} {folder}: " if named else ""
        raise UsageError(f"{given}{file} is a file, and a folder is expected there; name another one")


@contextlib.contextmanager
def _naming(path: Path, part: Path) -> Iterator[None]:
    """Make errors of a file that stands for `path` speak of `path`, and those of a full disk too."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part), part):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def _open(folder: Path, part: Path) -> tuple[int, bool]:
    """A file descriptor to write to, and whether the file already has the name `part`."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # some file systems have no unnamed files
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), False
    return os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666), True


def _part_name(path: Path) -> Path:
    token = os.urandom(4).hex()
    short = os.fsencode(path.name)[:100].decode(errors="ignore")  # names have at most 255 bytes
    return path.parent / f".{short}.{os.getpid()}.{token}.part"


def _link(unnamed: str, path: Path) -> None:
    # A folder descriptor makes Python call linkat(AT_SYMLINK_FOLLOW), which /proc/self/fd needs.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.link(unnamed, path.name, dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        raise _exists(path) from None
    finally:
        os.close(folder)


def _publish(part: Path, path: Path) -> None:
    """Give `part` its final name, refusing to replace a file that appeared meanwhile."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        refuse_existing(path)
        os.replace(part, path)
    else:
        os.unlink(part)


def _sweep(folder: Path) -> None:
    """Remove, once per folder and process, the parts that killed processes left."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            match = _PART.match(entry.name)
            if match and not is_alive(int(match[1])):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _exists(path: Path) -> OutputExists:
    return OutputExists(f"{path} exists and was left as it is; give --overwrite to replace it")


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; True where nobody knows."""
    if os.name == "nt":  # signal 0 is no question there but an event
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
