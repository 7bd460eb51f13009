"""A killed quantization goes on where it was, and nothing is found that was made from something else."""

import pytest
import torch
from torch import nn

from sharpbit.arch.graph import graph_of
from sharpbit.errors import ReparameterizeError
from sharpbit.model.foreign import of_module
from sharpbit.modelfile.integer_graph_payload import payload
from sharpbit.quant.graph import GraphSettings, quantize_graph
from sharpbit.quant.graph.kept import Kept
from sharpbit.quant.lossless.rounding import RIDGE, compensated
from sharpbit.reparam.follow import follow


class Small(nn.Module):
    """A dense block and a skip."""

    scale = 2

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(16, 8, 3, 1, 1)
        self.up = nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, x):
        y = torch.relu(self.a(x))
        z = nn.functional.leaky_relu(self.b(y), 0.2)
        return self.up(self.c(torch.cat([y, z], 1)) * 0.2 + y)


def images(count=9):
    return torch.randint(0, 256, (count, 3, 24, 24), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_a_killed_run_goes_on(tmp_path):
    found, words = graph_of(of_module(Small().eval(), white=1.0).net), []

    def killed(word, done, total):
        words.append(word)
        if word == "comparing with float":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_graph(found, 2, images(), GraphSettings(keep=tmp_path), progress=killed)
    assert "measuring" in words
    names = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert names == {"extremes", "rule", "costs", "weights"}

    def heard(word, done, total):
        words.append(word)

    words.clear()
    again = quantize_graph(found, 2, images(), GraphSettings(keep=tmp_path), progress=heard)
    assert not {"measuring", "choosing ranges", "estimating what rounding costs"} & {*words}
    assert payload(again) == payload(quantize_graph(found, 2, images(), GraphSettings()))
    words.clear()
    quantize_graph(found, 2, images(10), GraphSettings(keep=tmp_path), progress=heard)
    assert "measuring" in words


def test_what_was_cut_off_is_made_again(tmp_path):
    first = Kept(tmp_path).tensor("word", ["source"], lambda: torch.arange(5))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert Kept(tmp_path).tensor("word", ["source"], lambda: first + 1).tolist() == [1, 2, 3, 4, 5]
    assert Kept(tmp_path).tensor("word", ["source"], lambda: first).tolist() == [1, 2, 3, 4, 5]
    assert Kept(tmp_path).tensor("word", ["other"], lambda: first).tolist() == [0, 1, 2, 3, 4]


def test_weights_are_rounded_in_blocks_as_one_by_one():
    torch.manual_seed(3)
    kernel, seen = torch.randn(5, 150, dtype=torch.float64), torch.randn(400, 150, dtype=torch.float64)
    seen[:, 1:] += seen[:, :-1]
    moments, step = seen.T @ seen / 400, torch.full((5,), 0.02, dtype=torch.float64)
    damped = moments + torch.diag(torch.full((150,), RIDGE * float(moments.diagonal().mean()), dtype=torch.float64))
    upper = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    left, whole = kernel / step[:, None], torch.zeros_like(kernel)
    for column in range(149):
        whole[:, column] = left[:, column].round().clamp(-127, 127)
        error = (left[:, column] - whole[:, column]) / upper[column, column]
        left[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :]
    whole[:, -1] = left[:, -1]
    torch.testing.assert_close(compensated(kernel, step, moments), whole, atol=1e-6, rtol=0)


class Joined(nn.Module):
    """Each convolution reads all that came before."""

    def __init__(self, depth, width):
        super().__init__()
        self.parts = nn.ModuleList(nn.Conv2d(3 + width * k, width, 3, 1, 1) for k in range(depth))

    def forward(self, x):
        for part in self.parts:
            x = torch.cat([x, torch.relu(part(x))], 1)
        return x


def test_what_is_no_chain_by_far_takes_no_memory(monkeypatch):
    assert follow(Joined(4, 8)).terms
    monkeypatch.setattr("sharpbit.reparam.follow.MOST", 1 << 12)
    with pytest.raises(ReparameterizeError, match="Joined joins so many pieces with so many others"):
        follow(Joined(4, 8))
