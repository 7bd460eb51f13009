"""Networks of quantization-aware training on engines: fixed widths are frozen, chosen ones are told."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.data.pairs import Pairs
from sharpbit.quant.qat.placement import placement
from sharpbit.runtime import open_engine
from sharpbit.training import Training, train
from sharpbit.verbs.qat import fake_quantize

LEVELS = {8: 0.02, 4: 0.02}  # share of bytes that may differ, each by one; measured: 0.006 and 0.00002 (4 blocks of 32)


def made(method, act, weight):
    torch.manual_seed(5)
    y, x = np.mgrid[0:96, 0:80]
    image = np.stack([127 + 120 * np.sin(x / (4 + k) + y / 7) for k in range(3)], 2).astype(np.uint8)
    pairs = Pairs.from_images([image], 2)
    how = Training(steps=30, batch=4, patch=12, rate=2e-3, precision="float32", colours=False)
    float_ = train(models.build("srresnet", scale=2, blocks=2, width=16), pairs, how, quiet=True)
    crops = [pairs.batch(4, 12, torch.Generator().manual_seed(1), colours=False)[0]]
    model = fake_quantize(float_, placement("srresnet", act, weight, width=16), method, crops)
    few = Training(steps=4, batch=4, patch=12, rate=1e-4, range_rate=1e-2, epoch=2, precision="float32", ema=0.0)
    return train(model, pairs, few, quiet=True), image[::2, ::2]


@pytest.mark.parametrize("bits", [8, 4])
def test_fixed_widths_run_in_integers(tmp_path, bits):
    model, small = made("pams", bits, bits)
    models.save(model, tmp_path / "m.safetensors")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "m.safetensors"), "-o", str(tmp_path / "m.onnx")])
    assert done.exit_code == 0, done.output
    assert f"W{bits}A{bits}" in done.output
    x = small.astype(np.float32) / np.float32(255)
    with torch.no_grad():
        here = model.net.eval()(torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    there = next(iter(open_engine(tmp_path / "m.onnx", "onnx")([x])))
    one, other = (np.rint(np.clip(y, 0, 1) * 255) for y in (here, there))
    assert np.ptp(one) > 100, "an image, not a flat field"
    assert np.abs(one - other).max() <= 1
    assert (one != other).mean() <= LEVELS[bits]


def test_chosen_widths_are_counted(tmp_path):
    model, _ = made("cadyq", (4, 6, 8), 8)
    path = tmp_path / "m.safetensors"
    models.save(model, path)
    done = CliRunner().invoke(app, ["export", str(path), "-o", str(tmp_path / "m.onnx")])
    assert done.exit_code == 2
    assert "its cost is counted, and no engine runs it" in " ".join(done.output.split())
    assert not (tmp_path / "m.onnx").exists()
    done = CliRunner().invoke(app, ["bench", str(path), "--size", "24x24", "--seconds", "0.1", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "patches choose their bits, which no engine runs" in " ".join(done.output.split())
