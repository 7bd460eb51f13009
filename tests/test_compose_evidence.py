"""Recipes of verbs: each step is a command on files of the steps before it, and the last file proves its receipt."""

import json
import re
import shlex
from dataclasses import replace

import pytest
from click.testing import CliRunner

import sharpbit
from loaded_script import ROOT, script
from noise_images import put_photos
from sharpbit.app.cli import app
from sharpbit.modelfile import ModelFile, digest, with_header
from sharpbit.modelfile.rewrite import native_start
from sharpbit.runtime import native

evidence = script("compose")
RECIPES = sorted((ROOT / "recipes" / "compose").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_step_is_a_command_on_files_of_the_steps_before_it(path):
    recipe = evidence.Recipe.read(path)
    assert next(iter(recipe.steps)) == "float" and len(recipe.steps) > 2
    known = {"weights", "photos", "out"}
    for name, command in recipe.steps.items():
        verb, *words = shlex.split(command)
        assert verb in app.commands
        assert words[-1].partition(".")[0] == "{out}"
        assert set(re.findall(r"\{(\w+)\}", command)) <= known
        known.add(name)


def test_there_are_the_five_of_the_issue():
    assert [path.stem for path in RECIPES] == ["carn-m-x4", "craft-x4", "etds-m-x4", "general-x4v3", "imdn-x4"]


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """The whole command on a small network: OUT, the folder of photos, and that of the test images."""
    folder = tmp_path_factory.mktemp("compose")
    photos = put_photos(folder / "photos", 5, 150, 140)
    images = put_photos(folder / "Tiny" / "HR", 2, 96, 96, grain=7).parent
    sharpbit.save(sharpbit.build("ecbsr", scale=2, blocks=1, width=8), folder / "net.safetensors")
    recipe = folder / "small.toml"
    recipe.write_text(
        'title = "Small"\nweights = "net.safetensors"\nsize = [40, 40]\n[steps]\n'
        'float = "export {weights} -o {out}.onnx"\n'
        'reparameterized = "reparameterize {weights} {out}.onnx"\n'
        'quantized = "quantize {weights} --calibrate {photos} --crops 4x24 -o {out}.sharpbit"\n'
        'routed = "pair {quantized} x2-clean-fast --calibrate {photos} --patch 8 --max-drop 3 -o {out}.sharpbit"\n'
    )
    call = [recipe, "--weights", folder, "--calibrate", photos, "--data", images, "-o", folder / "out"]
    evidence.main([str(word) for word in call])
    return folder / "out", photos, images, call


needs_native = pytest.mark.skipif(not native.available(), reason=native.why_not())


@needs_native
def test_every_number_is_of_the_file_of_its_step(composed, capsys):
    out, _, _, call = composed
    lines = (out / "table.md").read_text().splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == ["float", "reparameterized", "quantized", "routed"]
    steps = ModelFile(out / "small.sharpbit").header.history[-1]["steps"]
    assert [step["precision"] for step in steps] == ["float32", "float32", "int8", "int8"]
    for step in steps:
        suffix = step["command"].rpartition(".")[2]
        file = ModelFile(out / "small" / f"{step['step']}.{suffix}")
        assert (step["bytes"], step["payload"]) == (len(file.payload), file.header.sha256)
        assert step["ms"] > 0 and step["bitops"] > 0
    assert steps[0]["bitops"] == 16 * steps[2]["bitops"] * steps[0]["macs"] / steps[2]["macs"]
    assert "<svg" in (out / "figure.svg").read_text()
    evidence.main([str(word) for word in call])
    assert "small: " not in capsys.readouterr().out, "nothing is made again"


@needs_native
def test_the_last_file_is_verified_and_fails_after_one_change(composed, tmp_path):
    out, photos, images, _ = composed
    path = out / "small.sharpbit"

    def verified(file, *given):
        return CliRunner().invoke(app, ["verify", str(file), *map(str, given)])

    good = verified(path, "--data", images, "--data", photos)
    assert good.exit_code == 0, good.output
    assert len(re.findall(r"holds +PSNR on", good.output)) == 2
    file = ModelFile(path)
    payload = bytearray(file.payload)
    payload[len(payload) // 2] ^= 8
    header = replace(file.header, sha256=digest([bytes(payload)]))
    start = file.data[: -len(payload)]
    for number, data in enumerate([start + bytes(payload), native_start(header) + bytes(payload)]):
        (tmp_path / f"{number}.sharpbit").write_bytes(data)
        assert verified(tmp_path / f"{number}.sharpbit").exit_code == 1
    for key, value in (("psnr", 99.0), ("bytes", 17), ("flatness", 199)):
        history = json.loads(json.dumps(file.header.history))
        last = history[-1]["steps"][-1]
        last[key] = {**last[key], "Tiny": value} if key == "psnr" else value
        changed = tmp_path / f"{key}.sharpbit"
        changed.write_bytes(with_header(file, replace(file.header, history=tuple(history))))
        assert verified(changed).exit_code == 1, key


def test_a_step_that_makes_no_file_ends_the_run(tmp_path):
    photos = put_photos(tmp_path / "photos", 3, 100, 100)
    sharpbit.save(sharpbit.build("espcn", scale=2), tmp_path / "net.safetensors")
    recipe = tmp_path / "bad.toml"
    recipe.write_text(
        'title = "B"\nweights = "net.safetensors"\nsize = [8, 8]\n[steps]\n'
        'float = "freeze {weights} -o {out}.safetensors"\n'
    )
    given = [recipe, "--weights", tmp_path, "--calibrate", photos, "-o", tmp_path / "out"]
    with pytest.raises(SystemExit, match="step float made no file"):
        evidence.main([str(word) for word in given])
