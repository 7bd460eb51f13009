"""--engine and --device of the commands, in processes of their own; and what the summary says of time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import integer_files
from sharpbit import zoo
from sharpbit.runtime import RUNTIMES

COMMAND = Path(sys.executable).with_name("sharpbit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flags")
    rng = np.random.default_rng(0)
    (folder / "in").mkdir()
    for k in range(4):
        small = rng.integers(0, 256, (10, 12, 3), np.uint8)
        Image.fromarray(small).resize((60, 50), Image.Resampling.BICUBIC).save(folder / "in" / f"{k}.png")
    integer_files.write(integer_files.chain(), folder / "i.onnx")
    return folder


def run(*arguments, code=0, **environment):
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def has(engine):
    try:
        return bool(RUNTIMES[engine])
    except ImportError:
        return False


def test_the_engine_asked_for(folder):
    results = []
    for engine in ("onnx", *(["openvino"] if has("openvino") else [])):
        target = folder / f"{engine}.png"
        done = run("upscale", folder / "in" / "0.png", "-n", folder / "i.onnx", "-o", target, "--engine", engine)
        assert {"onnx": "int8, ONNX Runtime", "openvino": "OpenVINO"}[engine] in done.stderr
        assert "threads" in done.stderr or "1 thread" in done.stderr
        assert "cpu]" in done.stderr
        with Image.open(target) as image:
            results.append(np.asarray(image).astype(int))
    assert all(np.abs(result - results[0]).max() <= 1 for result in results)


def test_torch_runs_weights_unasked(folder):
    pytest.importorskip("torch")
    import sharpbit

    sharpbit.save(sharpbit.build("bicubic", scale=2), folder / "w.safetensors")
    source = folder / "in" / "0.png"
    done = run("upscale", source, "-n", folder / "w.safetensors", "-o", folder / "t.png")
    assert "float32, PyTorch" in done.stderr
    run("upscale", source, "-n", folder / "w.safetensors", "-o", folder / "u.png", "--engine", "torch")
    assert (folder / "t.png").read_bytes() == (folder / "u.png").read_bytes()


@pytest.mark.parametrize(
    ("flags", "words", "code"),
    [
        (["--engine", "torch"], "the engine torch cannot run i.onnx: it takes weights", 1),
        (["--engine", "onyx"], "no runtime called 'onyx'", 2),
        (["--device", "cuda"], "cuda", 2),
        (["--device", "abacus"], "has no device 'abacus'; use cpu or cuda", 2),
    ],
)
def test_one_sentence(folder, flags, words, code):
    if "cuda" in flags and "CUDAExecutionProvider" in __import__("onnxruntime").get_available_providers():
        pytest.skip("this machine has it")
    target = folder / "none.png"
    done = run("upscale", folder / "in" / "0.png", "-n", folder / "i.onnx", "-o", target, *flags, code=code)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not target.exists()


def test_where_the_time_went(folder):
    arguments = ["upscale", folder / "in", "-n", folder / "i.onnx", "--engine", "onnx"]
    summary = json.loads(run(*arguments, "-o", folder / "a", "--json").stdout)["summary"]
    assert set(summary["spent"]) == {"decode", "network", "encode", "waiting"}
    assert all(value >= 0 for value in summary["spent"].values())
    assert 0 < summary["spent"]["network"] + summary["spent"]["waiting"] <= summary["seconds"]
    (ran,) = summary["ran"]
    assert (ran["precision"], ran["device"]) == ("int8", "cpu")
    assert {"engine", "instruction_set", "threads"} <= set(ran)
    told = run(*arguments, "-o", folder / "b").stderr
    assert "4 done in " in told
    assert "(decode " in told
    for name in ("0", "1", "2", "3"):
        assert (folder / "a" / f"{name}.png").read_bytes() == (folder / "b" / f"{name}.png").read_bytes()


def test_evaluate_takes_them(folder):
    arguments = ["evaluate", folder / "i.onnx", "--data", folder / "in", "--json", "--threads", "1"]
    (model,) = json.loads(run(*arguments, "--engine", "onnx").stdout)["models"]
    assert (model["precision"], model["device"]) == ("int8", "cpu")
    assert "cannot run" in run(*arguments, "--engine", "torch", code=1).stderr


def test_doctor_lists_every_engine():
    report = json.loads(run("doctor", "--json").stdout)
    assert {"native", "onnx", "openvino", "torch"} <= set(report["engines"])
    assert "engine onnx" in run("doctor").stdout


def test_a_deep_image_says_what_an_8_bit_model_does_to_it(folder):
    import png

    rows = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(40, 30)
    with (folder / "deep.png").open("wb") as file:
        png.Writer(30, 40, greyscale=True, bitdepth=16).write(file, rows.tolist())
    arguments = ["upscale", folder / "deep.png", "--engine", "onnx", "--overwrite", "-o", folder / "deep2.png"]
    assert "has 8 bits per sample" in run(*arguments, "-n", folder / "i.onnx").stderr
    if all(header.precision == "float32" for header in zoo.models().values()):
        assert "8 bits per sample" not in run(*arguments).stderr


def test_no_engine_is_loaded_before_one_runs():
    """A cold start pays for the engine that runs, and for no other."""
    code = "import sys; from sharpbit.app import run; print({'onnxruntime', 'openvino', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
