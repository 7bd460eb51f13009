"""What the server counts, in the text format of Prometheus."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sharpbit._version import __version__
from sharpbit.serve.job import QUEUED, RUNNING
from sharpbit.serve.queue import Queue

TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(queue: Queue, answered: Mapping[int, int], uploads: int) -> str:
    """All of it.

    Args:
        queue: The jobs.
        answered: How many answers had each status code.
        uploads: The uploads that are on their way.
    """
    parts = [
        _metric("build_info", "gauge", "The version.", {f'version="{__version__}"': 1}),
        _metric("requests_total", "counter", "Answers by status code.", {f'code="{k}"': answered[k] for k in answered}),
        _metric("uploads", "gauge", "Uploads on their way.", {"": uploads}),
        _metric("jobs_queued", "gauge", "Images that wait.", {"": queue.count(QUEUED)}),
        _metric("jobs_running", "gauge", "Images that are upscaled.", {"": queue.count(RUNNING)}),
        _metric("jobs_total", "counter", "Images by how they ended.", _by("state", queue.ended)),
        _metric("seconds_total", "counter", "Seconds of all images by stage.", _by("stage", queue.spent)),
        _metric("result_pixels_total", "counter", "Pixels of all results.", {"": queue.pixels}),
        _metric("stored_bytes", "gauge", "Bytes of images and results that are kept.", {"": queue.stored}),
    ]
    resident = _resident()
    if resident is not None:
        parts.append(_metric("resident_memory_bytes", "gauge", "Memory of the process.", {"": resident}))
    return "".join(parts)


def _by(label: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f'{label}="{name}"': round(value, 6) for name, value in values.items()}


def _metric(name: str, kind: str, about: str, values: Mapping[str, float]) -> str:
    name = f"sharpbit_{name}"
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{{{label}}} {value}" if label else f"{name} {value}" for label, value in values.items()]
    return "\n".join(lines) + "\n"


def _resident() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
