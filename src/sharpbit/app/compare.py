"""`sharpbit compare`: run all combinations, and write tables and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sharpbit.app import dump
from sharpbit.report.compared import files, markdown
from sharpbit.system.atomic import open_atomic
from sharpbit.system.progress import shown
from sharpbit.verbs.compare import compare


def run_compare(
    models: Sequence[str],
    calibrate: str,
    folder: str,
    *,
    size: tuple[int, int],
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> str:
    """Compare, write, and give what is to be printed.

    Raises:
        SharpbitError: a model, a method, a width or a folder cannot be.
    """
    hidden = True if quiet or as_json else None
    with tqdm(disable=hidden, delay=1, leave=False) as bar:
        groups = compare(models, calibrate, folder, size=size, progress=shown(bar), **settings)
    written = []
    for name, text in files(groups, size).items():
        with open_atomic(Path(folder) / name, overwrite=True) as file:
            file.write(text.encode())
        written.append(str(Path(folder) / name))
    if as_json:
        return dump({"files": written, "groups": [asdict(group) for group in groups]})
    return "\n".join([markdown(groups, size), *written])
