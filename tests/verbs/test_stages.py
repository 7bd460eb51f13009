"""Quantizing after training in stages: an unfrozen file, refining, freezing."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import sharpbit
from sharpbit import model as models
from sharpbit.app.cli import main
from sharpbit.data.calibration import Cut
from sharpbit.errors import QuantizeError, ResultWarning, UsageError
from sharpbit.quant import kernels
from sharpbit.quant.core import quantizers
from sharpbit.quant.frozen import Integers
from sharpbit.system.devices import device_error

PREPARED = Cut(8, 0, "prepared")


@pytest.fixture(scope="module")
def craft():
    torch.manual_seed(0)
    return models.build("craft", scale=2, width=8, depths=(1,), heads=2)


@pytest.fixture(scope="module")
def crops():
    return [np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8) for seed in range(8)]


@pytest.fixture(scope="module")
def begun(craft, crops):
    return sharpbit.quantize(craft, crops, method="adc", bits=4, cut=PREPARED, batch=2, frozen=False)


def run(*arguments, capsys=None):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_stages_give_what_one_command_gives(craft, crops):
    given = {"method": "minmax", "bits": 4, "cut": PREPARED, "batch": 2}
    first = sharpbit.quantize(craft, crops, **given, frozen=False)
    after = sharpbit.freeze(sharpbit.refine(first, craft, crops, steps=6, cut=PREPARED))
    once = sharpbit.quantize(craft, crops, **given, refine=6)
    assert [entry.verb for entry in after.history] == ["quantize", "calibrate", "refine", "freeze"]
    assert all(torch.equal(value, once.net.state_dict()[key]) for key, value in after.net.state_dict().items())


def test_the_number_of_batches_moves_clipping_ranges(craft, crops, begun):
    whole = sharpbit.quantize(craft, crops, method="adc", bits=4, cut=PREPARED, batch=8, frozen=False)
    assert [entry.batches for entry in (begun.history[1], whole.history[1])] == [4, 1]
    found = dict(quantizers(whole.net))
    spans = [
        (own.range.hi - own.range.lo, found[name].range.hi - found[name].range.lo)
        for name, own in quantizers(begun.net)
        if name.endswith("kernel")
    ]
    assert sum(bool((few < many).all()) for few, many in spans) > 0.9 * len(spans)


def test_weights_of_eight_bits_have_a_zero_point_where_asked_for(craft, crops):
    models_of = [
        sharpbit.quantize(craft, crops, method="minmax", cut=PREPARED, asymmetric=asymmetric)
        for asymmetric in (False, True)
    ]
    zeros = [
        any(bool(part.zero.any()) for part in model.net.modules() if isinstance(part, Integers)) for model in models_of
    ]
    assert zeros == [False, True]


def test_refining_with_compiled_rounding(craft, crops, begun, monkeypatch):
    """The functions that are compiled take part, and the first loss is the same to the last bit."""
    sizes = []

    def made(part, **_):
        return lambda x, *rest: sizes.append(x.numel()) or part(x, *rest)

    monkeypatch.setattr(torch, "compile", made)
    monkeypatch.setattr(kernels, "BLOCK", 256)
    one, other = (
        sharpbit.refine(begun, craft, crops, steps=2, cut=PREPARED, compiled=compiled).history[-1].losses
        for compiled in (False, True)
    )
    assert len(sizes) > 100
    assert one[0] == other[0]
    assert one[1] == pytest.approx(other[1], rel=0.05)


def test_epochs_are_counted_in_batches(craft, crops, begun):
    after = sharpbit.refine(begun, craft, crops[:5], epochs=2, cut=Cut(9, 0, "prepared"))
    assert after.history[-1].how.steps == 6
    with pytest.raises(UsageError, match="give one of them"):
        sharpbit.refine(begun, craft, crops, epochs=2, steps=3)


def test_the_teacher_may_have_the_mask(craft, crops, begun):
    masked = models.reconfigured(craft, mask=True)
    own, other = (sharpbit.refine(begun, one, crops, steps=1, cut=PREPARED).history[-1] for one in (craft, masked))
    assert own.losses[0] != other.losses[0]
    with pytest.raises(UsageError, match="no option colour"):
        models.reconfigured(craft, colour=3)
    with pytest.raises(UsageError, match="another size"):
        models.reconfigured(craft, width=16)


def test_a_teacher_of_other_weights_is_taken_with_a_warning(craft, crops, begun):
    other = models.build("craft", scale=2, width=8, depths=(1,), heads=2)
    with pytest.warns(ResultWarning, match="a craft with other weights than the model"):
        sharpbit.refine(begun, other, crops, steps=1, cut=PREPARED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sharpbit.refine(begun, models.reconfigured(craft, mask=True), crops, steps=1, cut=PREPARED)


def test_what_cannot_be_refined(craft, crops, begun):
    frozen = sharpbit.freeze(begun)
    with pytest.raises(UsageError, match="--unfrozen"):
        sharpbit.refine(frozen, craft, crops)
    with pytest.raises(UsageError, match="frozen already"):
        sharpbit.freeze(frozen)
    with pytest.raises(QuantizeError, match="quantized itself"):
        sharpbit.refine(begun, frozen, crops)
    with pytest.raises(QuantizeError, match="espcn"):
        sharpbit.refine(begun, models.build("espcn", scale=2), crops)
    with pytest.raises(UsageError, match="integers at once"):
        sharpbit.quantize(models.build("plain", scale=2, blocks=1, width=4), crops, method="lossless", frozen=False)


def test_commands(craft, crops, tmp_path, capsys):
    models.save(craft, tmp_path / "float.safetensors")
    folder = tmp_path / "crops"
    folder.mkdir()
    for number, crop in enumerate(crops):
        Image.fromarray(crop).save(folder / f"{number}.png")
    given = ("--calibrate", str(folder), "--prepared", "--quiet")
    begun, refined, frozen = (str(tmp_path / f"{name}.safetensors") for name in ("begun", "refined", "frozen"))
    float_model = str(tmp_path / "float.safetensors")
    assert (
        run(
            "quantize",
            float_model,
            "--method",
            "minmax",
            "--bits",
            "4",
            "--batch",
            "2",
            *given,
            "--unfrozen",
            "-o",
            begun,
        )
        == 0
    )
    assert "8 crops of 16x16 pixels, prepared, of 8 images" in capsys.readouterr().out
    more = ("--teacher", float_model, "--teacher-config", "mask=true", "--epochs", "1", "--lr", "0.01", "--batch", "4")
    assert run("refine", begun, *more, *given, "--json", "-o", refined) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["crops"], told["side"]) == (2, 8, 16)
    assert run("freeze", refined, "-o", frozen) == 0
    assert "W4A8 W4A4" in capsys.readouterr().out
    assert [entry.verb for entry in models.load(frozen).history] == ["quantize", "calibrate", "refine", "freeze"]
    assert run("freeze", refined, "-o", frozen) != 0  # it is there
    assert run("freeze", refined, "-o", str(tmp_path / "frozen.onnx")) == 2
    assert run("quantize", float_model, *given, "--unfrozen", "--method", "adc", "-o", f"{tmp_path}/x.onnx") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_teacher_of_other_sizes_is_refused(crops, begun):
    for sizes in ({"width": 16, "depths": (1,)}, {"width": 8, "depths": (2,)}):
        with pytest.raises(QuantizeError, match="other sizes"):
            sharpbit.refine(begun, models.build("craft", scale=2, heads=2, **sizes), crops, cut=PREPARED)


def test_options_of_a_teacher_are_of_their_kind(craft):
    for value in ("perhaps", "True", 1):
        with pytest.raises(UsageError, match="mask of craft is something like false"):
            models.reconfigured(craft, mask=value)
    with pytest.raises(UsageError, match="scale of craft"):
        models.reconfigured(craft, scale=2.5)


def test_devices_that_are_none(craft, crops, begun, monkeypatch):
    for name in ("gpu", "cuda:x", "meta"):
        with pytest.raises(UsageError, match="no device"):
            sharpbit.refine(begun, craft, crops, steps=1, cut=PREPARED, device=name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_error("cuda:0") == device_error("cuda") == device_error("cpu") == ""
    assert "CUDA devices here are 1" in device_error("cuda:1")


def test_unfrozen_needs_a_method(craft, tmp_path, capsys):
    models.save(craft, tmp_path / "float.safetensors")
    out = str(tmp_path / "out.safetensors")
    assert run("quantize", str(tmp_path / "float.safetensors"), "--calibrate", ".", "--unfrozen", "-o", out) == 2
    assert "--method adc" in capsys.readouterr().err
