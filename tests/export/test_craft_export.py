"""A quantized CRAFT through the commands, and on ONNX Runtime at any size."""

import json

import numpy as np
import torch
from click.testing import CliRunner

from noise_images import put, soft_noise
from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.runtime.onnx import open_onnx
from sharpbit.verbs.receipt import upscaled

SIZES = [(1, 1), (5, 7), (16, 16), (17, 33), (40, 31)]


def call(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_eight_bits_are_the_same_on_the_engine(tmp_path):
    """In grey levels: a tenth on average at most, and nothing by more than eight.

    Small, with one group, as the whole network is chaotic (docs/quantize.md): one tie that goes the other way moves a
    window, and how many pixels that is depends on the kernels. With the mask of windows and the
    padding that the contract of networks does not export.
    """
    torch.manual_seed(0)
    model = models.build("craft", scale=2, width=16, depths=(1,), heads=2, mask=True, padding="reflect")
    models.save(model, tmp_path / "craft.safetensors")
    for seed in range(2):
        put(tmp_path / "photos" / f"{seed}.png", soft_noise(seed, 128, 128, grain=8, more=2))
    given = ["--calibrate", tmp_path / "photos", "--method", "minmax", "-o", tmp_path / "eight.safetensors"]
    call("quantize", tmp_path / "craft.safetensors", *given)
    told = json.loads(call("export", tmp_path / "eight.safetensors", "-o", tmp_path / "eight.onnx", "--json"))
    assert told["precision"] == "W8A8"
    net, runtime = models.load(tmp_path / "eight.safetensors").net, open_onnx(tmp_path / "eight.onnx", threads=1)
    for number, size in enumerate(SIZES):
        small = soft_noise(10 + number, *size, grain=8, more=2)
        own = upscaled(net, small).astype(int)
        theirs = np.rint(255 * runtime.run(small.astype(np.float32) / 255).clip(0, 1))
        assert theirs.shape == own.shape == (2 * size[0], 2 * size[1], 3)
        assert np.abs(own - theirs).mean() < 0.1
        assert np.abs(own - theirs).max() <= 8
    assert own.std() > 1
