"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import exporter_memory

HERE = Path(__file__).parent

# Torch with more threads than free cores waits at barriers most of the time; tests are small, one thread is best.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the settings files of whoever runs the tests say holds for nobody else.
os.environ["SHARPBIT_SETTINGS"] = os.devnull

# What is measured of engines on this machine belongs to no test.
os.environ["SHARPBIT_CACHE"] = "/dev/null/none"

# What runs in the background of a script ignores Ctrl-C, and all that it starts; tests send it to commands.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What `make fast` leaves out: folders and files that train, quantize whole networks, or build sites and wheels.
SLOW = (
    "arch",
    "data/test_prepare.py",
    "docs",
    "export",
    "measure/test_patchwise.py",
    "measure/test_two_pass_evaluation.py",
    "quant",
    "recipe",
    "reparam/test_rewrite.py",
    "runtime/test_two_passes.py",
    "system/test_parallel.py",
    "twopass/test_classifier.py",
    "verbs",
    "app/test_bad_calibration.py",
    "app/test_clusters_command.py",
    "app/test_nasty_command.py",
    "app/test_export_progress.py",
    "app/test_memory.py",
    "app/test_pair_command.py",
    "app/test_quantize_any.py",
    "app/test_quantize_budget.py",
    "app/test_quantize_command.py",
    "app/test_reparameterize.py",
    "app/test_reproduce.py",
    "image/test_nasty.py",
    "runtime/test_native_build.py",
    "runtime/test_native_programs.py",
    "test_qat_evidence.py",
    "test_refqsr_evidence.py",
    "test_extend.py",
    "test_package.py",
    "test_readme.py",
    "test_training.py",
    "test_two_pass_training.py",
)
# Files that take long as a whole, begun first: a process takes a file at a time, and the last ones shall be short.
FIRST = (
    "runtime/test_native_programs.py",
    "arch/test_contract.py",
    "export/test_qat_export.py",
    "test_wheels.py",
    "recipe/test_recipe.py",
    "docs/test_pages.py",
    "quant/test_tuned.py",
    "runtime/test_two_passes.py",
    "measure/test_two_pass_evaluation.py",
    "quant/test_craft_ptq.py",
    "test_embedded_models.py",
    "app/test_quantize_any.py",
    "app/test_nasty_command.py",
    "quant/test_rounding_kernels.py",
    "reparam/test_rewrite.py",
    "test_extend.py",
    "pipeline/test_exact_tiles.py",
    "system/test_parallel.py",
    "image/test_nasty.py",
)
assert all((HERE / name).exists() for name in SLOW + FIRST), "a file that is slow has moved"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in `SLOW`, and begin with `FIRST`."""
    order = {HERE / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
    for item in items:
        if item.path.is_relative_to(HERE) and any(item.path.is_relative_to(HERE / name) for name in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def one_thread():
    """What sets PyTorch's threads for the whole process (training does) leaves the next test one."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def exporter_remembers():
    """What exporting has worked out once in this process, it does not work out again."""
    exporter_memory.remember()


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
