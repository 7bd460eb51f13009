"""`deploy`: each folder is used as its README says, in an empty environment, and gives the exact result."""

import errno
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import sharpbit
from integer_files import chain as some_chain
from sharpbit import modelfile, zoo
from sharpbit.app.cli import app
from sharpbit.errors import OutputExists, UsageError
from sharpbit.measure.probe import image
from sharpbit.modelfile import Header, ModelFile
from sharpbit.runtime import native, open_engine
from sharpbit.runtime.native import NativeRuntime

COMPILER = [tool for tool in ("cc", "c++", "make") if shutil.which(tool) is None]
needs_native = pytest.mark.skipif(not native.available(), reason=native.why_not())


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def in_order(folder, *command):
    """Run a command in the folder with next to nothing in the environment."""
    done = subprocess.run(command, cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@needs_native
def test_each_file_of_kernels_has_the_flags_of_its_instruction_set(tmp_path):
    """What `make` would do: that all of it links shows only where all is compiled."""
    if COMPILER:
        assert "CI" not in os.environ, f"CI has {', '.join(COMPILER)}"
        pytest.skip(f"there is no {', '.join(COMPILER)}")
    assert call("deploy", "x2-clean-fast", "--to", "c", "-o", tmp_path / "c").exit_code == 0
    flags = {"isa_amx": "-mamx-int8", "isa_avx512": "-mavx512vnni", "isa_avx2": "-mavx2", "isa_neon": "+dotprod"}
    for given in ((), ("SETS=",)):
        lines = in_order(tmp_path / "c", "make", "-n", *given).stdout.splitlines()
        compiled = {line.split()[-1]: line for line in lines if line.endswith(".cpp")}
        assert {"engine/isa_c.cpp", "engine/isas.cpp", "engine/graph.cpp"} <= set(compiled)
        for file, line in compiled.items():
            wanted = [flag for name, flag in flags.items() if file.startswith(f"engine/{name}")]
            assert all(flag in line for flag in wanted), line
            assert not (wanted and given), line
        archived = next(line for line in lines if line.startswith("ar ")).split()
        assert {file.replace(".cpp", ".o") for file in compiled if "/" in file} == set(archived[3:])


@pytest.mark.slow  # compiles the engine, its portable kernels alone and without optimization
@needs_native
def test_a_compiler_alone_makes_a_program_that_gives_the_exact_result(tmp_path):
    if COMPILER:
        assert "CI" not in os.environ, f"CI has {', '.join(COMPILER)}"
        pytest.skip(f"there is no {', '.join(COMPILER)}")
    folder, other = tmp_path / "c", tmp_path / "cpp"
    for path in (folder, other):
        done = call("deploy", "x2-clean-fast", "--to", path.name, "-o", path, "--json")
        assert done.exit_code == 0, done.output
        assert str(path / "README.md") in json.loads(done.stdout)["files"]
    in_order(folder, "make", "SETS=", "CXXFLAGS=-O0", "test")
    for built in ("libsharpbit.a", "model.o", *(f"engine/{path.name}" for path in folder.glob("engine/*.o"))):
        shutil.copy(folder / built, other / built)  # both have the same engine, which takes long to compile
    in_order(other, "make", "SETS=", "CXXFLAGS=-O0", "test")
    wanted = next(iter(open_engine(zoo.path_of("x2-clean-fast"), "native")([image()])))
    for path in (folder, other):
        assert np.array_equal(np.asarray(Image.open(path / "upscaled.ppm")), wanted)
        in_order(path, "./example", "example.ppm", "threads.ppm", "3")
        assert (path / "threads.ppm").read_bytes() == (path / "upscaled.ppm").read_bytes()
        (path / "bad.ppm").write_bytes(b"P6\n4 4\n255\nshort")
        bad = subprocess.run(["./example", "bad.ppm", "no.ppm"], cwd=path, capture_output=True, text=True)
        assert bad.returncode == 1 and "cut off" in bad.stderr and not (path / "no.ppm").exists()


def test_the_folder_for_onnx_runtime_works_alone(tmp_path):
    pytest.importorskip("onnxruntime")
    for name in ("x2-clean-float", "x2-clean-balanced"):
        folder = tmp_path / name
        files = sharpbit.deploy(name, "onnx", folder)
        assert {path.name for path in files} >= {"model.onnx", "upscale.py", "requirements.txt", "README.md"}
        in_order(folder, sys.executable, "-I", "upscale.py", "example.ppm", "out.png")
        wanted = next(iter(open_engine(zoo.path_of(name), "onnx")([given(name)])))
        if wanted.dtype != np.uint8:
            wanted = np.rint(np.clip(wanted, 0, 1) * 255).astype(np.uint8)
        assert np.array_equal(np.asarray(Image.open(folder / "out.png")), wanted)


def test_the_folder_for_litert_works_alone(tmp_path):
    """In float within one level, and the integers are those of the engine but for one level."""
    pytest.importorskip("ai_edge_litert.interpreter", reason="the extra tflite is not installed")
    folder = tmp_path / "phone"
    sharpbit.deploy("x2-clean-balanced", "tflite", folder)
    readme = (folder / "README.md").read_text()
    assert "python upscale.py model_int8.tflite example.ppm upscaled.png" in readme and "{" not in readme
    for kind, name in (("int8", "x2-clean-balanced"), ("float", "x2-clean-float")):
        assert f"| `model_{kind}.tflite` |" in readme
        in_order(folder, sys.executable, "-I", "upscale.py", f"model_{kind}.tflite", "example.ppm", "upscaled.png")
        wanted = next(iter(open_engine(zoo.path_of(name), "onnx")([given(name)])))
        if wanted.dtype != np.uint8:
            wanted = np.rint(np.clip(wanted, 0, 1) * 255)
        made = np.asarray(Image.open(folder / "upscaled.png")).astype(int)
        assert np.abs(made - wanted).max() <= 1
    files = sharpbit.deploy("x2-clean-fast", "tflite", tmp_path / "fast")
    assert [path.name for path in files if path.suffix == ".tflite"] == ["model_int8.tflite"]
    with pytest.raises(UsageError, match="--to tflite takes a model"):
        sharpbit.deploy(None, "tflite", tmp_path / "none")


def given(name):
    return image() if "float" not in name else image().astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(("model", "base"), [("x2-clean-fast", "c"), ("x2-clean-float", "onnx")])
def test_a_container_file_goes_around_a_folder(tmp_path, model, base):
    files = {path.name for path in sharpbit.deploy(model, "docker", tmp_path / "box")}
    assert files >= {"Dockerfile", "README.md", f"README.{base}.md"}
    text = (tmp_path / "box" / "README.md").read_text()
    assert "did not build it" in text and "{" not in text


@needs_native
def test_the_engine_takes_a_native_file_as_it_is(tmp_path):
    chain = some_chain(depth=3, channels=8)
    header = Header("x2", "integer", {"scale": 2, "hidden": [8, 8]}, 2, 7, 0, "int8", range=(0.0, 255.0))
    data = modelfile.native(header, chain.payload())[1]
    pixels = image()
    runtime = NativeRuntime(chain, threads=1)
    wanted = runtime.run(pixels)
    opened = native._opened(native._library(), data, None)
    runtime._chain, payload_only = opened, runtime._chain
    assert np.array_equal(runtime.run(pixels), wanted)
    runtime._chain = payload_only
    native._library().sb_close(opened)
    for end, words in ((20, "cut off in its header"), (16 + int.from_bytes(data[12:16], "little"), "cut off")):
        with pytest.raises(sharpbit.SharpbitError, match=words):
            native._opened(native._library(), data[:end], None)
    with pytest.raises(sharpbit.SharpbitError, match="native file of version 9"):
        native._opened(native._library(), data[:8] + b"\t\0\0\0" + data[12:], None)


def test_what_is_there_is_not_replaced_and_nothing_half_made_stays(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir()
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(OutputExists, match="choose another folder"):
        sharpbit.deploy("x2-clean-fast", "c", folder)
    with pytest.raises(UsageError, match="--to onnx takes it as it is"):
        sharpbit.deploy("x2-clean-float", "c", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box"]
    sharpbit.deploy("x2-clean-fast", "c", folder, overwrite=True)
    assert not (folder / "mine.txt").exists()


def test_wrong_arguments_are_one_sentence(tmp_path):
    sharpbit_file = tmp_path / "a.sharpbit"
    header = ModelFile(zoo.path_of("x2-clean-fast")).header
    sharpbit_file.write_bytes(modelfile.native(header, b"x" * 64)[1])
    for given, words in (
        (["x2-clean-fast", "--to", "tape"], "there is no target 'tape'; known are c, cpp, onnx, web, tflite, docker"),
        (["nothing", "--to", "c"], "there is no model 'nothing'"),
        ([sharpbit_file, "--to", "onnx"], "--to c takes it as it is"),
    ):
        done = call("deploy", *given, "-o", tmp_path / "out")
        assert done.exit_code in (1, 2) and words in done.output and done.output.count("\n") == 1


def test_a_full_disk_is_one_sentence_that_names_the_folder(tmp_path, monkeypatch):
    def full(source, target, **how):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    for target in ("c", "onnx"):
        done = call("deploy", "x2-clean-fast", "--to", target, "-o", tmp_path / "out")
        assert (done.exit_code, done.output) == (1, f"sharpbit: {tmp_path / 'out'}: No space left on device\n")
    assert not list(tmp_path.iterdir())
