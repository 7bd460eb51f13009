"""All published checkpoints: recognised, loaded strictly, with the published sizes, converted as published."""

import csv

import pytest
import torch

from sharpbit import model as models

NAMES = [
    *(f"ETDS/ETDS_{size}_x{s}" for size in ("M5C16", "M4C32", "M6C32", "M7C48") for s in (2, 3, 4)),
    *(f"ETDS/ablations/ETDS_M6C32_x4_{k}" for k in ("normal_loss", "only_ET", "only_residual", "advance_residual")),
    *(f"ECBSR/ECBSR{et}_{size}_x{s}" for et in ("", "_ET") for size in ("M4C16", "M4C32", "M6C40") for s in (2, 3, 4)),
    *(f"ABPN/ABPN{et}_{size}_x{s}" for et in ("", "_ET") for size in ("M4C28", "M6C40") for s in (2, 3, 4)),
    *(f"{name}/{name}_x{s}" for name in ("ESPCN", "FSRCNN") for s in (2, 3, 4)),
    "Plain/Plain_M6C32_x4",
]
ARCHS = {"ECBSR": "ecbsr", "ABPN": "abpn", "ESPCN": "espcn", "FSRCNN": "fsrcnn"}
LETTERS = {"M5C16": "T", "M4C32": "S", "M6C32": "M", "M7C48": "L"}
PAIRS = [name for name in NAMES if name.startswith(("ECBSR/ECBSR_M", "ABPN/ABPN_M"))]
ABLATIONS = {
    "only_ET": ("plain", 58976, {"skip": True, "clip": "none", "width": 29}),
    "only_residual": ("etds", 60908, {"add": False, "advanced": False, "width": 32}),
    "advance_residual": ("etds", 70496, {"add": True, "advanced": True, "width": 32}),
    "normal_loss": ("etds", 65780, {"add": True, "advanced": False, "width": 32}),
}


@pytest.fixture
def published(shared):
    return lambda name: models.load(shared / "weights" / "etds" / f"{name}.pth")


def test_these_are_all(shared):
    folder = shared / "weights" / "etds"
    found = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.pth")}
    assert set(NAMES) == found
    assert len(NAMES) == 53


@pytest.mark.parametrize("name", NAMES)
def test_architecture_and_scale_come_from_the_weights(published, name):
    model = published(name)
    file = name.split("/")[-1]
    assert model.scale == int(file.split("_x")[1][0])
    if "ablations" not in name:
        assert model.arch.name == ("plain" if "_ET_" in file else ARCHS.get(file.split("_")[0], "plain"))
    ramp = torch.linspace(0.2, 0.8, 16)
    x = torch.stack([ramp.expand(16, 16), ramp.expand(16, 16).T, 1 - ramp.expand(16, 16)])[None]
    with torch.no_grad():
        small = torch.nn.functional.avg_pool2d(model.net(x), model.scale)
    assert float((small - x).abs().mean()) < 0.02  # it upscales images


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations(published, name):
    arch, parameters, sizes = ABLATIONS[name]
    model = published(f"ETDS/ablations/ETDS_M6C32_x4_{name}")
    assert (model.arch.name, model.parameters) == (arch, parameters)
    assert {key: getattr(model.config, key) for key in sizes} == sizes


def test_parameters_of_the_published_tables(shared, published):
    rows = list(csv.DictReader((shared / "specs" / "etds_tables.csv").read_text().splitlines()))
    table = {(row["model"], int(row["scale"])): float(row["params_k"]) for row in rows if row["params_k"]}
    seen = 0
    for name in NAMES:
        file, _, scale = name.split("/")[-1].partition("_x")
        label = file.replace("_ET_", "+ET-").replace("_", "-")
        if file.startswith("ETDS"):
            label = f"ETDS-{LETTERS[file.removeprefix('ETDS_')]}"
        if "ablations" in name or (label, int(scale)) not in table:
            continue
        assert published(name).parameters / 1000 == pytest.approx(table[label, int(scale)], abs=0.0051), name
        seen += 1
    assert seen >= 48


@pytest.mark.parametrize("name", PAIRS)
def test_released_pairs_agree_bit_for_bit(published, name):
    ours = models.reparameterize(published(name), "et")
    theirs = published(name.replace("_M", "_ET_M"))
    assert ours.config == theirs.config
    expected = theirs.net.state_dict()
    assert ours.net.state_dict().keys() == expected.keys()
    for key, weight in ours.net.state_dict().items():
        assert weight.numpy().tobytes() == expected[key].numpy().tobytes(), key


@pytest.mark.parametrize("form", ["plain", "et"])
@pytest.mark.parametrize("name", [name for name in NAMES if "ESPCN" not in name and "_x4" in name])
def test_every_form_gives_the_same_image(published, name, form):
    model = published(name)
    converted = models.reparameterize(model, form)
    x = torch.rand(1, 3, 17, 14)
    with torch.no_grad():
        assert float((converted.net(x) - model.net(x).clamp(0, 1)).abs().max()) < 1e-5
