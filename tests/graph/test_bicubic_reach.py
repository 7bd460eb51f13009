"""How far bicubic upscaling sees is one number, which graphs, networks and engines share, and which is true."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import sharpbit
from sharpbit.arch.graph import Config, Network
from sharpbit.graph import IMAGE, Node
from sharpbit.graph.geometry import BICUBIC_REACH
from sharpbit.runtime._foreign import Form

ROOT = Path(sharpbit.__file__).parent


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_what_torch_does(scale):
    x = torch.zeros(1, 1, 21, 21)
    x[0, 0, 10, 10] = 1
    seen = F.interpolate(x, scale_factor=scale, mode="bicubic")[0, 0].abs().amax(1).reshape(-1, scale).amax(1)
    (rows,) = np.nonzero(seen.numpy())
    assert (rows[0], rows[-1]) == (10 - BICUBIC_REACH, 10 + BICUBIC_REACH)


def test_networks_of_brightness_and_engines_take_it():
    conv = {"inputs": 1, "outputs": 4, "kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    first = Node("c", "conv", (IMAGE,), {**conv, "groups": 1, "bias": True})
    nodes = (first, Node("s", "shuffle", ("c",), {"factor": 2}))
    assert Network(Config(2, nodes, "Y")).receptive_field == 2 * BICUBIC_REACH + 1
    assert Form(np.dtype(np.float32), channels=1, scale=2, reach=0).halo == BICUBIC_REACH


def test_it_is_defined_once():
    defined = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value == 2
        for target in node.targets
        if isinstance(target, ast.Name) and "BICUBIC" in target.id
    ]
    assert defined == ["graph/geometry.py"]
