"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

# Torch with more threads than free cores waits at barriers most of the time; tests are small, one thread is best.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What runs in the background of a script ignores Ctrl-C, and all that it starts; tests send it to commands.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that is not in the repository: $SHARPBIT_SHARED, by default ../shared beside it.

    Without it a test is skipped, and fails where CI=true says that it must be there.
    """
    folder = Path(os.environ.get("SHARPBIT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        message = f"no data in {folder}; set SHARPBIT_SHARED to the folder that holds it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture
def golden_path(request) -> Callable[[str], Path]:
    """Where the golden file of a name is: beside the tests, or with the data that is not in the repository."""

    def find(name: str) -> Path:
        path = Path(__file__).parent / "golden" / f"{name}.safetensors"
        return path if path.exists() else request.getfixturevalue("shared") / "golden" / path.name

    return find
