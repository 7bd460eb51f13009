"""Progress is one of two types: what was done since the last call, or a phase with how much of it is done."""

import ast
import io
import time
from pathlib import Path

import pytest
from tqdm import tqdm

import sharpbit
from sharpbit.system.progress import counted, shown, timed
from sharpbit.verbs.bench import Candidate, Rules

ROOT = Path(sharpbit.__file__).parent


def test_a_loop_in_a_phase():
    seen = []
    count = counted(lambda *state: seen.append(state), "reading", 3)
    for _ in range(4):
        count(1)
    assert seen == [("reading", 1, 3), ("reading", 2, 3), ("reading", 3, 3), ("reading", 3, 3)]
    counted(None, "reading", 3)(1)


def test_phases_in_a_bar():
    with tqdm(disable=False, delay=60) as bar:
        shown(bar)("fitting", 2, 5)
        assert (bar.n, bar.total, bar.desc) == (2, 5, "fitting: ")


def test_phases_of_a_benchmark():
    seen = []
    engines = [Candidate(name, "x2-clean-balanced", "onnx") for name in ("a", "b")]
    sharpbit.bench(engines, [(8, 8)], Rules(threads=1, seconds=0.01), lambda *state: seen.append(state))
    assert seen == [("a: first result", 0, 3), ("b: first result", 1, 3), ("8x8, in turn", 2, 3)]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_types(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.arg) and node.arg == "progress" and node.annotation is not None:
            name = ast.unparse(node.annotation).removesuffix(" | None")
            assert name in ("Progress", "Phases"), f"{path.name}:{node.lineno}: {name}"


@pytest.mark.parametrize(("terminal", "hidden"), [(True, False), (False, False), (True, True)])
def test_work_without_steps_has_a_clock_on_a_terminal_alone(monkeypatch, terminal, hidden):
    class Screen(io.StringIO):
        def isatty(self):
            return terminal

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with timed("exporting {} net.onnx", hidden=hidden, delay=0.01):
        time.sleep(0.3)
    said = screen.getvalue()
    assert ("exporting {} net.onnx [00:00]" in said) == (terminal and not hidden)
    assert said.split("\r")[-1].strip() == ""  # and is cleared


def test_short_work_shows_no_clock(capsys):
    with timed("exporting"):
        pass
    assert not capsys.readouterr().err
