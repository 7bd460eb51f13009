"""`sharpbit verify`: run the claims of a file again, and print which hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from tqdm import tqdm

from sharpbit.app import aligned, dump, say
from sharpbit.verbs.verify import verify

WORDS = {True: "holds", False: "FAILS", None: "not run"}


def run_verify(
    model: str, data: Sequence[str], source: str | None, threads: int | None, *, as_json: bool, quiet: bool
) -> int:
    """Verify, print, and give the exit code: 0, or 1 where a claim fails.

    Raises:
        SharpbitError: the file is damaged or has no receipt, or a folder holds other images.
    """
    hidden = True if quiet or as_json else None
    with tqdm(disable=hidden, delay=1, leave=False, unit="image") as bar:
        claims = verify(model, data, source=source, threads=threads, progress=bar.update)
    failed = [claim for claim in claims if claim.holds is False]
    if as_json:
        sys.stdout.write(
            dump({"file": model, "holds": not failed, "claims": [asdict(claim) for claim in claims]}) + "\n"
        )
        return int(bool(failed))
    rows = [[WORDS[claim.holds], claim.name, claim.stated, claim.found] for claim in claims]
    sys.stdout.write(aligned([["", "claim", "stated", "found"], *rows]) + "\n")
    if failed:
        say(f"sharpbit: {len(failed)} of {len(claims)} claims of {model} fail, first: {failed[0].name}")
    return int(bool(failed))
