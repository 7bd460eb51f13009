"""Images through networks in two passes: the order, one file in ONNX Runtime, and the command."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from sharpbit import model as models
from sharpbit import modelfile
from sharpbit.app.cli import main
from sharpbit.errors import ModelError, UsageError
from sharpbit.export import EXPORTS, _twopass
from sharpbit.export._trace import trace
from sharpbit.modelfile import ModelFile
from sharpbit.quant import recorded
from sharpbit.quant.freeze import freeze
from sharpbit.quant.method.cadyq import BitSelector
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.refqsr import QueryPass, ReferencePass, begin, published, query
from sharpbit.runtime import open_engine
from sharpbit.twopass import schedule
from sharpbit.twopass.classifier import embedded
from sharpbit.verbs.evaluate import count_patches

SIZES = {"scale": 2, "width": 8}


class Counting:
    """Stands for a network: upscales by repetition, and writes down what it was asked."""

    scale = 2

    def __init__(self):
        self.seen = []

    def vectors(self, patches):
        bright = np.array([patch.mean() for patch in patches])
        return np.stack([bright, 255 - bright], 1).astype(np.float32) / 16

    def reference(self, patches):
        self.seen.append(("reference", len(patches)))
        return patches.repeat(2, 1).repeat(2, 2), (patches.transpose(0, 3, 1, 2).astype(np.float32),)

    def query(self, patches, features):
        self.seen.append(("query", len(patches)))
        assert features[0].shape[0] == len(patches)
        far = np.abs(features[0].mean((1, 2, 3)) - patches.mean((1, 2, 3)))
        assert (far < 110).all()  # dark patches got dark features; dark and bright are 200 apart
        return patches.repeat(2, 1).repeat(2, 2)


def image(high=100, wide=130):
    """Dark on the left, bright on the right, with some noise."""
    noise = np.random.default_rng(3).integers(0, 40, (high, wide, 3))
    noise[:, wide // 2 :] += 200
    return noise.astype(np.uint8)


def test_every_patch_takes_its_route_and_comes_back_to_its_place():
    network, done = Counting(), []
    large, routes = schedule.run(network, image(), patch=30, progress=done.append)
    assert np.array_equal(large, image().repeat(2, 0).repeat(2, 1))
    asked = {role: sum(count for name, count in network.seen if name == role) for role in ("reference", "query")}
    assert asked["query"] == routes.counts()["query"] > 0
    assert asked["reference"] == routes.counts()["reference"] + routes.counts()["isolated"]
    assert sum(done) == pytest.approx(1)
    assert 0 < routes.queries < 1


def test_no_query_without_a_threshold_that_anyone_meets():
    network = Counting()
    _, routes = schedule.run(network, image(), patch=30, threshold=1.01)
    assert routes.counts()["query"] == 0
    assert routes.queries == 0
    assert {name for name, _ in network.seen} == {"reference"}


def test_memory_holds_the_features_of_a_few_patches_only():
    network = Counting()
    schedule.run(network, np.zeros((400, 700, 3), np.uint8), patch=96)
    assert max(count for _, count in network.seen) <= 8


@pytest.mark.parametrize("size", [(1, 1), (9, 40), (15, 14)])
def test_tiny_images(size):
    large, _ = schedule.run(Counting(), np.full((*size, 3), 7, np.uint8))
    assert large.shape == (2 * size[0], 2 * size[1], 3)


def test_patches_that_are_too_small():
    with pytest.raises(UsageError, match="at least 15 pixels a side, not 8"):
        schedule.run(Counting(), image(), patch=8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    plain = models.build("carn", **SIZES)
    plan = placement("carn", 8, 8, width=SIZES["width"])
    shown = [torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))]
    base = recorded.calibrate(recorded.insert_quantizers(plain, plan, "pams"), shown)
    made = recorded.refqsr(plain, published("carn", plain.config, "pams", 8, 4))
    begin(made.net, base.net.state_dict(), shown)
    return made


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("passes") / "two.onnx"
    EXPORTS["onnx"](model, path)
    return path


def test_each_part_is_what_pytorch_computes(model, file):
    """But for rounding: a value next to the middle of two steps may take the other one."""
    runtime = open_engine(file, "onnx", threads=1)
    generator = torch.Generator().manual_seed(2)
    own, other = (torch.rand(3, 3, *size, generator=generator) for size in ((33, 30), (36, 31)))
    parts = ReferencePass(model.net), QueryPass(model.net)
    for part in parts:
        part.net = freeze(part.net)
    with torch.no_grad():
        large, *features = parts[0](other)
        found, *kept = runtime.ask(schedule.REFERENCE, other.numpy(), ())
        refined = parts[1](own, *features)
    assert len(kept) == len(features) == 1
    _near(found, large)
    _near(kept[0], features[0])
    _near(runtime.ask(schedule.QUERY, own.numpy(), [feature.numpy() for feature in features])[0], refined)


def test_the_classifier_is_the_one_that_is_embedded(file):
    patches = np.random.default_rng(0).integers(0, 255, (3, 31, 40, 3), dtype=np.uint8)
    found = open_engine(file, "onnx", threads=1).vectors(list(patches))
    assert np.allclose(found, embedded().vectors(list(patches)), atol=1e-4)


def test_both_engines_give_the_same_image(model, file, tmp_path):
    weights = tmp_path / "two.safetensors"
    models.save(model, weights)
    ours, theirs = (open_engine(path, threads=1) for path in (file, weights))
    results = [next(iter(engine([image()]))).astype(int) for engine in (ours, theirs)]
    assert ours.notes == theirs.notes
    assert "patches of 96 pixels" in ours.notes[0]
    assert np.abs(results[0] - results[1]).mean() < 0.5  # grey levels: of one file biases are rounded
    assert np.array_equal(results[0], next(iter(ours([image()]))))


@pytest.fixture(scope="module")
def choosing():
    """CADyQ in two passes, whose selectors do not all say the same.

    RefERs correct nothing: of four channels in 3 bits, half of all places have two best matches, and engines break ties
    differently.
    """
    torch.manual_seed(5)
    plain = models.build("srresnet", scale=2, blocks=3, width=4)
    how = published("srresnet", plain.config, "cadyq", (4, 6), 3, refers=1, matching="centred", neutral=True)
    made = recorded.refqsr(plain, how)
    begin(made.net, plain.net.state_dict(), [torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))])
    for part in made.net.modules():
        if isinstance(part, BitSelector):
            torch.nn.init.normal_(part.linear.weight)
    return made


@pytest.mark.slow  # the exporter alone takes longer
def test_queries_that_choose_their_bits_run_in_onnx_runtime(choosing):
    """Each patch chooses for itself, whatever the batch, and references may have other sizes."""
    part = QueryPass(choosing.net)
    part.net = freeze(part.net)
    own, other = _twopass._axes("height", "width"), _twopass._axes("reference_height", "reference_width")
    shown = torch.zeros(2, 3, 24, 27), torch.zeros(2, 4, 30, 24)
    proto = trace(part, shown, (own, (other,)), ["picture", "features_0"], ["result"])
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(3, 3, 33, 30, generator=generator) * torch.tensor([0.1, 0.4, 1])[:, None, None, None]
    features = torch.rand(3, 4, 36, 31, generator=generator)
    with torch.no_grad():
        expected = query(choosing.net.eval(), x, [features])
        chosen = torch.stack([one.option for same in choosing.net.context.spent.values() for one in same], 1)
    assert len(chosen.unique(dim=0)) > 1, "not all patches choose alike"
    for some in ([0, 1, 2], [2], [1, 0]):
        found = session.run(None, {"picture": x[some].numpy(), "features_0": features[some].numpy()})[0]
        _near(found, expected[some])


def test_what_patches_chose_in_an_engine_is_not_counted_as_the_widest(choosing, tmp_path):
    models.save(choosing, tmp_path / "two.safetensors")
    runtime = open_engine(tmp_path / "two.safetensors", threads=1)
    assert runtime.counter is not None
    runtime.counter = None
    count_patches(runtime, ModelFile(tmp_path / "two.safetensors"))
    assert runtime.counter is None


def test_the_command_prints_the_routes(file, tmp_path, capsys):
    grey = np.random.default_rng(3).integers(90, 140, (120, 200, 3)).astype(np.uint8)  # as what fresh weights give
    Image.fromarray(grey).save(tmp_path / "small.png")
    with pytest.raises(SystemExit) as stop:
        main(["upscale", str(tmp_path / "small.png"), "-n", str(file), "-t", "48", "-o", str(tmp_path / "large.png")])
    assert stop.value.code == 0
    assert "patches of 48 pixels: " in capsys.readouterr().err
    with Image.open(tmp_path / "large.png") as large:
        assert large.size == (400, 240)
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(file), "--json"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out)["operators"]["If"] == 2


def test_a_header_that_promises_passes_which_are_not_there(model, file, tmp_path):
    other = tmp_path / "other.onnx"
    EXPORTS["onnx"](models.build("espcn", scale=2), other)
    proto = onnx.load(other)
    header = modelfile.read(other)
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = modelfile.KEY, replace(header, history=({"verb": "refqsr"},)).to_json()
    other.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="two passes, and takes"):
        open_engine(other, "onnx")


def _near(found, expected):
    expected = expected.numpy()
    far = np.abs(found - expected) > 0.01 * expected.std()
    assert far.mean() < 0.01
