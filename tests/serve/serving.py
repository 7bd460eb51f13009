"""What the tests of the server share: small images, an application in process, and a server in a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from sharpbit.serve.guard import Door
from sharpbit.serve.limits import Limits
from sharpbit.serve.server import Settings, application

ROOT = Path(__file__).parents[2]


def picture(width=24, height=16, kind="PNG", seed=0, **options):
    """The bytes of an image of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def header_of_png(width, height):
    """A PNG whose header announces such a size, and little else."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@contextlib.contextmanager
def client(token=None, names=(), workers=2, **limits):
    """A client of an application with these limits."""
    settings = Settings(Limits(**limits), workers=workers, door=Door(frozenset(names), token))
    with TestClient(application(settings), base_url="http://127.0.0.1:8765") as found:
        yield found


@contextlib.contextmanager
def server(*options, env=None, code=None):
    """A server on a free port in a process of its own, perhaps begun by other code: its address, and the process."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    start = ["-m", "sharpbit"] if code is None else ["-c", code]
    command = [sys.executable, *start, "serve", "--port", "0", *options]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path, **(env or {})}
    )
    try:
        lines = []
        while not (lines and lines[-1].startswith("sharpbit serves")):
            line = process.stderr.readline()
            assert line, lines
            lines.append(line)
        process.said = "".join(lines)
        yield re.search(r"http://[^/\s]+", lines[-1])[0], process
    finally:
        process.terminate()
        process.communicate(timeout=30)
