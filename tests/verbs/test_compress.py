"""`compress`: an unseen network meets its target, is measured through its engine, and its file proves its claims."""

import json
import re
from dataclasses import dataclass, replace

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

import sharpbit
from noise_images import put_photos, soft_noise
from sharpbit import zoo
from sharpbit.app.cli import app
from sharpbit.data.calibration import Cut
from sharpbit.errors import QuantizeError, SharpbitError, UsageError
from sharpbit.image.resize import shrink
from sharpbit.modelfile import ModelFile, digest, with_header
from sharpbit.modelfile.rewrite import native_start
from sharpbit.runtime import native
from sharpbit.verbs import compress as module
from sharpbit.verbs.compression import state as states
from sharpbit.verbs.compression.targets import Targets, distance, sentence
from sharpbit.verbs.compression.ways import Way, Ways

needs_native = pytest.mark.skipif(not native.available(), reason=native.why_not())
SIZE = (24, 32)


class Unseen(nn.Module):
    """A network that no catalog has: its own width, depth, activation and skips.

    Tables take 516 bytes for each channel: with few channels its integers would be larger than its floats.
    """

    def __init__(self, width=25, depth=3):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.tail = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, x):
        first = y = self.head(x)
        for number, layer in enumerate(self.body):
            y = F.silu(layer(y)) + (y if number % 2 else 0)
        return F.pixel_shuffle(self.tail(y + first), 2) + F.interpolate(x, scale_factor=2, mode="nearest")


def trained(net, steps=40):
    torch.manual_seed(1)
    large = torch.stack([torch.from_numpy(soft_noise(k, 64, 64)) for k in range(50, 56)])
    small = torch.stack([torch.from_numpy(shrink(image.numpy(), 2)) for image in large])
    x, y = (part.permute(0, 3, 1, 2).float() / 255 for part in (small, large))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x) - y).abs().mean().backward()
        optimizer.step()
    return net.eval()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("sharpbit.verbs.compression.measuring.memory", lambda *given: 12.5)
    monkeypatch.setattr("sharpbit.verbs.compression.measuring.ROUNDS", 1)
    monkeypatch.setattr("sharpbit.verbs.compress.times", lambda paths, *more: {name: len(name) for name in paths})
    monkeypatch.setattr("sharpbit.verbs.compress.CUT", Cut(24))
    monkeypatch.setattr("sharpbit.verbs.compression.ways.METHOD", "minmax")


@dataclass(frozen=True)
class Ready(Way):
    """A way whose file is that of an embedded model."""

    def write(self, folder):
        path = folder / f"{self.name}{self.suffix}"
        path.write_bytes(zoo.path_of(self.make).read_bytes())
        return path, {}


@pytest.fixture
def ready(monkeypatch):
    """The ways of a network whose files are there already."""
    ways = Ready("float", ".onnx", "x2-clean-float", rounds=False), Ready("integers", ".onnx", "x2-clean-balanced")
    monkeypatch.setattr(Ways, "all", ways)
    return sharpbit.build("espcn", scale=2)


