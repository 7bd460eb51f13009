"""Every verb that writes a model file puts a receipt into it, which `sharpbit verify` runs again."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import sharpbit
from noise_images import put_photos
from sharpbit.app.cli import app
from sharpbit.modelfile import ModelFile, with_header
from sharpbit.runtime import native

needs_native = pytest.mark.skipif(not native.available(), reason=native.why_not())
FEW = ("--crops", "4x24", "--quiet")


@pytest.fixture
def photos(tmp_path):
    return put_photos(tmp_path / "photos", 5, 150, 140)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "net.safetensors"
    sharpbit.save(sharpbit.build("ecbsr", scale=2, blocks=1, width=4), path)
    return path


def call(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


def receipt(path):
    table = ModelFile(path).header.history[-1]
    assert table["verb"] == "receipt"
    return table


@needs_native
def test_the_order_of_the_verbs_and_their_images_are_kept(source, photos, tmp_path):
    plain, small, out = (tmp_path / name for name in ("plain.safetensors", "small.onnx", "small.sharpbit"))
    call("reparameterize", source, plain)
    call("quantize", plain, "--calibrate", photos, "-o", small, *FEW)
    call("export", small, "--format", "native", "-o", out)
    found = receipt(out)
    assert [step["step"] for step in found["steps"]] == ["reparameterize", "quantize", "export"]
    assert found["steps"][1]["did"]["method"] == "lossless"
    assert found["source"]["name"] == "small.onnx"
    assert found["calibrated"] == receipt(small)["calibrated"] and found["calibrated"]["images"] == 4, (
        "one for each crop"
    )
    for path in (plain, small, out):
        call("verify", path)


@needs_native
def test_what_differs_from_its_receipt_fails(source, photos, tmp_path):
    out = tmp_path / "small.onnx"
    call("quantize", source, "--calibrate", photos, "-o", out, *FEW)
    file = ModelFile(out)
    for key, value in (("bytes", 17), ("payload", "0"), ("precision", "float32"), ("probe", {"samples": [0] * 64})):
        history = json.loads(json.dumps(file.header.history))
        history[-1]["steps"][-1][key] = value
        changed = tmp_path / f"{key}.onnx"
        changed.write_bytes(with_header(file, replace(file.header, history=tuple(history))))
        assert CliRunner().invoke(app, ["verify", str(changed)]).exit_code == 1, key
    damaged = tmp_path / "damaged.onnx"
    data = bytearray(file.data)
    data[len(file.payload) // 2] ^= 8
    damaged.write_bytes(data)
    assert CliRunner().invoke(app, ["verify", str(damaged)]).exit_code != 0


def test_stages_and_pairs_have_one(source, photos, tmp_path):
    ranges, refined, frozen = (tmp_path / f"{name}.safetensors" for name in ("ranges", "refined", "frozen"))
    call(*("quantize", source, "--method", "adc", "--unfrozen", "--calibrate", photos, "-o", ranges, *FEW))
    given = ("--teacher", source, "--calibrate", photos, "--steps", 1, *FEW)
    call("refine", ranges, *given, "-o", refined)
    call("freeze", refined, "-o", frozen)
    steps = receipt(frozen)["steps"]
    assert [step["step"] for step in steps] == ["quantize", "refine", "freeze"]
    assert [{"side", "place"} <= set(step["did"]) for step in steps] == [True, True, False]
    large, pair = tmp_path / "large.onnx", tmp_path / "pair.onnx"
    call("export", source, "-o", large)
    call("pair", large, "x2-clean-fast", "--detail", 3, "-o", pair)
    assert receipt(pair)["steps"][-1]["did"]["small"]["name"] == "x2-clean-fast.onnx"
    for path in (ranges, refined, frozen, large, pair):
        call("verify", path)


def test_a_receipt_without_psnr_is_not_asked_for_it(source, photos, tmp_path):
    out = tmp_path / "net.onnx"
    call("export", source, "-o", out)
    with pytest.raises(sharpbit.errors.UsageError, match="claims no PSNR"):
        sharpbit.verify(out, [photos])


def test_a_file_whose_engine_is_not_there_is_written_all_the_same(source, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("sharpbit.runtime.native._load", lambda: "the native engine is not there")
    out = tmp_path / "small.sharpbit"
    call("quantize", source, "--calibrate", photos, "-o", out, *FEW)
    assert "not there" in receipt(out)["steps"][-1]["error"]
    monkeypatch.undo()
    if native.available():
        claims = sharpbit.verify(out)
        assert [claim.holds for claim in claims] == [True, None]
