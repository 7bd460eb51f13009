"""Verbs in a wrong order are refused, each with a sentence that has the right order."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import sharpbit
from noise_images import put_photos
from sharpbit import zoo
from sharpbit.app.cli import app
from sharpbit.data.pairs import Pairs
from sharpbit.errors import QuantizeError
from sharpbit.quant import order, recorded
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.quant.refqsr import published
from sharpbit.verbs.qat import two_pass

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
VERBS = {
    "reparameterize": sharpbit.reparameterize,
    "insert": recorded.insert_quantizers,
    "calibrate": lambda model: recorded.calibrate(model, [IMAGES]),
    "equalize": lambda model: recorded.equalize(model, IMAGES),
    "compensate": lambda model: recorded.compensate_rounding(model, IMAGES),
    "refine": lambda model: recorded.refine(model, model.net, IMAGES, Refinement(1)),
    "pixel aware": lambda model: recorded.pixel_aware(model, model.net, IMAGES, PixelAware(1)),
    "last": lambda model: recorded.reconstruct_last_layer(model, model.net, IMAGES),
    "freeze": recorded.freeze,
    "quantize": lambda model: sharpbit.quantize(model, [np.zeros((99, 99, 3), np.uint8)], method="minmax"),
    "compress": lambda model: sharpbit.compress(model, "none", "none"),
    "train": lambda model: sharpbit.train(model, pairs(), sharpbit.Training(steps=1, batch=1, patch=16), quiet=True),
}
LATE = {
    "quantized": ("reparameterize", "insert", "quantize", "compress"),
    "frozen": tuple(VERBS),
    "in integers": tuple(VERBS),
}
EARLY = {"float": ("equalize", "compensate"), "new": ("compensate", "refine", "pixel aware", "last")}


def pairs():
    return Pairs.from_images([np.zeros((64, 64, 3), np.uint8)], scale=2)


@pytest.fixture(scope="module")
def stages():
    floats = sharpbit.build("edsr", scale=2, blocks=1, width=4)
    new = recorded.insert_quantizers(floats)
    quantized = recorded.calibrate(new, [IMAGES])
    return {
        "float": floats,
        "new": new,
        "quantized": quantized,
        "frozen": recorded.freeze(quantized),
        "in integers": sharpbit.load(zoo.path_of("x2-clean-fast")),
    }


@pytest.mark.parametrize(("stage", "verb"), [(stage, verb) for stage, verbs in LATE.items() for verb in verbs])
def test_too_late(stages, stage, verb):
    with pytest.raises(QuantizeError, match=rf"comes too late: this \w+ is {stage} already; begin with the float"):
        VERBS[verb](stages[stage])


@pytest.mark.parametrize(("stage", "verb"), [(stage, verb) for stage, verbs in EARLY.items() for verb in verbs])
def test_too_early(stages, stage, verb):
    with pytest.raises(QuantizeError, match=r"comes too early: .*; the order is train, reparameterize, quantize"):
        VERBS[verb](stages[stage])


def test_two_passes_need_a_base_that_can_be_trained(stages):
    model = sharpbit.build("srresnet", scale=4, blocks=2, width=8)
    plan = published("srresnet", model.config, "pams", 8, 4)
    with pytest.raises(QuantizeError, match="making two passes needs a base that can still be trained"):
        two_pass(model, plan, (), source=stages["frozen"])


def test_the_commands_say_so_in_one_line(tmp_path):
    photos = put_photos(tmp_path / "photos", 2, 80, 80)
    for given in (
        ["reparameterize", "x2-clean-fast", tmp_path / "a.onnx"],
        ["quantize", "x2-clean-fast", "--calibrate", photos, "-o", tmp_path / "a.onnx"],
        ["compress", "x2-clean-fast", "--calibrate", photos, "-o", tmp_path / "a.onnx"],
    ):
        done = CliRunner().invoke(app, [str(argument) for argument in given])
        assert done.exit_code == 1 and done.output.count("\n") == 1
        assert f"; the order is {order.ORDER}" in done.output
