"""The two files of a network of ncnn under each other's name."""

import pytest
import torch

import sharpbit
from ncnn_files import chain, write
from sharpbit import model as models
from sharpbit.errors import ModelError


@pytest.mark.parametrize("name", ["x.param", "x.bin"])
def test_a_pair_whose_names_were_exchanged(tmp_path, name):
    torch.manual_seed(0)
    path = write(tmp_path, *chain(models.build("compact", scale=2, blocks=1, width=5).net.state_dict(), 2))
    (tmp_path / "x.param").write_bytes(path.with_suffix(".bin").read_bytes())
    (tmp_path / "x.bin").write_bytes(path.read_bytes())
    sentence = r"x\.param holds weights, and x\.bin the table of layers; give each the other's name"
    with pytest.raises(ModelError, match=sentence):
        sharpbit.inspect(tmp_path / name)
