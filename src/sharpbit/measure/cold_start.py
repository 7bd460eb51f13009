"""What an engine needs from nothing: seconds to the first result and memory, in a process of its own.

`python -m sharpbit.measure.cold_start` is that process; it does as the JSON on its standard input says.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from sharpbit.errors import SharpbitError
from sharpbit.measure.upscaling import Pixels, by
from sharpbit.runtime import EngineOptions, Runtime
from sharpbit.system.deprecated import old_names

OPENER = "sharpbit.runtime:open_engine"


@dataclass(frozen=True)
class Task:
    """What to open and run.

    Attributes:
        path: the path of the model file.
        engine: its name.
        threads: None takes every core that the process may use.
        device: None is the CPU.
        size: height and width of the image.
        opener: `module:function`, called as `sharpbit.runtime.open_engine`.
        white: what means white in the image and in the result of a file without a header; None tries.
    """

    path: str
    engine: str
    threads: int | None
    device: str | None
    size: tuple[int, int]
    opener: str = OPENER
    white: tuple[float, float] | None = None


@dataclass(frozen=True)
class ColdStart:
    """What was found.

    Attributes:
        first_s: seconds from the start of Python to the first result: imports, opening, one image.
        memory_mib: most resident memory, over some images; None where the system does not tell.
        engine_mib: the part of it, in MiB, that is neither Python and numpy nor the image and its result.
    """

    first_s: float
    memory_mib: float | None
    engine_mib: float | None


def cold_start(task: Task) -> ColdStart:
    """Measure in a new process.

    Raises:
        SharpbitError: the process failed; the sentence is its own.
    """
    started = time.time()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-m", "sharpbit.measure.cold_start"],
        input=json.dumps({"started": started, **asdict(task)}),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SharpbitError(f"{task.engine} in a process of its own: {lines[-1]}")
    return ColdStart(**json.loads(done.stdout.splitlines()[-1]))


def opened(task: Task) -> Runtime:
    """The engine with the model.

    Raises:
        SharpbitError: it is not installed, or cannot run this file.
    """
    module, _, function = task.opener.partition(":")
    opener = getattr(importlib.import_module(module), function)
    if task.white is not None:
        options = EngineOptions(task.engine, task.device, task.threads, white=task.white)
        return cast(Runtime, opener(Path(task.path), options))
    return cast(Runtime, opener(Path(task.path), task.engine, threads=task.threads, device=task.device))


def image(size: tuple[int, int]) -> Pixels:
    """Noise of `size`: the time does not depend on what is in an image."""
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


def _main() -> int:
    values = json.loads(sys.stdin.read())
    started = values.pop("started")
    task = Task(**values | {"size": tuple(values["size"]), "white": values["white"] and tuple(values["white"])})
    source, before = image(task.size), _peak()
    try:
        upscale = by(opened(task))
        result = upscale(source)
        first = time.time() - started
        for _ in range(3):
            upscale(source)
    except SharpbitError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    after = _peak()
    engine = None if before is None or after is None else after - before - result.nbytes / 2**20
    sys.stdout.write(json.dumps(asdict(ColdStart(first, after, engine))) + "\n")
    return 0


def _peak() -> float | None:
    """Most resident memory of this process, in MiB, without what `getrusage` counts of its parent."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


__getattr__ = old_names(__name__, {"Fresh": "ColdStart", "fresh": "cold_start"})


if __name__ == "__main__":
    sys.exit(_main())
