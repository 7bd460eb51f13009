"""The classifier of patches: numpy and PyTorch agree, training works, files are read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sharpbit.data.textures import Textures, from_dtd, from_folders
from sharpbit.errors import ModelError, UsageError
from sharpbit.quant.refqsr.clustblock import ClustBlock, Pretraining, card_of, give_grids, pretrain, right, write
from sharpbit.twopass.classifier import EMBEDDED, LAYERS, Classifier, embedded


def texture(kind: int, seed: int, side: int = 48) -> np.ndarray:
    """Stripes, checks or noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] + rng.integers(0, 9)
    plain = ((x // 4) % 2, (x // 4 + y // 4) % 2, rng.integers(0, 2, (side, side)))[kind]
    return np.repeat((plain * 180 + rng.integers(0, 60)).astype(np.uint8)[..., None], 3, 2)


def textures(seed: int, each: int = 8) -> Textures:
    images = [texture(kind, seed + n) for kind in range(3) for n in range(each)]
    tensors = tuple(torch.from_numpy(p).permute(2, 0, 1).contiguous() for p in images)
    return Textures(("stripes", "checks", "noise"), tensors, tuple(k for k in range(3) for _ in range(each)))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(2)
    net = ClustBlock(5).eval().requires_grad_(False)
    give_grids(net, [torch.rand(8, 3, 48, 48)])
    return net


def test_sizes(net):
    assert sum(weight.numel() for weight in ClustBlock(47).parameters()) == 58_735
    assert net(torch.rand(2, 3, 48, 60)).shape == (2, 5)
    assert net(torch.rand(1, 3, 7, 100)).shape == (1, 5)


def test_numpy_says_what_torch_says(net, tmp_path):
    write(net, tuple("abcde"), {"data": "noise"}, tmp_path / "c.npz", overwrite=False)
    classifier = Classifier.read(tmp_path / "c.npz")
    assert classifier.classes == tuple("abcde")
    assert classifier.card["data"] == "noise"
    assert classifier.parameters == 1792 + 36928 + 18464 + 5 * 33
    rng = np.random.default_rng(1)
    patches = [rng.integers(0, 256, size, np.uint8) for size in ((48, 48, 3), (72, 61, 3), (48, 48, 3), (9, 20, 3))]
    ours = classifier.vectors(patches)
    back = ClustBlock.of(classifier)
    for patch, vector in zip(patches, ours, strict=True):
        x = torch.from_numpy(patch).permute(2, 0, 1)[None].float() / 255
        assert np.allclose(net(x)[0].numpy(), vector, atol=1e-4)
        assert np.allclose(back(x)[0].numpy(), vector, atol=1e-4)


def test_it_has_eight_bits(net):
    for name, (step, lo, hi) in zip(LAYERS, net.grids, strict=True):
        weight = net.get_submodule(name).weight
        assert len(torch.round(weight / step).unique()) <= 257
        assert lo < hi
    x = torch.rand(4, 3, 48, 48)
    rounded = net(x)
    grids, net.grids = net.grids, torch.full_like(net.grids, torch.nan)
    exact = net(x)
    net.grids = grids
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.05 * exact.abs().max()


def test_it_learns_to_tell_textures_apart():
    how = Pretraining(epochs=40, batch=24, side=32, shrink=1.2, rate=3e-3)
    seen = []
    net = pretrain(textures(1), how, log=lambda step, steps, loss: seen.append((step, steps, loss)))
    assert seen[-1][:2] == (40, 40)
    assert seen[-1][2] < seen[0][2]
    assert right(net, textures(100), 32) > 0.8
    card = card_of(how, textures(1), textures(100), 0.9, data="made up")
    assert card["train"] == card["test"] == 24
    assert card["pretraining"]["epochs"] == 40


def test_the_embedded_one():
    classifier = embedded()
    assert len(classifier.classes) == len(set(classifier.classes)) == 54
    assert classifier.card["licence"] == "CC0-1.0"
    assert classifier.parameters == 57_184 + 33 * 54
    assert 0.4 < classifier.card["top1"] <= 1
    assert EMBEDDED.stat().st_size < 90_000


def test_the_embedded_one_tells_textures_apart_as_its_card_says(shared):
    _, test = from_folders(shared / "data" / "textures")
    assert right(ClustBlock.of(embedded()), test) == pytest.approx(embedded().card["top1"], abs=0.005)


def test_no_classifier(tmp_path):
    path = tmp_path / "c.npz"
    path.write_bytes(b"no")
    with pytest.raises(ModelError, match="no classifier"):
        Classifier.read(path)
    with pytest.raises(UsageError, match="uint8"):
        embedded().vectors([np.zeros((20, 20, 3))])


def save(path: Path, seed: int, kind: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(texture(kind, seed)).save(path)


def test_folders_are_split_by_file(tmp_path):
    for k in range(9):
        save(tmp_path / "stripes" / f"{k}.png", k)
    save(tmp_path / "checks" / "0.png", 1, 1)
    train, test = from_folders(tmp_path)
    assert train.classes == test.classes == ("checks", "stripes")
    assert train.labels == (0, *[1] * 7)
    assert test.labels == (1, 1)
    assert torch.equal(test.images[0], torch.from_numpy(texture(0, 3)).permute(2, 0, 1))
    crops, labels = train.batch(6, 20, torch.Generator().manual_seed(1))
    assert crops.shape == (6, 3, 20, 20)
    assert 0 <= crops.min() <= crops.max() <= 1
    assert set(labels.tolist()) <= {0, 1}


def test_every_class_comes_equally_often():
    few = textures(1)
    uneven = Textures(few.classes, few.images[:10], (0,) * 8 + (1, 2))
    _, labels = uneven.batch(600, 8, torch.Generator().manual_seed(1))
    assert torch.bincount(labels).min() > 150


def test_the_describable_textures(tmp_path):
    for name, kind in (("striped", 0), ("chequered", 1)):
        for k in range(3):
            save(tmp_path / "images" / name / f"{name}_{k}.jpg", k, kind)
    (tmp_path / "labels").mkdir()
    for k, part in enumerate(("train", "val", "test")):
        lines = [f"{name}/{name}_{k}.jpg" for name in ("striped", "chequered")]
        (tmp_path / "labels" / f"{part}1.txt").write_text("\n".join(lines) + "\n")
    train, test = from_dtd(tmp_path)
    assert train.classes == ("chequered", "striped")
    assert train.labels == (1, 0, 1, 0)
    assert test.labels == (1, 0)
    with pytest.raises(UsageError, match=r"train2\.txt is missing"):
        from_dtd(tmp_path, 2)
    (tmp_path / "labels" / "test1.txt").write_text("dotted/dotted_1.jpg\n")
    with pytest.raises(UsageError, match=r"lists 'dotted/dotted_1\.jpg'"):
        from_dtd(tmp_path)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        from_folders(tmp_path / "x")
    with pytest.raises(UsageError, match="two classes"):
        from_folders(tmp_path)
