"""Atomic files, the catalog, the check of results, filled transparency."""

import errno
import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import pytest

from sharpbit.errors import OutputExists, ResultError, UsageError
from sharpbit.image.alpha import fill
from sharpbit.pipeline.sanity import Check
from sharpbit.system import atomic
from sharpbit.system.atomic import check_target, open_atomic
from sharpbit.system.catalog import Catalog


@pytest.fixture(params=["unnamed", "named"])
def kind(request, monkeypatch):
    """Both ways to write: a file without a name, and a hidden neighbour."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return request.param


def test_a_file_appears_at_the_end(tmp_path, kind):
    path = tmp_path / "new" / "a.txt"
    with open_atomic(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    with open_atomic(path, overwrite=True) as file:
        file.write(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_nothing(tmp_path, kind):
    with pytest.raises(ZeroDivisionError), open_atomic(tmp_path / "a.txt") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_stays(tmp_path, kind):
    path = tmp_path / "a.txt"
    with pytest.raises(OutputExists), open_atomic(path) as file:
        path.write_text("somebody else's")
        file.write(b"mine")
    assert path.read_text() == "somebody else's"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_errors_name_the_file_that_was_asked_for(tmp_path, kind, monkeypatch):
    path = tmp_path / "a.txt"

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught, open_atomic(path) as file:
        file.write(b"half")
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError) as caught, open_atomic("/proc/a.txt"):
        pass
    assert caught.value.filename == "/proc/a.txt"


def test_a_target_is_checked_before_the_work(tmp_path, kind):
    check_target(tmp_path / "new" / "deep" / "a.txt")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    for path, overwrite, error in [
        (tmp_path / "file", False, OutputExists),
        (tmp_path, False, OutputExists),
        (tmp_path, True, IsADirectoryError),
        (tmp_path / "file" / "a.txt", False, NotADirectoryError),
        ("/proc/a.txt", False, FileNotFoundError),
        ("/proc/new/a.txt", True, FileNotFoundError),
    ]:
        with pytest.raises(error) as caught:
            check_target(path, overwrite=overwrite)
        assert error is OutputExists or caught.value.filename == str(path)
    check_target(tmp_path / "file", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_parts_of_killed_processes_are_swept(tmp_path):
    code = "import os, sys, pathlib\nfrom sharpbit.system.atomic import check_target, open_atomic\ndel os.O_TMPFILE\n"
    code += f"with open_atomic(pathlib.Path({str(tmp_path / 'a.txt')!r})) as f:\n    os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    atomic._swept.clear()
    mine = tmp_path / f".b.txt.{os.getpid()}.0a.part"
    mine.touch()
    with open_atomic(tmp_path / "c.txt") as file:
        file.write(b"x")
    assert {p.name for p in tmp_path.iterdir()} == {"c.txt", mine.name}


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_catalog_finds_modules_and_says_what_is_near():
    runtimes = Catalog("sharpbit.runtime", "RUNTIME")
    assert "onnx" in runtimes
    assert callable(runtimes["onnx"])
    with pytest.raises(
        UsageError, match="no runtime called 'xyzw'; known are native, onnx, openvino, openvino_bf16, torch"
    ):
        runtimes["xyzw"]
    with pytest.raises(UsageError, match="no runtime called 'onx'; near it: onnx"):
        runtimes["onx"]


def test_a_library_beside_the_modules_is_no_member(tmp_path, monkeypatch):
    package = tmp_path / "somewhere"
    package.mkdir()
    for name in ("__init__.py", "one.py", "_hidden.py", f"libtwo{EXTENSION_SUFFIXES[-1]}"):
        (package / name).write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(Catalog("somewhere", "X")) == ["one"]


def test_the_catalog_takes_other_distributions(tmp_path):
    package = tmp_path / "other-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[sharpbit.runtime]\nmine = mine:RUNTIME\n")
    (tmp_path / "mine.py").write_text("RUNTIME = 'here'\n")
    code = "from sharpbit.runtime import RUNTIMES; print(RUNTIMES['mine'], 'mine' in list(RUNTIMES))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "here True", done.stderr


def judged(before, after, scale=2):
    check = Check("it", scale)
    check.add(before.astype(np.float32), after.astype(np.float32))
    check.finish()


def test_right_results_pass():
    rng = np.random.default_rng(0)
    before = rng.random((50, 37, 3))
    judged(before, before.repeat(2, 0).repeat(2, 1) + rng.normal(0, 0.1, (100, 74, 3)))
    judged(np.zeros((8, 8, 3)), np.zeros((16, 16, 3)))


WRONG = {
    "not a number": (lambda x: np.where(np.arange(len(x))[:, None, None] == 3, np.nan, x), "not a number"),
    "infinite": (lambda x: np.where(np.arange(len(x))[:, None, None] == 3, np.inf, x), "not a number"),
    "black": (lambda x: x * 0, "colour|black"),
    "inverted": (lambda x: 1 - x, "colour"),
    "darker": (lambda x: x * 0.6, "colour"),
    "one block": (lambda x: np.where((np.indices(x.shape)[:2] < 32).all(0), 1.0, x), "part of the result"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_results_do_not(name):
    before = np.tile(np.array([0.6, 0.4, 0.5]), (48, 48, 1))
    spoil, words = WRONG[name]
    with pytest.raises(ResultError, match=words):
        judged(before, spoil(before.repeat(2, 0).repeat(2, 1)))


def test_a_dark_image_that_turns_black():
    before = np.full((48, 48, 3), 0.05)
    with pytest.raises(ResultError, match="black"):
        judged(before, np.zeros((96, 96, 3)))


def test_invisible_pixels_take_the_colour_of_their_neighbours():
    pixels, alpha = np.zeros((33, 47, 3), np.uint8), np.zeros((33, 47), np.uint8)
    pixels[10:20, 12:30], alpha[10:20, 12:30] = [200, 100, 50], 255
    out = fill(pixels, alpha)
    assert np.abs(out.astype(int) - [200, 100, 50]).max() <= 1
    assert np.array_equal(out[alpha > 0], pixels[alpha > 0])
    two = pixels.copy()
    two[25:, 40:], alpha[25:, 40:] = [0, 0, 255], 255
    near = fill(two, alpha)
    assert near[24, 39, 2] > 150
    assert near[10, 11, 0] > 150
    assert fill(pixels, np.full_like(alpha, 255)) is pixels
    assert fill(pixels, np.zeros_like(alpha)) is pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_filling_is_the_same_in_bands_and_types(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max if dtype != np.float32 else 1
    pixels = (rng.random((70, 51, 3)) * top).astype(dtype)
    alpha = ((rng.random((70, 51)) > 0.97) * top).astype(dtype)
    whole = fill(pixels, alpha)
    monkeypatch.setattr("sharpbit.image.alpha._BAND", 16)
    assert np.allclose(fill(pixels, alpha), whole, atol=1e-6)


def test_the_data_folder_of_the_package_is_complete():
    import sharpbit

    assert (Path(sharpbit.__file__).parent / "py.typed").exists()
