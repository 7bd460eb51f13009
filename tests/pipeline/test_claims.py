"""Who makes an image of a folder that several processes share."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sharpbit.pipeline import claims
from sharpbit.pipeline.claims import Claims, claim_of


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out" / "a.png"


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(target, pid, machine=None):
    """What a process leaves when it is killed."""
    path = claim_of(target)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{machine or claims._machine()} {pid} abc")
    return path


def test_one_has_it_until_it_gives_it_up(target):
    with Claims() as mine, Claims() as theirs:
        assert mine.take(target)
        assert not theirs.take(target)
        assert theirs.take(target.with_name("b.png"))
        mine.release(target)
        assert theirs.take(target)
        mine.release(target)  # which it does not hold any more
        assert claim_of(target).exists()
    assert not list(target.parent.iterdir())


def test_the_claim_of_a_killed_process_is_taken_over(target, dead):
    leave(target, dead)
    with Claims() as mine, Claims() as theirs:
        assert mine.take(target)
        assert not theirs.take(target)


def test_a_claim_of_another_machine_is_dead_when_nobody_touches_it(target, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    path = leave(target, os.getpid(), "elsewhere")
    with Claims(patience=30) as mine:
        assert not mine.take(target)
        now[0] = 29
        assert not mine.take(target)
        os.utime(path, (1, 1))  # by whatever clock
        now[0] = 40
        assert not mine.take(target)
        now[0] = 71
        assert mine.take(target)


def test_only_one_of_two_takes_over(target, dead, monkeypatch):
    """Both have seen that it is dead; the slower one finds another claim in its place, or the heir of the faster."""
    path = leave(target, dead)
    with Claims() as mine, Claims() as theirs:
        assert mine.take(target)
        token = path.read_text()
        monkeypatch.setattr(claims, "_read", lambda path, real=claims._read: next(answers, real(path)))
        answers = iter([f"{claims._machine()} {dead} abc"])  # what it read before the faster one replaced it
        assert not theirs.take(target)
        assert path.read_text() == token
        assert list(target.parent.iterdir()) == [path]


def test_a_process_that_is_killed_while_it_takes_over_blocks_nobody(target, dead):
    path = leave(target, dead)
    with Claims() as mine:
        heir = path.with_name(f"{path.name}.{claims._digest(path.read_bytes())}")
        heir.write_text(f"{claims._machine()} {dead} def")
        assert not mine.take(target)
        assert mine.take(target)
    assert not list(target.parent.iterdir())


def test_claims_are_touched(target):
    with Claims(beat=0.01) as mine:
        mine.take(target)
        path = claim_of(target)
        os.utime(path, (1, 1))
        for _ in range(1000):
            if path.stat().st_mtime > 1:
                break
            claims.time.sleep(0.01)
        assert path.stat().st_mtime > 1


def test_what_a_killed_process_left_beside_a_result_is_removed(target, dead):
    path = leave(target, dead)
    with Claims() as mine:
        mine.tidy(target)
        assert not path.exists()
        leave(target, os.getpid())
        mine.tidy(target)
        assert path.exists()
        leave(target, dead)
    assert not path.exists()


def test_names_of_any_length_can_be_claimed(tmp_path):
    with Claims() as mine:
        assert all(mine.take(tmp_path / ("é" * 125 + ending)) for ending in (".png", ".jpg"))
    assert not list(Path(tmp_path).iterdir())


def test_a_claim_that_cannot_be_written_leaves_nothing(target):
    """As on a full disk, which has room for the name of a file and for nothing in it."""
    target.parent.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Claims() as mine:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            with pytest.raises(OSError):
                mine.take(target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(target.parent.iterdir()) == []
