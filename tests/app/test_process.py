"""The command as a process: signals, kills, cold starts, and what it never loads."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sharpbit.app import signals

COMMAND = Path(sys.executable).with_name("sharpbit")
IMAGES = 24


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for k in range(IMAGES):
        pixels = rng.integers(0, 256, (60, 70, 3), np.uint8).repeat(2, 0).repeat(2, 1)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{k:02}.png")
    return tmp_path


def start(folder, *flags):
    command = [COMMAND, "upscale", folder / "in", "-o", folder / "out", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_results(folder, count, process):
    while process.poll() is None and len(list((folder / "out").glob("*.png"))) < count:
        time.sleep(0.002)


def complete(folder):
    """Every file of the output folder, each opened to its last pixel."""
    names = sorted(path.name for path in (folder / "out").iterdir()) if (folder / "out").exists() else []
    names = [name for name in names if not name.endswith(".claim")]  # who was killed cannot take them away
    for name in names:
        assert name.endswith(".png") and not name.startswith("."), names
        with Image.open(folder / "out" / name) as image:
            image.load()
            assert image.size == (280, 240)
    return names


def test_a_killed_run_leaves_no_partial_file_and_the_next_one_does_the_rest(folder):
    chance = random.Random(7)
    seen = []
    for _ in range(6):
        process = start(folder, "--skip-existing", "--quiet")
        wait_for_results(folder, min(IMAGES, len(seen) + 1), process)
        time.sleep(chance.uniform(0, 0.06))
        process.kill()
        process.communicate()
        now = complete(folder)
        assert set(seen) <= set(now)
        seen = now
    assert len(seen) > 0
    process = start(folder, "--skip-existing")
    _, told = process.communicate()
    assert process.returncode == 0, told
    assert len(complete(folder)) == IMAGES
    assert not list((folder / "out").glob(".*"))


def test_processes_over_one_folder_make_each_image_once(folder):
    """Whoever is killed loses its claims to the others; all that are left end well."""
    processes = [start(folder, "--skip-existing", "--json-lines", "--quiet", "--threads", "1") for _ in range(3)]
    wait_for_results(folder, 3, processes[0])
    processes[0].kill()
    made = []
    for process in processes:
        lines, told = process.communicate(timeout=300)
        assert process.returncode == (0 if process is not processes[0] else -signal.SIGKILL), told
        found = [json.loads(line) for line in lines.splitlines() if line.endswith("}")]
        assert {item["status"] for item in found} <= {"done", "skipped"}
        made += [item["input"] for item in found if item["status"] == "done"]
    assert len(made) == len(set(made)) >= IMAGES - 2  # it may have died between a result and its line
    assert len(complete(folder)) == IMAGES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_word_how_to_go_on(folder, number):
    process = start(folder)
    wait_for_results(folder, 1, process)
    process.send_signal(number)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    assert ("terminated" if number == signal.SIGTERM else "interrupted") in told
    assert "--skip-existing goes on" in told
    assert "Traceback" not in told
    assert 0 < len(complete(folder)) < IMAGES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_never_cuts_the_search_for_a_module_short(number):
    """Python would keep the lock of imports for good, for which all threads that import anything wait."""
    done = []
    code = compile("raise_signal(number)\ndone.append(1)", "<frozen importlib._bootstrap>", "exec")
    before = signal.signal(number, signals.end_run)
    try:
        with pytest.raises(KeyboardInterrupt):
            exec(code, {"raise_signal": signal.raise_signal, "number": number, "done": done})
            time.sleep(60)
        with pytest.raises(KeyboardInterrupt) as raised:
            signal.raise_signal(number)
        assert signals.code_of(raised.value) == 128 + number
    finally:
        signal.signal(number, before)
    assert done == [1]


def test_a_reader_that_leaves_is_no_stack_trace(folder):
    line = f"{COMMAND} upscale {folder}/in/00.png -o - | head -c 10 >/dev/null"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_torch_is_never_loaded(folder, tmp_path):
    (tmp_path / "fake" / "torch").mkdir(parents=True)
    (tmp_path / "fake" / "torch" / "__init__.py").write_text("raise SystemExit('torch was loaded')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "fake")}
    command = [COMMAND, "upscale", folder / "in" / "00.png", "-o", folder / "a.png"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, "was loaded" in done.stderr) == (0, False)


def test_a_full_disk_is_a_sentence(folder):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    line = f"{COMMAND} upscale {folder}/in/00.png -o - > /dev/full"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_a_folder_that_may_not_be_written(folder):
    if os.geteuid() == 0:
        target = Path("/proc/sharpbit")  # root may write anywhere else
    else:
        target = folder / "locked"
        target.mkdir(mode=0o500)
    done = subprocess.run(
        [COMMAND, "upscale", folder / "in" / "00.png", "-o", f"{target}/"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(target) in done.stderr


def test_version_and_help():
    for flags, word in (
        (["--version"], "sharpbit 0."),
        (["--help"], "upscale"),
        (["upscale", "-h"], "--skip-existing"),
    ):
        done = subprocess.run([COMMAND, *flags], capture_output=True, text=True, check=True)
        assert word in done.stdout
