"""Networks of quantization-aware training on engines: fixed widths are frozen, chosen ones are told."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sharpbit import model as models
from sharpbit.app.cli import app
from sharpbit.data.pairs import Pairs
from sharpbit.quant.method import cadyq, ddtb
from sharpbit.quant.qat.placement import placement
from sharpbit.runtime import open_engine
from sharpbit.training import Training, train
from sharpbit.verbs.qat import fake_quantize, tabulate

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


def adaptive(arch, method):
    """A network whose grids depend on the image, with numbers that let images differ; not trained."""
    torch.manual_seed(5)
    width = {"srresnet": 8, "elan": 15}[arch]
    float_ = models.build(arch, scale=2, blocks=1, width=width)
    shown = [torch.rand(4, 3, 16, 16) * scale for scale in (0.2, 0.5, 1)]
    if method == "ddtb":
        plan = placement(arch, 4, 4, width=width, options={"gate": 8, "share": 1.0})
        model = fake_quantize(float_, plan, "ddtb", shown)
        assert len(ddtb.choose(model.net)) == 2
        trained = [part.wide.weight for part in model.net.modules() if isinstance(part, ddtb.Gate)]
    else:
        plan = placement(arch, (4, 6, 8), 8, width=width)
        model = fake_quantize(float_, plan, "cadyq", shown)
        trained = [part.linear.weight for part in model.net.modules() if isinstance(part, cadyq.BitSelector)]
    for weight in trained:
        torch.nn.init.normal_(weight)
    if method == "cabm":
        model = tabulate(fake_quantize(float_, plan, "cabm", (), source=model), model, shown)
        assert len(model.net.context.scores) > 1
    return model


@pytest.mark.slow  # the exporter alone takes longer
@pytest.mark.parametrize(
    ("arch", "method"),
    [("srresnet", "ddtb"), ("srresnet", "cadyq"), ("srresnet", "cabm"), ("elan", "cadyq")],
)
def test_what_depends_on_the_image_runs_on_engines(tmp_path, arch, method):
    """Gates, selectors and tables are part of the file: each image of a batch, and each window, gets its own grids."""
    model, path = adaptive(arch, method), tmp_path / "m.safetensors"
    models.save(model, path)
    done = CliRunner().invoke(app, ["export", str(path), "-o", str(tmp_path / "m.onnx")])
    assert done.exit_code == 0, done.output
    engine = open_engine(tmp_path / "m.onnx", "onnx")
    assert engine.halo is None, "tiles would choose for themselves"
    for scale in (0.15, 1):
        x = (np.random.default_rng(1).random((30, 41, 3)) * scale).astype(np.float32)
        with torch.no_grad():
            here = model.net.eval()(torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
        there = next(iter(engine([x])))
        assert np.abs(here - there).max() < 1e-3 * np.ptp(here)
    done = CliRunner().invoke(app, ["bench", str(path), "--size", "24x24", "--seconds", "0.1", "--quiet"])
    assert done.exit_code == 0, done.output
    assert ("patches choose their bits" in " ".join(done.output.split())) == (method != "ddtb")
