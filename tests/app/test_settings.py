"""Settings files, environment variables, the log, and what else the program itself has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app.cli import app
from sharpbit.app.manual import EXIT_CODES
from sharpbit.errors import SharpbitError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a photo, of a user without settings."""
    Image.effect_noise((20, 12), 60).convert("RGB").save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHARPBIT_SETTINGS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    return tmp_path


def run(*args, code=0):
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    assert done.exit_code == code, done.output
    return done


def upscaled(*args):
    """The format of a result without a name."""
    run(*args, "upscale", "a.png", "-n", "x2-clean-fast", "--overwrite")
    (found,) = Path().glob("a_x2.*")
    found.unlink()
    return found.suffix[1:]


def test_flags_come_before_variables_before_project_before_user(place, monkeypatch):
    assert upscaled() == "png"
    (place / "config" / "sharpbit.toml").write_text('[upscale]\nformat = "bmp"\n')
    assert upscaled() == "bmp"
    (place / "sharpbit.toml").write_text('[upscale]\nformat = "tif"\n')
    assert upscaled() == "tif"
    monkeypatch.setenv("SHARPBIT_UPSCALE_FORMAT", "webp")
    assert upscaled() == "webp"
    run("upscale", "a.png", "-n", "x2-clean-fast", "-f", "jpg")
    assert (place / "a_x2.jpg").exists()


def test_a_key_outside_of_tables_is_for_every_command_that_has_it(place):
    (place / "sharpbit.toml").write_text("threads = 1\n")
    assert "1 thread" in run("upscale", "a.png", "-n", "x2-clean-fast").stderr
    run("models")


def test_one_file_in_place_of_both(place, monkeypatch):
    (place / "sharpbit.toml").write_text('[upscale]\nformat = "tif"\n')
    monkeypatch.setenv("SHARPBIT_SETTINGS", os.devnull)
    assert upscaled() == "png"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quality = 5\n[upscale]\nqualty = 900\n", "[upscale] qualty is no option of sharpbit upscale; did you mean"),
        ("[upscal]\n", "[upscal] is no command of sharpbit; did you mean upscale?"),
        ("thread = 1\n", "thread is no option of any command"),
        ("a b", "the settings file sharpbit.toml is not TOML"),
        (b"\xff\xfe", "the settings file sharpbit.toml is not TOML"),
        ("[upscale]\nquality = 900\n", "900 is not in the range 1<=x<=100. (from sharpbit.toml)"),
        ("nice = 99\n", "99 is not in the range"),
    ],
)
def test_a_wrong_file_is_named(place, text, words):
    (place / "sharpbit.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run("upscale", "a.png", code=2)
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert sorted(path.name for path in place.iterdir()) == ["a.png", "config", "sharpbit.toml"]


def test_a_wrong_variable_and_a_missing_file_are_named(place, monkeypatch):
    monkeypatch.setenv("SHARPBIT_UPSCALE_QUALITY", "high")
    assert "(from the environment variable SHARPBIT_UPSCALE_QUALITY)" in run("upscale", "a.png", code=2).stderr
    monkeypatch.setenv("SHARPBIT_SETTINGS", "nowhere.toml")
    assert run("doctor", code=2).stderr.startswith("sharpbit: the settings file nowhere.toml cannot be read")


def test_the_log_has_command_outcomes_and_exit_code(place):
    (place / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    run("--log", "run.log", "upscale", "a.png", "broken.png", "-n", "x2-clean-fast", "-o", "out", code=1)
    run("--log", "run.log", "models", "nothing", code=2)
    lines = (place / "run.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \d+ \w", line) for line in lines)
    text = [line.split(" ", 2)[2] for line in lines]
    assert text[0] == "begin: sharpbit --log run.log upscale a.png broken.png -n x2-clean-fast -o out"
    assert any(line.startswith("done: a.png -> out/a.png (20x12 -> 40x24") for line in text)
    assert any(line.startswith("failed: broken.png") for line in text)
    ends = [line for line in text if line.startswith("end: ")]
    assert [line.split(",")[0] for line in ends] == ["end: exit code 1", "end: exit code 2"]
    assert any(line.startswith("sharpbit: there is no model") or "nothing" in line for line in text[-3:-1])


def test_a_log_that_cannot_be_written_is_named(place):
    assert "the log nowhere/run.log cannot be written" in run("--log", "nowhere/run.log", "models", code=1).stderr


def test_priority(place):
    code = "import os, sys; from sharpbit.app.cli import main\ntry: main(['--nice', '7', 'models'])\n"
    code += "finally: print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) == min(os.nice(0) + 7, 19)


def test_the_manual_has_every_command_and_option():
    text = run("--man").stdout.replace("\\-", "-")
    for name, command in app.commands.items():
        assert f".SS sharpbit {name} " in text
        for option in (name for part in command.params if not getattr(part, "hidden", False) for name in part.opts):
            assert option in text or not option.startswith("--"), option
    assert not [line for line in text.splitlines() if line.startswith("'") or re.match(r"\.(?![A-Z]{1,2}\b)", line)]


def test_the_manual_has_the_exit_codes_of_errors():
    codes = {code for code, _ in EXIT_CODES}
    errors = [SharpbitError]
    for error in errors:
        errors += error.__subclasses__()
    assert {error.exit_code for error in errors} <= codes


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    assert "_SHARPBIT_COMPLETE" in run("--completion", shell).stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("sharpbit upsc", "plain,upscale"),
        ("sharpbit upscale -n x2-clean-f", "plain,x2-clean-fast"),
        ("sharpbit upscale pho", "file,pho"),
        ("sharpbit inspect x4-photo-b", "plain,x4-photo-balanced"),
        ("sharpbit quantize --meth", "plain,--method"),
    ],
)
def test_what_a_shell_completes(words, expected):
    environment = {**os.environ, "_SHARPBIT_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(words.count(" "))
    command = [sys.executable, "-m", "sharpbit"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert expected in done.stdout.split("\n")


def test_a_bug_report_has_no_home(place, monkeypatch):
    home = place / "home" / "somebody"
    (home / ".config").mkdir(parents=True)
    (home / ".config" / "sharpbit.toml").write_text("")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(home))
    text = run("doctor", "--report").stdout
    assert "~/.config/sharpbit.toml" in text
    assert "somebody" not in text
    assert "exclude each other" in run("doctor", "--report", "--json", code=2).stderr
