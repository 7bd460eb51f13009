"""`sharpbit compress`: read, try, write, and print what each step bought."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sharpbit import model as models
from sharpbit import zoo
from sharpbit.app import aligned, dump, say
from sharpbit.errors import UsageError
from sharpbit.report.compressed import facts, html, lines
from sharpbit.system.atomic import check_target, open_atomic
from sharpbit.system.progress import shown
from sharpbit.verbs.compress import Compressed, compress


def run_compress(
    model: str,
    calibrate: str,
    output: str,
    data: Sequence[str],
    *,
    page: str | None,
    as_json: bool,
    quiet: bool,
    overwrite: bool,
    overrides: Mapping[str, Any],
    **settings: Any,
) -> int:
    """Compress, print, and give the exit code: 0, or 1 where no way meets the targets.

    Raises:
        SharpbitError: what `model`, the images, `output` or the targets cannot be.
    """
    if page:
        if Path(page).suffix.lower() != ".html":
            raise UsageError(f"--html writes a page that ends in .html, not {Path(page).name!r}")
        check_target(Path(page), overwrite=overwrite)
    path = zoo.path_of(model)
    float_model = models.load(path, **overrides)
    source = {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    hidden = True if quiet or as_json else None  # None: hidden unless on a terminal
    with tqdm(disable=hidden, delay=1, leave=False) as bar:
        found = compress(
            float_model,
            calibrate,
            output,
            data=data,
            overwrite=overwrite,
            source=source,
            progress=shown(bar),
            **settings,
        )
    if page:
        with open_atomic(Path(page), overwrite=overwrite) as file:
            file.write(html(found.receipt.table(), found.why).encode())
    sys.stdout.write((_json(found) if as_json else _text(found)) + "\n")
    if found.path is not None:
        return 0
    say(f"sharpbit: {found.why}; nothing was written")
    say(f"note: what was tried is kept in {found.tried}; the same command with other targets goes on from it")
    return 1


def _json(found: Compressed) -> str:
    path = None if found.path is None else str(found.path)
    tried = None if found.tried is None else str(found.tried)
    return dump(
        {"file": path, "chosen": found.chosen, "why": found.why, "tried": tried, "receipt": found.receipt.table()}
    )


def _text(found: Compressed) -> str:
    known = [f"{key:<20}{value}" for key, value in facts(found.receipt.table()).items()]
    table = lines(found.rows)
    good = [row for row in table if not row[1].startswith("none: ")]
    failed = [f"{row[0]}: {row[1]}" for row in table if row[1].startswith("none: ")]
    parts = [*known, "", aligned(good), *failed, ""]
    if found.path is not None:
        parts += [f"{found.path}: {found.why}"]
    return "\n".join(parts)
