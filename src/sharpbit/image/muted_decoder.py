"""Keeps decoders quiet and bounded: no warnings, no messages on standard error, no limits changed for anybody else."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator

from PIL import Image

# Without a handler of its own, Python would print what Pillow logs; an application's handlers still receive it.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_lock = threading.Lock()
_stack: contextlib.ExitStack | None = None
_inside = 0


@contextlib.contextmanager
def quiet(max_pixels: int = 0) -> Iterator[None]:
    """Silence warnings and let Pillow open at least `max_pixels`, until the last of several threads has left.

    Pillow's limit and the filters of `warnings` are global: they are set when the first thread enters and put back
    when the last one leaves. The limit is never lowered, for other users of Pillow in this process.
    """
    global _stack, _inside
    with _lock:
        if _inside == 0:
            _stack = contextlib.ExitStack()
            _stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _stack.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        _inside += 1
        if Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _stack is not None:
                _stack.close()
                _stack = None


_stderr_lock = threading.Lock()
_LIBTIFF = re.compile(  # the module or the codec that complains
    rb"_?(tempfile|[Tt][Ii][Ff][Ff]|MissingRequired|Fax|Group|LZW|ZIP|Deflate|LZMA|ZSTD|O?JPEG|PackBits|Thunder|NeXT"
    rb"|Pixar|Log)[\w.]*: ."
)


@contextlib.contextmanager
def libtiff_errors() -> Iterator[list[str]]:
    """Collect the errors that libtiff prints on standard error, its only way to say that pixels are missing.

    The list is filled when the block ends. What other threads print meanwhile goes on to standard error then.
    """
    import tempfile

    lines: list[str] = []
    with _stderr_lock, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # a process without standard error
            yield lines
            return
        stack.callback(os.close, saved)
        sink = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(sink.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(saved, 2)
            sink.seek(0)
            for line in sink.read(1 << 20).splitlines(keepends=True):
                if _LIBTIFF.match(line):
                    lines.append(line.decode("utf-8", "replace").strip())
                else:
                    os.write(2, line)
