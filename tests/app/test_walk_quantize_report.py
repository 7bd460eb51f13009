"""`sharpbit quantize --report` where the result cannot be written."""

import errno

import pytest
import torch
from click.testing import CliRunner

from noise_images import put_photos
from sharpbit import model as models
from sharpbit.app import quantize
from sharpbit.app.cli import app


@pytest.mark.parametrize("full", [True, False])
def test_no_report_without_its_file(tmp_path, monkeypatch, full):
    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "a.safetensors")

    torch.manual_seed(0)
    models.save(models.build("espcn", scale=2), tmp_path / "e.safetensors")
    photos = put_photos(tmp_path / "photos", 1, 64, 64)
    if full:
        monkeypatch.setitem(quantize.WRITERS, ".safetensors", no_room)
    given = ["--method", "minmax", "--crops", "1x16", "--report", tmp_path / "r.md", "-o", tmp_path / "a.safetensors"]
    call = ["quantize", tmp_path / "e.safetensors", "--calibrate", photos, *given]
    done = CliRunner().invoke(app, [str(word) for word in call])
    assert done.exit_code == int(full), done.output
    assert (tmp_path / "r.md").exists() != full
