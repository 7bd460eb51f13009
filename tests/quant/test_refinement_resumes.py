"""A boundary refinement that was killed goes on where it was, and takes up no state of another run."""

import numpy as np
import pytest
import torch

import sharpbit
from sharpbit import model as models
from sharpbit.data.calibration import Cut
from sharpbit.quant.ptq import refinement_state
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.refinement_state import NAME
from sharpbit.verbs.refine import refine_with_receipt

PREPARED = Cut(6, 0, "prepared")
HOW = Refinement(rate=0.01, batch=2, steps=7, fall=True)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return models.build("espcn", scale=2)


@pytest.fixture(scope="module")
def crops():
    return [np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8) for seed in range(6)]


@pytest.fixture(scope="module")
def begun(teacher, crops):
    return sharpbit.quantize(teacher, crops, method="minmax", bits=4, cut=PREPARED, frozen=False)


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(refinement_state, "EVERY", -1.0)


def run(begun, teacher, crops, how=HOW, keep=None, end=None):
    """The refined model and the steps that were reported; `end` kills it there."""
    seen = []

    def progress(_, done, total):
        seen.append(done)
        if done == end:
            raise Killed

    model, _ = refine_with_receipt(begun, teacher, crops, how, cut=PREPARED, keep=keep, progress=progress)
    return model, seen


def same(one, other):
    return all(torch.equal(value, other.net.state_dict()[key]) for key, value in one.net.state_dict().items())


def test_a_killed_refinement_goes_on_exactly(begun, teacher, crops, tmp_path, always):
    whole, every = run(begun, teacher, crops)
    assert every == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(Killed):
        run(begun, teacher, crops, keep=tmp_path, end=4)
    after, rest = run(begun, teacher, crops, keep=tmp_path)
    assert rest == [4, 5, 6, 7]
    assert same(after, whole)
    assert after.history[-1].losses == whole.history[-1].losses


@pytest.mark.parametrize("change", ["settings", "images", "model", "teacher"])
def test_another_run_begins_at_its_beginning(begun, teacher, crops, tmp_path, always, change):
    with pytest.raises(Killed):
        run(begun, teacher, crops, keep=tmp_path, end=4)
    how = Refinement(rate=0.02, batch=2, steps=7, fall=True) if change == "settings" else HOW
    crops = crops[::-1] if change == "images" else crops
    if change == "model":
        begun = sharpbit.quantize(teacher, crops, method="minmax", bits=5, cut=PREPARED, frozen=False)
    if change == "teacher":
        torch.manual_seed(1)
        teacher = models.build("espcn", scale=2)
    after, steps = run(begun, teacher, crops, how, tmp_path)
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    assert same(after, run(begun, teacher, crops, how)[0])


def test_a_damaged_state_is_left_aside(begun, teacher, crops, tmp_path, always):
    with pytest.raises(Killed):
        run(begun, teacher, crops, keep=tmp_path, end=4)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:200])
    assert run(begun, teacher, crops, keep=tmp_path)[1] == [1, 2, 3, 4, 5, 6, 7]


def test_nothing_is_written_in_a_short_run(begun, teacher, crops, tmp_path):
    run(begun, teacher, crops, keep=tmp_path)
    assert not list(tmp_path.iterdir())
