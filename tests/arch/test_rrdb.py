"""RRDBNet: published names, old and new, and the same results as the files of ncnn."""

import re

import pytest
import torch

from sharpbit import model as models


def small(scale=4, **more):
    torch.manual_seed(1)
    return models.build("rrdb", scale=scale, blocks=2, width=8, growth=4, **more)


def test_the_size_of_the_published_network():
    net = models.ARCHITECTURES["rrdb"].weightless(models.ARCHITECTURES["rrdb"].config(scale=4))
    assert sum(value.numel() for value in net.parameters()) == 16_697_987


@pytest.mark.parametrize(("scale", "unshuffle"), [(4, 1), (2, 2), (1, 4), (2, 1), (8, 1), (1, 1)])
def test_sizes_come_out_of_weights(scale, unshuffle):
    model = small(scale, unshuffle=unshuffle)
    again = models.from_state(model.net.state_dict(), "weights")
    assert (again.arch.name, again.config) == ("rrdb", model.config)
    with torch.no_grad():
        assert again.net(torch.rand(1, 3, 7, 9)).shape == (1, 3, 7 * scale, 9 * scale)


def trunk(key):
    key = re.sub(r"^body\.(\d+)\.rdb", r"RRDB_trunk.\1.RDB", key)
    for new, old in {"conv_body": "trunk_conv", "conv_up": "upconv", "conv_hr": "HRconv"}.items():
        key = key.replace(new, old)
    return key


def sequential(key):
    key = re.sub(r"^body\.(\d+)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0", key)
    places = {"conv_first": 0, "conv_up1": 3, "conv_up2": 6, "conv_hr": 8, "conv_last": 10}
    for new, place in places.items():
        key = key.replace(f"{new}.", f"model.{place}.")
    return key.replace("conv_body", "model.1.sub.2")


@pytest.mark.parametrize("old", [trunk, sequential])
def test_older_names(old):
    model = small()
    state = {old(key): value for key, value in model.net.state_dict().items()}
    assert not set(state) & {"conv_hr.weight"}
    again = models.from_state(state, "weights")
    assert again.config == model.config
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(again.net(x), model.net(x))


def test_the_anime_network_is_what_its_ncnn_files_hold(shared):
    """Their weights under the published names, in the order in which the layers run."""
    graph = models.load(shared / "weights" / "real" / "realesrgan-x4plus-anime.param", range=1)
    model = models.build("rrdb", scale=4, blocks=6)
    own = model.net.state_dict()
    order = ["conv_first"]
    order += [f"body.{b}.rdb{r}.conv{c}" for b in range(6) for r in (1, 2, 3) for c in range(1, 6)]
    order += ["conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    convs = [node.name for node in graph.config.nodes if node.op == "conv"]
    theirs = graph.net.state_dict()
    for name, conv in zip(order, convs, strict=True):
        share = 0.2 if name.endswith("conv5") else 1.0  # a factor that went into the convolution before it
        for part in ("weight", "bias"):
            own[f"{name}.{part}"] = theirs[f"nodes.{conv}.{part}"] / share
    again = models.from_state(own, "weights")
    x = torch.rand(1, 3, 6, 8)
    with torch.no_grad():
        assert torch.allclose(again.net(x), graph.net(x), atol=1e-4)
