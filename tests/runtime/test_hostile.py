"""Model files of others: headers are tried out, every refusal is a sentence, and what never ends is ended."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import sharpbit
from sharpbit import model as models
from sharpbit import zoo
from sharpbit.errors import ModelError
from sharpbit.modelfile import ModelFile
from sharpbit.runtime import open_engine
from sharpbit.runtime._graph import reason_of
from sharpbit.runtime._interruptible import interruptible


@pytest.fixture(scope="module")
def reports(shared):
    return shared / "data" / "reports"


def test_a_false_receptive_field_is_refused(reports):
    with pytest.raises(ModelError, match="sees 8 pixels around each by trial, and its header says 0"):
        sharpbit.Upscaler(reports / "hostile" / "08_rf1.onnx")


def test_a_false_scale_is_refused_before_the_work(reports):
    with pytest.raises(ModelError, match="turns 64x64 into 128x128, and its header says that it is x1"):
        sharpbit.Upscaler(reports / "hostile" / "08_scale1.onnx")


def test_a_false_precision_is_corrected(reports):
    opened = open_engine(reports / "hostile" / "08_prec.onnx", "onnx")
    assert opened.precision == "float32"
    assert "says int8; nothing in it is rounded" in opened.notes[0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("opset_new", "Current official support for domain ai.onnx is till opset"),
        ("ir_new", "Unsupported model IR version: 99, max supported"),
        ("two_inputs", "sigma"),
    ],
)
def test_the_whole_reason_and_nothing_else(reports, name, reason):
    with pytest.raises(ModelError, match=reason) as caught:
        open_engine(reports / "models" / f"{name}.onnx", "onnx")
    assert "\n" not in str(caught.value)
    assert "onnxruntime_src" not in str(caught.value)


def test_reasons_are_not_cut_before_they_come():
    place = "/onnxruntime_src/core/graph/model.cc:256 void f(const std::map<int, int>&, int) "
    error = RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : Load model from a/b.onnx failed:{place}The\nreason.")
    assert reason_of(error) == "The reason."
    assert reason_of(ValueError()) == "ValueError"


@pytest.mark.parametrize("name", ["dtype", "huge", "neg", "overlap", "rev"])
def test_tables_of_tensors_that_cannot_be(reports, name):
    with pytest.raises(ModelError, match="not a complete safetensors file") as caught:
        models.load(reports / "hostile" / f"12_{name}.safetensors")
    assert "\n" not in str(caught.value)


def test_embedded_models_are_not_tried_out(monkeypatch):
    monkeypatch.setattr("sharpbit.runtime._graph.verify", None)
    file = zoo.open_file("x2-clean-float")
    assert open_engine(file, "onnx").scale == 2
    with pytest.raises(TypeError):
        open_engine(ModelFile(file.path), "onnx")


@pytest.mark.skipif(os.name != "posix", reason="signals of this system are others")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_graph_that_never_ends_is_ended(reports, tmp_path, number):
    code = """if True:
        import signal, sys, threading, time
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from sharpbit.runtime import onnx
        run = onnx._run
        def told(*given):
            print("running", flush=True)
            return run(*given)
        onnx._run = told
        from sharpbit.app.cli import main
        main(["upscale", sys.argv[1], "-n", sys.argv[2], "-o", sys.argv[3]])
    """
    (tmp_path / "a.ppm").write_bytes(b"P6 16 9 255 " + bytes(16 * 9 * 3))
    command = [sys.executable, "-c", code, tmp_path / "a.ppm", reports / "hostile" / "04_loop_forever.onnx"]
    with subprocess.Popen([*command, tmp_path / "b.png"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"running\n"
        time.sleep(0.3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (b"terminated" if number == signal.SIGTERM else b"interrupted") in errors
    assert not (tmp_path / "b.png").exists()


def test_errors_and_results_come_through():
    assert np.array_equal(interruptible(lambda: np.arange(3), list), [0, 1, 2])
    with pytest.raises(KeyError, match="lost"):
        interruptible(lambda: {}["lost"], list)
