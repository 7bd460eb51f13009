"""PReLU and the pixel shuffle written with other operators: the same bits, and without them in the file."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from sharpbit import model as models
from sharpbit.errors import UsageError
from sharpbit.export.onnx import export
from sharpbit.reparam.rewrite import SHUFFLES, ReluPair, rewritten

NETS = ["abpn", "ecbsr", "etds", "espcn", "plain"]
LACKING = {"PRelu", "DepthToSpace"}


def model_of(name, **sizes):
    torch.manual_seed(5)
    sizes |= {"act": "prelu"} if name == "plain" else {}
    model = models.build(name, scale=3, **sizes)
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("name", NETS)
def test_the_same_bits(name, shuffle):
    model = model_of(name)
    net = rewritten(model.net, shuffle=shuffle)
    assert not any(isinstance(module, nn.PReLU | nn.PixelShuffle) for module in net.modules())
    plain = rewritten(model.net, prelu=False, shuffle=None)  # the same network, its branches fused
    for height, width in [(1, 1), (5, 9), (16, 12)]:
        x = torch.rand(2, 3, height, width)
        with torch.no_grad():
            assert torch.equal(net(x), plain(x))
            torch.testing.assert_close(net(x), model.net(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("name", ["ecbsr", "plain"])
def test_the_file_lacks_the_operators(name, shuffle, tmp_path):
    model = model_of(name, blocks=2, width=12)
    export(model, tmp_path / "before.onnx")
    assert LACKING & operators(tmp_path / "before.onnx")
    header = export(replace(model, net=rewritten(model.net, shuffle=shuffle)), tmp_path / "after.onnx")
    assert not LACKING & operators(tmp_path / "after.onnx")
    assert header.receptive_field == model.header().receptive_field
    session = ort.InferenceSession(tmp_path / "after.onnx", providers=["CPUExecutionProvider"])
    for height, width in [(1, 1), (7, 12)]:
        x = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = model.net(x).numpy()
        (out,) = session.run(None, {"picture": x.numpy()})
        assert np.abs(out - expected).max() < 1e-5


def test_a_pair_is_a_prelu_to_the_last_bit():
    slope = torch.tensor([0.25, -0.3, 0.0, 1.0, 7.7])
    prelu, pair = nn.PReLU(5), ReluPair(slope)
    prelu.load_state_dict({"weight": slope})
    x = torch.randn(3, 5, 20, 20) * 10 ** torch.randn(3, 5, 20, 20)
    with torch.no_grad():
        assert torch.equal(prelu(x), pair(x))
    single = nn.PReLU()
    with torch.no_grad():
        assert torch.equal(single(x), ReluPair(single.weight)(x))


def test_shuffle_modules_and_wrong_names():
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PReLU(), nn.PixelShuffle(2))
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(rewritten(net)(x), net(x))
        kept = rewritten(net, prelu=False, shuffle=None)
    assert [type(module) for module in kept.modules()][-2:] == [nn.PReLU, nn.PixelShuffle]
    with pytest.raises(UsageError, match="transposed or reshape, not 'gather'"):
        rewritten(net, shuffle="gather")
