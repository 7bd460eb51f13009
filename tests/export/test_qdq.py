"""A frozen network in ONNX: in integers where an engine can, and the same image in any case."""

import math
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import sharpbit
from quant_nets import Attention, Residual, chain, images
from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.export.onnx import export
from sharpbit.image import read
from sharpbit.quant import recorded
from sharpbit.quant.plan import Plan, Rule
from sharpbit.runtime.onnx import _saturates, open_onnx

ALL, NONE = ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL
WHOLE = {  # what ONNX Runtime makes of each network at 8 bits, of the operators that multiply
    "chain": {"QLinearConv": 1, "Conv": 2},  # PReLU takes a result in float, and nothing rounds that of the last layer
    "residual": {"QLinearConv": 5, "QLinearAdd": 2, "Conv": 1},
    "attention": {"MatMulIntegerToFloat": 3, "QLinearMatMul": 1, "Conv": 2},
}
NETS = {"chain": chain, "residual": lambda: Residual(sites=True), "attention": Attention}


def frozen(net, plan):
    torch.manual_seed(5)
    start = models.build("plain", scale=2, blocks=1, width=4)
    return recorded.freeze(recorded.calibrate(recorded.insert_quantizers(replace(start, net=net), plan), images()))


def run(path, x, level, optimized=None):
    options = ort.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 3
    if _saturates():  # as the engine does it
        options.add_session_config_entry("session.x64quantprecision", "1")
    if optimized:
        options.optimized_model_filepath = str(optimized)
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"picture": x.numpy()})[0]


PLANS = {
    "8": Plan.uniform(8),
    "4": Plan.uniform(4),
    "6, 3": Plan.uniform(6, 3),
    "4 offset": Plan((Rule("*", 4, 4),)),
    "8 offset": Plan((Rule("*"),)),  # weights with zero points that signed bytes cannot do without
    "12": Plan.uniform(12),
}
CASES = [
    *(("chain", plan) for plan in ("8", "8 offset", "12")),
    *(("residual", plan) for plan in ("8", "4", "6, 3")),
    *(("attention", plan) for plan in ("8", "4 offset")),
]


@pytest.mark.parametrize(("kind", "plan"), CASES)
def test_the_engine_gives_the_frozen_network(kind, plan, tmp_path):
    torch.manual_seed(3)
    model, x = frozen(NETS[kind](), PLANS[plan]), images(1, 2, 15)[0][:1]
    export(model, tmp_path / "a.onnx")
    with torch.no_grad():
        expected = model.net(x).numpy()
    for level in (NONE, ALL):
        apart = 255 * np.abs(run(tmp_path / "a.onnx", x, level, tmp_path / "optimized.onnx") - expected)
        # a value between two steps may fall to either, and what comes of it differs too
        assert (apart > 0.01).mean() < 0.01
        assert apart.max() < 1
    seen = modelfile.operators(tmp_path / "optimized.onnx")
    integer = any(name in seen for name in ("QLinearConv", "MatMulIntegerToFloat"))
    assert integer == (plan not in ("8 offset", "12"))
    if plan == "8":
        assert {name: seen.get(name) for name in WHOLE[kind]} == WHOLE[kind]


def test_zero_points_of_weights_never_reach_the_engine(tmp_path):
    """It would take the first channel's for all of them, and say nothing."""
    export(frozen(chain(), Plan((Rule("*"),))), tmp_path / "a.onnx")
    assert "DequantizeLinear" not in modelfile.operators(tmp_path / "a.onnx")


def test_weights_are_bytes_in_both_files(tmp_path):
    model = frozen(chain(), Plan.uniform(8))
    export(model, tmp_path / "a.onnx")
    bytes_ = [t for t in onnx.load(tmp_path / "a.onnx").graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert sum(math.prod(t.dims) for t in bytes_ if len(t.dims) == 4) == 12 * 3 * 9 + 12 * 3 * 9 + 12 * 12
    assert model.net[0].kernel.values.dtype == torch.int8
    assert model.net[0].weight is None


def test_clips_stand_only_where_bytes_are_not_full(tmp_path):
    export(frozen(chain(), Plan.uniform(8)), tmp_path / "8.onnx")
    export(frozen(chain(), Plan.uniform(5)), tmp_path / "5.onnx")
    assert "Clip" not in modelfile.operators(tmp_path / "8.onnx")
    assert modelfile.operators(tmp_path / "5.onnx")["Clip"] == 3


def test_a_dead_channel_keeps_its_bias(tmp_path):
    """Its unit would be so small that 32 bits do not hold the bias."""
    net = chain()
    with torch.no_grad():
        net[0].weight[3], net[0].bias[3] = 0, 3.0
        net[4].weight[:] = net[4].weight.abs()
    model, x = frozen(net, Plan.uniform(8)), images(1, 2)[0][:1]
    export(model, tmp_path / "a.onnx")
    with torch.no_grad():
        expected = model.net(x)
        assert float((expected - net(x)).abs().max()) < 0.1
    assert np.abs(run(tmp_path / "a.onnx", x, ALL) - expected.numpy()).max() < 1e-3


def opened(path):
    return torch.tensor(read(path).rgb8()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(("name", "share", "beyond"), [("ETDS_M5C16_x2", 0.01, 0.001)])
def test_etds_within_a_grey_level(name, share, beyond, shared, tmp_path):
    """Min-max loses much of these networks, and a flipped step goes a long way in them; still nearly all is equal."""
    crops = sorted((shared / "data" / "calibration" / "craft_x4").glob("*.png"))
    model = models.reparameterize(models.load(shared / "weights" / "etds" / "ETDS" / f"{name}.pth"))
    model = recorded.freeze(recorded.calibrate(recorded.insert_quantizers(model), map(opened, crops[:8])))
    header = export(model, tmp_path / "a.onnx")
    assert header.precision == "W8A8"
    runtime = open_onnx(tmp_path / "a.onnx", threads=1)
    assert runtime.precision == "W8A8"
    levels = []
    for path in crops[8:14]:
        x = opened(path)
        with torch.no_grad():
            pair = model.net(x)[0].permute(1, 2, 0).numpy(), runtime.run(x[0].permute(1, 2, 0).numpy())
        first, second = (np.rint(255 * item.clip(0, 1)) for item in pair)
        levels.append(np.abs(first - second))
    levels = np.stack(levels)
    assert (levels > 0).mean() < share
    assert (levels > 1).mean() < beyond


@pytest.mark.parametrize(
    ("name", "plan", "words"), [("residual", "8", "5 of the 6 layers"), ("chain", "8 offset", "WARNING: none of")]
)
def test_inspect_tells_how_many_layers_run_in_integers(tmp_path, name, plan, words):
    """The name of the precision, such as W8A8, tells what the file was made for alone."""
    export(frozen(NETS[name](), PLANS[plan]), tmp_path / "a.onnx")
    (note,) = sharpbit.inspect(tmp_path / "a.onnx").notes
    assert words in note
    assert "in integers in ONNX Runtime" in note
