"""Shapes that are told without PyTorch's rules are those of its rules, and spare what these load."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import sharpbit
from sharpbit.cost import bitops, memory, shapes
from sharpbit.errors import UsageError

LOADS = (  # in a process of its own, as others may have loaded it
    "import sys, torch, sharpbit\nfrom sharpbit.cost import bitops, memory\n"
    "net = sharpbit.build({name!r}, scale=4).net\nbitops.count(net, (24, 32)), memory.peak(net, (24, 32))\n"
    "sys.exit(any(name in sys.modules for name in ('sympy', 'torch._dynamo')))"
)


class Compared(TorchDispatchMode):
    """Notes the operators whose results are told, and checks them."""

    def __init__(self):
        super().__init__()
        self.told = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        told = shapes.result(func.overloadpacket, args, kwargs)
        out = func(*args, **(kwargs or {}))
        if told is not None:
            assert (told.shape, told.dtype, told.device) == (out.shape, out.dtype, out.device)
            self.told.add(str(func.overloadpacket).removeprefix("aten."))
        return out


def _tensor(*shape):
    return torch.empty(*shape, device="meta")


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("convolution", lambda x: F.conv2d(x, _tensor(6, 2, 3, 5), _tensor(6), (2, 1), (1, 0), (1, 2), groups=2)),
        ("_prelu_kernel", lambda x: F.prelu(x, _tensor(4))),
        ("cat", lambda x: torch.cat([x, x[:, :1]], -3)),
        ("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2)),
        ("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2)),
        ("upsample_nearest2d", lambda x: F.interpolate(x, scale_factor=3)),
        ("add", lambda x: torch.add(x, _tensor(4, 1, 1), alpha=2)),
        ("rsub", lambda x: 1 - x),
        ("mul", lambda x: x * x.mT.mT[:, :1]),
        ("leaky_relu_", lambda x: F.leaky_relu_(x, 0.1)),
        ("clamp", lambda x: x.clamp(0, 1)),
    ],
)
def test_the_shapes_are_those_of_pytorch(name, run):
    with Compared() as mode:
        run(_tensor(2, 4, 12, 14))
    assert name in mode.told


@pytest.mark.parametrize(
    "run",
    [
        lambda x: F.conv_transpose2d(x, _tensor(4, 6, 3, 3), stride=2),
        lambda x: x + x.int(),
        lambda x: F.conv1d(x[0], _tensor(6, 4, 3)) if x.dim() == 3 else x.sum(),
        lambda x: torch.ones(2, 1) * torch.ones(2),
    ],
)
def test_all_else_is_left_to_pytorch(run):
    with Compared() as mode:
        run(_tensor(1, 4, 12, 14))
    assert not mode.told


@pytest.mark.parametrize("name", ["compact", "span"])
def test_counting_loads_no_compiler(name):
    assert subprocess.run([sys.executable, "-c", LOADS.format(name=name)], check=False).returncode == 0


@pytest.mark.parametrize("name", ["compact", "rlfn", "imdn"])
def test_the_cost_is_the_same(name, monkeypatch):
    net = sharpbit.build(name, scale=2).net
    found = bitops.count(net, (24, 32)), memory.peak(net, (24, 32))
    monkeypatch.setattr(shapes, "result", lambda *given: None)
    assert (bitops.count(net, (24, 32)), memory.peak(net, (24, 32))) == found


def test_what_does_not_fit_is_reported_by_pytorch():
    net = torch.nn.Conv2d(5, 3, 3)
    with pytest.raises(UsageError, match="cannot be counted without values"):
        bitops.count(net, (24, 32))
