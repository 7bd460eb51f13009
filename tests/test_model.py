"""Models as files: what is refused, and how it is said."""

import pickle
import random
from dataclasses import replace

import pytest
import safetensors.torch
import torch

import sharpbit
from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import ModelError, OutputExists, ReparameterizeError, UsageError


def test_a_pickle_that_runs_a_program_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = tmp_path / "trap.pth"
    path.write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(ModelError):
        models.load(path)
    torch.save({"weight": Trap()}, path)
    with pytest.raises(ModelError, match="holds more than tensors"):
        models.load(path)
    assert not (tmp_path / "sprung").exists()


def test_unknown_weights_say_what_was_seen(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"encoder.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ModelError, match=r"seen: 1 tensors.*encoder\.weight \(2, 2\); expected:.*etds.*plain"):
        models.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"not weights at all", b"hello\n", b"\x89PNG\r\n\x1a\n", b"\x80\x02e."]
)
def test_broken_weights_are_one_sentence(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.pth is not a complete file of weights") as caught:
        models.load(path)
    assert "\n" not in str(caught.value)
    assert "can run programs" not in str(caught.value)


def test_a_pickle_of_no_weights_is_one_sentence(tmp_path):
    path = tmp_path / "list.pth"
    path.write_bytes(b"\x80\x02]q\x00.")
    with pytest.raises(ModelError, match=r"list\.pth holds no table of tensors|list\.pth is not a complete file"):
        models.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        models.load(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        models.load(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match=r"none\.pth cannot be read: No such file"):
        models.load(tmp_path / "none.pth")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        models.load(tmp_path)


def test_weights_of_the_wrong_shape_do_not_load():
    state = dict(models.build("etds", scale=2).net.state_dict())
    state["backbone_convs.1.weight"] = state["backbone_convs.1.weight"][:, :-1]
    with pytest.raises(ModelError, match=r"looks like etds.*backbone_convs\.1\.weight"):
        models.from_state(state, "file")


def test_saving_replaces_nothing_unasked(tmp_path):
    model = models.build("plain", scale=2, blocks=1, width=4)
    path = tmp_path / "a.safetensors"
    models.save(model, path)
    with pytest.raises(OutputExists):
        models.save(model, path)
    models.save(model, path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_wrong_sizes_and_names():
    with pytest.raises(UsageError, match="blocks"):
        models.build("etds", scale=2, depth=4)
    with pytest.raises(UsageError, match="etds"):
        models.build("etdz", scale=2)
    with pytest.raises(UsageError, match="plain, et"):
        models.reparameterize(models.build("plain", scale=2), "fast")
    with pytest.raises(ReparameterizeError, match="tanh"):
        models.reparameterize(models.build("espcn", scale=2))


def test_a_damaged_file_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    models.save(models.build("plain", scale=2, blocks=1, width=4), path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="sha256"):
        models.load(path)


def test_a_file_of_the_first_format_of_plain_still_loads(tmp_path):
    """Its header named scale, blocks and width alone, and meant a clamp."""
    model = models.build("plain", scale=2, blocks=1, width=4)
    state = dict(model.net.state_dict())
    assert {key.split(".")[0] for key in state} == {"layers"}
    header = replace(model.header(), config={"scale": 2, "blocks": 1, "width": 4})
    header = modelfile.stamp(header, safetensors.torch.save(state), tmp_path / "old.safetensors")
    safetensors.torch.save_file(state, tmp_path / "old.safetensors", {modelfile.KEY: header.to_json()})
    again = models.load(tmp_path / "old.safetensors")
    assert again.config == model.config
    x = torch.rand(1, 3, 5, 5)
    assert torch.equal(again.net(x), model.net(x))
    assert models.from_state(state, "weights alone").config == model.config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "twin"}, "holds another network: there is no arch called 'twin'"),
        ({"config": {"scale": 2, "depth": 3}}, "sizes that plain does not have.*depth"),
        ({"config": {"scale": 2, "width": "wide"}}, "looks like plain"),
        ({"config": {"scale": 2, "blocks": 1, "width": 8}}, "weights do not fit"),
        (
            {"config": {"scale": 2, "layers": [[4, 3, "tanh"]]}},
            "another network: plain knows relu, .* not 'tanh'",
        ),
    ],
)
def test_a_header_that_does_not_fit_is_one_sentence(tmp_path, change, message):
    model = models.build("plain", scale=2, blocks=1, width=4)
    state, path = dict(model.net.state_dict()), tmp_path / "a.safetensors"
    header = modelfile.stamp(replace(model.header(), **change), safetensors.torch.save(state), path)
    safetensors.torch.save_file(state, path, {modelfile.KEY: header.to_json()})
    with pytest.raises(ModelError, match=message) as caught:
        models.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(20))
def test_known_names_with_other_shapes_are_one_sentence(seed):
    """Whatever tensors stand under the names of networks, the answer is a sentence."""
    dice = random.Random(seed)
    names = [key for arch in ARCHITECTURES for key in models.build(arch, scale=2).net.state_dict()]
    names += ["conv_clip.weight", "conv_clip.bias", "backbone.6.0.weight", "backbone.2.1.weight", "acts.0.weight"]
    shapes = [(), (3,), (12, 3, 3, 3), (12, 12, 1, 1), (27, 5), (3, 3, 3, 3)]
    prefix = dice.choice(["", "backbone", "conv", "layers", "first_part", "mid_part"])
    chosen = [name for name in names if name.startswith(prefix) and dice.random() < 0.9]
    state = {name: torch.zeros(dice.choice(shapes)) for name in chosen}
    with pytest.raises(ModelError) as caught:
        models.from_state(state, "file")
    assert "\n" not in str(caught.value)


def test_the_public_names_are_there():
    for name in sharpbit.__all__:
        assert getattr(sharpbit, name) is not None
    with pytest.raises(AttributeError):
        _ = sharpbit.nothing
