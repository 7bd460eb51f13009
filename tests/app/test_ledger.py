"""A run accounts for everything that it was given: in its summary, its JSON and its exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app import printable
from sharpbit.app.cli import app
from sharpbit.pipeline import walk


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("in/a.png", "in/b.jpg", "in/sub/c.webp"):
        Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(name)
    (tmp_path / "in" / "phone.heif_").write_text("no image by its name")
    (tmp_path / "in" / ".hidden").write_text("")
    return tmp_path


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["upscale", *map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


def lines(*arguments, code=0):
    done = run(*arguments, "--json-lines", code=code)
    return {item["input"]: item for item in map(json.loads, done.stdout.splitlines())}


def test_every_entry_has_a_line(folder):
    (folder / "in" / "bad.png").write_bytes(b"no image")
    found = lines("in", "-o", "out", code=1)
    assert {name: item["status"] for name, item in found.items()} == {
        "in/.hidden": "ignored",
        "in/a.png": "done",
        "in/b.jpg": "done",
        "in/bad.png": "failed",
        "in/phone.heif_": "ignored",
        "in/sub/c.webp": "done",
    }
    assert "no image by its name (.heif_)" in found["in/phone.heif_"]["reason"]
    whole = json.loads(run("in", "-o", "out", "--skip-existing", "--json", code=1).stdout)
    assert [item["input"] for item in whole["ignored"]] == ["in/.hidden", "in/phone.heif_"]
    assert {status: whole["summary"][status] for status in ("done", "skipped", "ignored", "failed")} == {
        "done": 0,
        "skipped": 3,
        "ignored": 2,
        "failed": 1,
    }
    assert run("in", "--json", "--json-lines", code=2).stdout == ""


def test_what_is_ignored_is_named(folder):
    done = run("in", "-o", "out")
    assert "note: in/phone.heif_: ignored: it is no image by its name (.heif_)" in done.stderr
    assert "3 done, 2 ignored" in done.stderr
    assert ".hidden" not in done.stderr


def test_a_folder_that_cannot_be_entered_is_named_and_fails(folder, monkeypatch):
    """As another user would see it; root may enter any."""
    real = os.scandir

    def scandir(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(walk.os, "scandir", scandir)
    done = run("in", "-o", "out", code=1)
    assert "2 done, 1 failed, 2 ignored" in done.stderr
    assert "sharpbit: the folder in/sub cannot be entered: Permission denied" in done.stderr
    found = lines("in", "-o", "out", "--overwrite", code=1)
    assert found["in/sub"]["status"] == "failed"


def test_linked_folders_are_entered_when_asked_and_once(folder):
    (folder / "far").mkdir()
    (folder / "in" / "sub" / "c.webp").rename(folder / "far" / "c.webp")
    (folder / "in" / "link").symlink_to("../far")
    (folder / "in" / "sub" / "loop").symlink_to("..")
    found = lines("in", "-o", "out")
    assert "--follow-links" in found["in/link"]["reason"]
    found = lines("in", "-o", "out2", "--follow-links")
    assert found["in/link/c.webp"]["status"] == "done"
    assert "entered already" in found["in/sub/loop"]["reason"]


def test_results_of_earlier_runs_are_not_upscaled_again(folder):
    run("in")
    found = lines("in", "-s", "4")
    assert found["in/a_x2.png"]["status"] == found["in/b_x2.jpg"]["status"] == "skipped"
    assert "x2-clean-balanced x2" in found["in/a_x2.png"]["reason"]
    assert not list((folder / "in").rglob("*_x2_x4*"))
    assert lines("in/a_x2.png", "-s", "4")["in/a_x2.png"]["status"] == "done"


def test_the_results_of_the_same_command_are_accounted_for(folder):
    run("in")
    found = lines("in", "--skip-existing")
    assert found["in/a_x2.png"] == {
        "input": "in/a_x2.png",
        "status": "ignored",
        "seconds": 0.0,
        "reason": "it is the result of in/a.png",
    }


@pytest.mark.parametrize("flags", [["-s", "4"], ["-s", "2", "-n", "x3-clean-balanced"], ["--width", "20"]])
def test_results_of_another_scale_or_model_are_not_taken_for_those_asked_for(folder, flags):
    run("in", "-o", "out", "-n", "x2-clean-balanced")
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*.*")}
    done = run("in", "-o", "out", *flags, "--skip-existing", code=1)
    assert "out/a.png was made by x2-clean-balanced x2" in done.stderr
    assert "3 failed" in done.stderr
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*.*")} == before
    for same in (["-s", "2"], ["-n", "x2-clean-balanced"], ["--width", "32"]):
        assert "3 skipped" in run("in", "-o", "out", *same, "--skip-existing").stderr


def test_names_do_not_steer_the_terminal(folder):
    (folder / "in" / "a.png").rename("in/\x1b[31mred\n.png")
    done = run("in/\x1b[31mred\n.png", "in/nothing\x1b[0m.png", "-o", "out", "-v", code=1)
    assert "\x1b" not in done.stderr
    assert "in/\\x1b[31mred\\n.png" in done.stderr
    assert "nothing\\x1b[0m.png does not exist" in done.stderr
    assert printable("é\u202e日") == "é\\u202e日"


def test_a_name_that_begins_with_a_dash(folder):
    (folder / "in" / "a.png").rename("-dash.png")
    assert "name the file as ./-dash.png" in run("-dash.png", code=2).stderr
    run("./-dash.png")
    run("-o", "x.png", "--", "-dash.png")
    assert (folder / "-dash_x2.png").exists()


def test_overwrite_writes_through_a_link(folder):
    (folder / "out").mkdir()
    (folder / "real.png").write_text("old")
    (folder / "out" / "a.png").symlink_to("../real.png")
    run("in/a.png", "-o", "out", "--overwrite")
    assert (folder / "out" / "a.png").is_symlink()
    with Image.open("real.png") as image:
        assert image.size == (32, 24)


def test_a_link_to_an_input_is_not_written_through(folder):
    (folder / "out").mkdir()
    (folder / "out" / "a.png").symlink_to("../in/a.png")
    before = (folder / "in" / "a.png").read_bytes()
    assert "is a link to in/a.png" in run("in", "-o", "out", "--overwrite", code=1).stderr
    assert (folder / "in" / "a.png").read_bytes() == before


def test_long_names_outside_ascii_are_overwritten(folder):
    name = "é" * 125 + ".png"
    (folder / "in" / "a.png").rename(f"in/{name}")
    for _ in range(2):
        run(f"in/{name}", "-o", "out", "--overwrite")
    assert (folder / "out" / name).exists()


def test_an_interruption_while_modules_are_loaded_is_quiet(tmp_path):
    """The module that is loaded first waits for it."""
    (tmp_path / "click.py").write_text("print('loading', flush=True)\nimport time\ntime.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-m", "sharpbit", "upscale", "a.png"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "loading\n"
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode != 0
    assert told == ""
