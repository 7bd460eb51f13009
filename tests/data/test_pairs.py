"""Pairs from a folder: partners are made, or read where there are some; what does not fit is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from noise_images import noise
from sharpbit.data import pairs as module
from sharpbit.data.pairs import Pairs
from sharpbit.data.prepare import PreparationPlan, prepare
from sharpbit.errors import UsageError
from sharpbit.image.resize import shrink


@pytest.fixture
def folder(tmp_path):
    for name, pixels in {"HR/a.png": noise(0, 24, 36), "HR/b.png": noise(1, 12, 12)}.items():
        for scale in (1, 2):
            path = tmp_path / "set" / (name if scale == 1 else name.replace("HR", "LR_bicubic/X2"))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels if scale == 1 else 255 - pixels[::2, ::2]).save(path)
    return tmp_path / "set"


def test_small_partners_are_read(folder):
    pairs = Pairs.from_folder(folder, 2, quiet=True)
    assert pairs.sizes.tolist() == [[12, 18], [6, 6]]
    small = [255 - noise(0, 24, 36)[::2, ::2], 255 - noise(1, 12, 12)[::2, ::2]]
    assert np.array_equal(pairs.small.numpy(), np.concatenate([item.reshape(-1, 3) for item in small]))
    large = [noise(0, 24, 36), noise(1, 12, 12)]
    assert np.array_equal(pairs.large.numpy(), np.concatenate([item.reshape(-1, 3) for item in large]))


def test_without_partners_they_are_made(tmp_path):
    Image.fromarray(noise(0, 25, 37)).save(tmp_path / "a.png")
    pairs = Pairs.from_folder(tmp_path, 2, quiet=True)
    assert np.array_equal(pairs.small.numpy(), shrink(noise(0, 25, 37)[:24, :36], 2).reshape(-1, 3))
    again = Pairs.from_images([noise(0, 25, 37)], 2)
    assert torch.equal(pairs.small, again.small)
    assert torch.equal(pairs.large, again.large)


def test_what_was_prepared_is_what_is_trained_on(tmp_path):
    (tmp_path / "source").mkdir()
    Image.fromarray(noise(0, 24, 36)).save(tmp_path / "source" / "a.png")
    prepare(PreparationPlan(tmp_path / "source", tmp_path / "out", (2,), {}, 24, 12), quiet=True)
    pairs = Pairs.from_folder(tmp_path / "out", 2, quiet=True)
    assert pairs.sizes.tolist() == [[12, 12], [12, 12]]
    whole = shrink(noise(0, 24, 36), 2)
    assert np.array_equal(pairs.small.numpy(), np.concatenate([whole[:, :12], whole[:, 6:]]).reshape(-1, 3))
    with pytest.raises(UsageError, match="holds X2, not X3; prepare the folder with --scale 3 too"):
        Pairs.from_folder(tmp_path / "out", 3, quiet=True)


def test_partners_that_do_not_fit(folder):
    Image.fromarray(noise(0, 6, 5)).save(folder / "LR_bicubic" / "X2" / "b.png")
    with pytest.raises(UsageError, match=r"has 5x6 pixels, which times 2 is not the size of .*b.png, 12x12"):
        Pairs.from_folder(folder, 2, quiet=True)
    (folder / "LR_bicubic" / "X2" / "b.png").unlink()
    with pytest.raises(UsageError, match=r"b.png has no LR image .*X2.b.png"):
        Pairs.from_folder(folder, 2, quiet=True)


def test_more_than_the_memory_holds(folder, monkeypatch):
    monkeypatch.setattr(module, "_free_memory", lambda: 3 * 5 * (12 * 18 + 6 * 6) - 1)
    with pytest.raises(UsageError, match=r"the 2 images of .* need 0.0 GB of memory, where 0.0 GB are free"):
        Pairs.from_folder(folder, 2, quiet=True)
    monkeypatch.setattr(module, "_free_memory", lambda: 3 * 5 * (12 * 18 + 6 * 6))
    Pairs.from_folder(folder, 2, quiet=True)


def test_a_set_larger_than_memory_is_read_from_files(folder, monkeypatch, tmp_path, caplog):
    held = Pairs.from_folder(folder, 2, quiet=True)
    monkeypatch.setattr(module, "_free_memory", lambda: 1.0)
    stored = Pairs.from_folder(folder, 2, cache=tmp_path / "cache", quiet=True)
    assert "are read from a file in" in caplog.text
    assert (held.apart, stored.apart) == (False, True)
    for seed in range(3):
        crops = [one.batch(5, 4, torch.Generator().manual_seed(seed)) for one in (held, stored)]
        assert all(torch.equal(a, b) for a, b in zip(*crops, strict=True))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert sum(path.stat().st_size for path in files) == 3 * 5 * (12 * 18 + 6 * 6)
    monkeypatch.setattr(module, "read", None)  # nothing is decoded again
    Pairs.from_folder(folder, 2, cache=tmp_path / "cache", quiet=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == files
    monkeypatch.undo()
    monkeypatch.setattr(module, "_free_memory", lambda: 1.0)
    Image.fromarray(noise(7, 24, 36)).save(folder / "HR" / "a.png")  # another image makes other files
    changed = Pairs.from_folder(folder, 2, cache=tmp_path / "cache", quiet=True)
    assert not torch.equal(changed.large, stored.large)
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="remove it, and it is written again"):
        Pairs.from_folder(folder, 2, cache=tmp_path / "cache", quiet=True)
    monkeypatch.setattr(module.stored.shutil, "disk_usage", lambda path: SimpleNamespace(free=5))
    with pytest.raises(UsageError, match="make room, or give --out on a larger disk"):
        Pairs.from_folder(folder, 2, cache=tmp_path / "other", quiet=True)


def test_a_part_of_the_crops(folder):
    pairs = Pairs.from_folder(folder, 2, quiet=True)
    whole, first, second = (
        pairs.batch(4, 4, torch.Generator().manual_seed(1), part=part)[1]
        for part in (None, slice(0, None, 2), slice(1, None, 2))
    )
    assert torch.equal(whole[::2], first)
    assert torch.equal(whole[1::2], second)


def test_free_memory_is_a_number():
    assert module._free_memory() > 1 << 20