@pytest.fixture
def photos(tmp_path):
    return put_photos(tmp_path / "photos", 5, 150, 140)


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
@needs_native
def test_an_unseen_network_meets_the_target_and_its_file_proves_it(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("sharpbit.verbs.compress.times", lambda paths, *more: {name: 9 - len(name) for name in paths})
    torch.manual_seed(0)
    source = tmp_path / "float.safetensors"
    sharpbit.save(trained(Unseen()), source)
    out, page = tmp_path / "small", tmp_path / "small.html"
    given = ["--calibrate", photos, "--size", "32x24", "--html", page]
    done = call("compress", source, *given, "-o", out, "--max-drop", 0.1, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    path = tmp_path / "small.sharpbit"
    assert (told["file"], told["chosen"]) == (str(path), "integers")
    steps = told["receipt"]["steps"]
    assert [step["step"] for step in steps] == ["float", "integers"]
    assert steps[1]["drop"]["held out"] <= 0.1 and steps[1]["against_float"] > 40
    assert (steps[1]["precision"], steps[1]["engine"]) == ("int8", "sharpbit native")
    assert steps[1]["bytes"] < steps[0]["bytes"]
    assert told["receipt"]["calibrated"]["images"] == 4 and told["receipt"]["calibrated"]["apart"]
    assert "Quality against time" in page.read_text()
    assert not (tmp_path / ".small.compress").exists()

    good = call("verify", path, "--data", photos, "--source", source)
    assert good.exit_code == 0, good.output
    assert "PSNR of the float network on held out" in good.output and "FAILS" not in good.output
    for number, data in enumerate(changed(path)):
        other = tmp_path / f"changed{number}.sharpbit"
        other.write_bytes(data)
        bad = call("verify", other)
        assert bad.exit_code == 1, number
        assert "sharpbit: " in bad.output


def changed(path):
    """The file with one byte of its weights, or one number of its receipt, changed; then also with hashes made anew."""
    file = ModelFile(path)
    header, payload = file.header, bytearray(file.payload)
    middle = len(payload) // 2
    payload[middle] ^= 8
    data = bytearray(file.data)
    data[-len(payload) + middle] ^= 8
    yield bytes(data)
    yield re.sub(rb'"held out":(\d+)\.', lambda found: b'"held out":%d.' % (int(found[1]) + 1), file.data, count=1)
    yield native_start(replace(header, sha256=digest([bytes(payload)]))) + bytes(payload)
    for key, value in (("psnr", {"held out": 99.0}), ("flatness", 199), ("bytes", 17), ("drop", {"held out": 0.2})):
        history = json.loads(json.dumps(header.history))
        history[-1]["steps"][1][key] = value
        yield with_header(file, replace(header, history=tuple(history)))


def test_a_target_that_cannot_be_met_says_what_came_nearest_and_a_looser_one_goes_on(
    ready, photos, tmp_path, monkeypatch
):
    wanted = {"calibrate": photos, "output": tmp_path / "small.onnx", "size": SIZE}
    found = sharpbit.compress(ready, **wanted, max_bytes=10)
    assert found.path is None and not (tmp_path / "small.onnx").exists()
    assert re.search(r"no way meets the targets; \w+ comes nearest: it has [\d,]+ bytes, 10 are allowed", found.why)
    tried = [row["step"] for row in found.rows]
    assert tried == ["float", "integers"]
    monkeypatch.setattr("sharpbit.verbs.compress.measured", None)  # nothing is measured again
    again = sharpbit.compress(ready, **wanted, max_bytes=10**6)
    assert again.path == tmp_path / "small.onnx" and [row["step"] for row in again.rows] == tried
    assert not found.tried.exists()
    assert ModelFile(again.path).header.history[-1]["by"] == "compress"
    model = sharpbit.load(again.path)
    assert "receipt" not in [entry.verb for entry in model.history]
    written = sharpbit.save(model, tmp_path / "anew.safetensors")
    assert "receipt" not in [entry["verb"] for entry in written.history], "it belongs to the file that was measured"
    assert all(claim.holds is not False for claim in sharpbit.verify(again.path, [photos]))


def test_a_run_that_was_ended_goes_on_or_begins_anew(ready, photos, tmp_path, monkeypatch):
    wanted = {"calibrate": photos, "output": tmp_path / "small.onnx", "size": SIZE, "max_drop": 5}
    calls = []

    def ends(self, way, state, reference):
        calls.append(way.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return first(self, way, state, reference)

    first = module._Run._try
    monkeypatch.setattr(module._Run, "_try", ends)
    with pytest.raises(KeyboardInterrupt):
        sharpbit.compress(ready, **wanted)
    assert not (tmp_path / "small.onnx").exists()
    folder = tmp_path / ".small.onnx.compress"
    assert sharpbit.compress(ready, **wanted).path.exists()
    assert calls.count("float") == 1, "it was not tried again"
    assert not folder.exists()
    folder.mkdir()
    (folder / states.NAME).write_text('{"key": "of another network", "tried": {"float": {}}}')
    (folder / "mine.txt").write_text("kept")
    sharpbit.compress(ready, **wanted, overwrite=True)
    assert calls.count("float") == 2
    assert (folder / "mine.txt").read_text() == "kept", "what others put there stays"


@pytest.mark.parametrize(
    ("arch", "given", "names"),
    [
        ("edsr", {}, ["float", "integers .sharpbit", "tuned .onnx"]),
        ("espcn", {"suffix": ".sharpbit"}, ["float", "integers .sharpbit"]),
        ("ecbsr", {}, ["float", "reparameterized", "integers .sharpbit", "integer graph .sharpbit", "tuned .onnx"]),
        ("ecbsr", {"suffix": ".onnx"}, ["float", "reparameterized", "integers .onnx", "tuned .onnx"]),
        ("edsr", {"bits": 4}, ["float", "tuned .onnx"]),
    ],
)
def test_which_ways_there_are(arch, given, names):
    ways = Ways(sharpbit.build(arch, scale=2, **({} if arch == "espcn" else {"blocks": 1, "width": 4})), None, **given)
    found = [f"{way.name} {way.suffix}" if way.rounds else way.name for way in ways.all if not way.last_resort]
    assert found == names


def test_targets():
    table = {"drop": {"held out": 0.3, "Set5": 0.05}, "ms": 30.0, "bytes": 100}
    assert Targets().max_drop == 0.1 and Targets(max_ms=3).max_drop is None
    assert not Targets().misses(table, ("Set5",))
    missed = Targets(0.1, 20).misses(table, ("held out", "Set5"))
    assert missed == {"max_drop": (0.3, 0.1), "max_ms": (30.0, 20)}
    assert round(distance(missed), 3) == 2.5
    assert sentence(missed) == "loses 0.300 dB, 0.1 are allowed; takes 30 ms, 20 are allowed"
    assert "max_drop" in Targets().misses({**table, "drop": {"Set5": None}}, ("Set5",)), "not known is not met"
    with pytest.raises(UsageError, match="nothing is that small"):
        Targets(max_ms=0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["-o", "a.pth"], "the result can be .sharpbit or .onnx"),
        (["-o", "a.onnx", "--calibrate", "none"], "there is no folder none"),
        (["-o", "a.onnx", "--html", "a.txt"], "--html writes a page that ends in .html"),
        (["-o", "a.onnx", "--max-ms", "0"], "nothing is that small"),
        (["-o", "a.onnx", "--bits", "1"], "2 to 16 bits, not 1"),
        (["-o", "a.onnx", "--bits", "8,4"], "say with --budget"),
        (["-o", "a.onnx", "--data", "none"], "there is no folder none"),
    ],
)
def test_wrong_arguments_are_one_sentence(photos, tmp_path, monkeypatch, given, words):
    monkeypatch.chdir(tmp_path)
    done = call("compress", "x2-clean-float", "--calibrate", photos, *given)
    assert done.exit_code in (1, 2)
    assert words in done.output and done.output.count("\n") == 1
    assert not list(tmp_path.glob("a.*"))


def test_what_is_quantized_already_is_refused(photos, tmp_path):
    with pytest.raises(
        QuantizeError, match="compressing comes too late: this integer is in integers already; begin with the float"
    ):
        sharpbit.compress(sharpbit.load(zoo.path_of("x2-clean-balanced")), photos, tmp_path / "a")


def test_what_has_no_receipt_or_other_images_cannot_be_verified(ready, photos, tmp_path):
    done = call("verify", "x2-clean-balanced")
    assert done.exit_code == 2 and "has no receipt to verify" in done.output
    found = sharpbit.compress(ready, photos, tmp_path / "a.onnx", size=SIZE, max_drop=9)
    others = put_photos(tmp_path / "others", 6, 90, 90, grain=7)
    with pytest.raises(SharpbitError, match=r"does not hold the images of the receipt.*held out \(1 images\)"):
        sharpbit.verify(found.path, [others])
