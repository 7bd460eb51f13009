"""Models as files: what is refused, and how it is said."""

import pickle

import pytest
import torch

import sharpbit
from sharpbit import model as models
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


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not weights at all", b"\x80\x02]q\x00."])
def test_broken_weights_are_one_sentence(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.pth") as caught:
        models.load(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        models.load(tmp_path / "none.safetensors")


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


def test_the_public_names_are_there():
    for name in sharpbit.__all__:
        assert getattr(sharpbit, name) is not None
    with pytest.raises(AttributeError):
        _ = sharpbit.nothing
