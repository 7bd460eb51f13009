"""Reads the images named on standard input, each in a process of its own, and prints a JSON line of facts about each.

    python -W error tests/image/nasty_worker.py FOLDER < names

A process of its own shows what one file costs, and a crash of a decoder stays with its file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sharpbit.errors import SharpbitError
from sharpbit.image import ImageData, probe, read

SECONDS = 20
_script = Path(__file__).resolve().parents[2] / "scripts" / "make_nasty_manifest.py"
_spec = importlib.util.spec_from_file_location("make_nasty_manifest", _script)
assert _spec is not None and _spec.loader is not None
manifest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(manifest)


def main() -> None:
    folder = Path(sys.argv[1])
    for name in sys.stdin.read().splitlines():
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of work; a busy machine may take longer
                os.write(1, json.dumps(facts(folder / name)).encode())
                os._exit(0)
            _, status, usage = os.wait4(child, 0)
            out.seek(0)
            err.seek(0)
            found: dict[str, Any] = json.loads(out.read() or b"{}")
            found |= {
                "name": name,
                "status": status,
                "mebibytes": usage.ru_maxrss / 1024,
                "stderr": err.read().decode("utf-8", "replace"),
            }
        print(json.dumps(found), flush=True)


def facts(path: Path) -> dict[str, Any]:
    try:
        image = read(path)
        return describe(image) | {"probe": probe(path)}
    except SharpbitError as error:
        return {"outcome": "error", "message": str(error)}
    except Exception as error:
        return {"outcome": "raised", "message": repr(error)}


def describe(image: ImageData) -> dict[str, Any]:
    pixels, alpha, metadata = image.pixels, image.alpha, image.metadata
    top = np.iinfo(pixels.dtype).max
    cover = np.full(pixels.shape[:2], top, pixels.dtype) if alpha is None else alpha
    colours = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    samples = np.concatenate([colours, cover[..., None]], axis=2).astype(np.uint16) * (65535 // top)
    return {
        "outcome": "ok",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "channels": pixels.shape[2],
        "bits": 8 * pixels.dtype.itemsize,
        "alpha": alpha is not None,
        "icc": len(metadata.icc or b""),
        "exif": metadata.exif is not None,
        "notes": image.still_notes,
        "colours": manifest._colours(samples),
        "contiguous": pixels.flags.c_contiguous and (alpha is None or alpha.flags.c_contiguous),
    }


if __name__ == "__main__":
    main()
