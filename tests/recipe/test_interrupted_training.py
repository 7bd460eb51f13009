"""Ctrl-C and SIGTERM while training: a checkpoint of the last step, and a run that goes on exactly from it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from sharpbit import training
from sharpbit.data.pairs import Pairs
from sharpbit.model import build
from sharpbit.system.interrupts import Held
from sharpbit.training import Training, train
from small_recipes import images, small, written

STEPS = 12


def begun():
    torch.manual_seed(1)
    return build("plain", scale=2, blocks=1, width=4)


def plan(steps=STEPS):
    return Training(steps=steps, batch=2, patch=8, precision="float32")


def weights(model):
    return torch.cat([weight.flatten() for weight in model.net.state_dict().values()])


@pytest.fixture
def pairs(tmp_path):
    return Pairs.from_folder(Path(images(tmp_path / "pictures", (40, 36))), 2, quiet=True)


def checkpoint(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["step"]


def interrupt_in(monkeypatch, step, number=signal.SIGINT):
    """Send this process the signal in the middle of a step, once."""
    loss, calls = training.image_loss, []

    def image_loss(*given):
        calls.append(1)
        if len(calls) == step:
            signal.raise_signal(number)
        return loss(*given)

    monkeypatch.setattr(training, "image_loss", image_loss)


def test_ctrl_c_in_a_step_loses_nothing(pairs, tmp_path, monkeypatch):
    interrupt_in(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        train(begun(), pairs, plan(), out=tmp_path / "run", quiet=True)
    assert checkpoint(tmp_path / "run") == 5
    done = train(begun(), pairs, plan(), out=tmp_path / "run", quiet=True)
    assert torch.equal(weights(done), weights(train(begun(), pairs, plan(), quiet=True)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_lets_the_training_go_on(pairs, tmp_path, monkeypatch):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        interrupt_in(monkeypatch, 5, signal.SIGTERM)
        done = train(begun(), pairs, plan(), out=tmp_path / "run", quiet=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert done.history[-1].steps == STEPS


def test_a_measurement_ends_at_once_and_is_made_when_the_run_goes_on(pairs, tmp_path):
    def interrupted(model):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the signal had to wait")

    given = {"out": tmp_path / "run", "quiet": True, "validate_every": 5}
    with pytest.raises(KeyboardInterrupt):
        train(begun(), pairs, plan(), validate=interrupted, **given)
    assert checkpoint(tmp_path / "run") == 5
    for _ in range(2):  # the second one finds the run complete
        train(begun(), pairs, plan(), validate=lambda model: {"A": 30.0}, **given)
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "psnr" in line] == [5, 10, STEPS]


def test_a_signal_that_comes_twice_ends_at_once_unless_it_is_the_same(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Held() as held:
        signal.raise_signal(signal.SIGINT)
        clock[0] = 0.1
        signal.raise_signal(signal.SIGINT)  # `timeout` sends it to the process and to its group
        assert held.waiting == signal.SIGINT
        clock[0] = 1.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        held.waiting = None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_comes_after_the_last_step_is_not_lost():
    with pytest.raises(KeyboardInterrupt), Held():
        signal.raise_signal(signal.SIGINT)


def test_other_threads_hold_nothing():
    held = []
    thread = threading.Thread(target=lambda: held.append(Held().__enter__()))
    thread.start()
    thread.join()
    assert held[0].waiting is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(os.name != "posix", reason="signals of this system are others")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_how_it_goes_on(tmp_path, number):
    steps = '[[step]]\nverb = "train"\nsteps = 1000000\nbatch = 2\npatch = 8\n'
    recipe = written(tmp_path, small("plain", "scale = 2, blocks = 1, width = 4", steps))
    data, out = images(tmp_path / "pictures", (40, 36)), tmp_path / "out"
    command = [sys.executable, "-m", "sharpbit", "train", recipe, "--data", data, "--out", out, "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (out / "log.jsonl").exists():  # after 100 steps
        time.sleep(0.01)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number, told
    word = "terminated" if number == signal.SIGTERM else "interrupted"
    assert told == f"sharpbit: {word}; the same command goes on from its last checkpoint\n"
    assert checkpoint(out) >= 100
