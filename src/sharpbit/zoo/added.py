"""Models that a user added under a name: copies in a folder of the user, each beside what is known about it.

The folder is `$SHARPBIT_MODELS`, by default `sharpbit/models` in `$XDG_DATA_HOME` or `~/.local/share`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sharpbit.errors import ModelError, OutputExists, UsageError
from sharpbit.system.atomic import open_atomic

ABOUT = "about.json"
RESERVED = ("add", "remove", "auto", "bicubic", "bicubic-matlab")  # words that commands take in place of a model
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def folder() -> Path:
    """Where added models lie."""
    own = os.environ.get("SHARPBIT_MODELS")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(own) if own else Path(data) / "sharpbit" / "models"


def names() -> tuple[str, ...]:
    """The names of the models that were added."""
    return tuple(sorted(path.parent.name for path in folder().glob(f"*/{ABOUT}")))


def about(name: str) -> dict[str, Any]:
    """What is known about an added model: files, sha256, licence, network, scale.

    Raises:
        UsageError: No model of this name was added.
        ModelError: What is known about it cannot be read.
    """
    path = _place(name) / ABOUT
    if not path.exists():
        raise UsageError(f"no model {name!r} was added; 'sharpbit models' lists those that were")
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        if not all((_place(name) / file).name == file for file in facts["files"]):
            raise ValueError("a file in another folder")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}); remove the folder and add the model again") from None
    return facts


def path_of(name: str) -> Path | None:
    """The file of an added model; None if no model of this name was added."""
    if not _NAME.fullmatch(name) or not (_place(name) / ABOUT).exists():
        return None
    return _place(name) / str(about(name)["files"][0])


def add(name: str, files: Sequence[Path], facts: Mapping[str, Any], *, overwrite: bool = False) -> dict[str, Any]:
    """Copy a model under a name.

    Args:
        name: The name that `-n` will take.
        files: The files of the model; the first is the one that is opened.
        facts: What is known about it, which is kept beside it.
        overwrite: Whether a model of this name is replaced; False by default.

    Returns:
        What was written about it, the sha256 of its files included.

    Raises:
        UsageError: The name is none that a file can have, or means something else.
        OutputExists: There is such a model and `overwrite` is false.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a model; take at most 100 letters, digits, '.', '_' and '-', a letter or"
            " digit first"
        )
    if name in RESERVED:
        raise UsageError(f"{name} cannot be the name of a model, as it means something else; give another one (--name)")
    if not overwrite and (_place(name) / ABOUT).exists():
        raise OutputExists(
            f"a model {name} was added already, to {_place(name)}; --overwrite replaces it, and --name gives another"
            " name"
        )
    digests = {}
    for file in files:
        data = file.read_bytes()
        digests[file.name] = hashlib.sha256(data).hexdigest()
        with open_atomic(_place(name) / file.name, overwrite=True) as copy:
            copy.write(data)
    known = {"name": name, **facts, "files": [file.name for file in files], "sha256": digests}
    with open_atomic(_place(name) / ABOUT, overwrite=True) as card:
        card.write(json.dumps(known, indent=1, ensure_ascii=False).encode())
    return known


def remove(name: str) -> Path:
    """Remove an added model; the folder that it was in.

    Raises:
        UsageError: No model of this name was added.
    """
    if not _NAME.fullmatch(name) or not (_place(name) / ABOUT).exists():
        raise UsageError(f"no model {name!r} was added; 'sharpbit models' lists those that were")
    shutil.rmtree(_place(name))
    return _place(name)


def _place(name: str) -> Path:
    return folder() / name
