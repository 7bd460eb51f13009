"""Which engine opens a file: the fastest that is exact, or the one asked for, or a sentence."""

import importlib
import os
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from test_contract_runtime import installed

import integer_files
import sharpbit
from sharpbit import modelfile, zoo
from sharpbit.app.options import ENGINE
from sharpbit.errors import MissingExtra, ModelError, UsageError
from sharpbit.runtime import ENGINES, RUNTIMES, EngineOptions, open_engine
from sharpbit.verbs.evaluate import open_model


@pytest.fixture
def integers(tmp_path):
    return integer_files.write(integer_files.chain(), tmp_path / "i.onnx")


@pytest.fixture
def weights(tmp_path):
    sharpbit.save(sharpbit.build("espcn", scale=2), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def has_native():
    try:
        return find_spec("sharpbit.runtime.native") is not None and bool(installed("native"))
    except pytest.skip.Exception:
        return False


def test_auto(integers, weights):
    assert "ONNX Runtime" in open_engine(zoo.path_of("x2-clean-float")).engine
    assert "PyTorch" in open_engine(weights).engine
    assert ("native" if has_native() else "ONNX Runtime") in open_engine(integers).engine


def test_auto_leaves_plain_c_aside(integers, monkeypatch):
    native = installed("native")
    chain = integer_files.chain()
    monkeypatch.setattr(sys.modules["sharpbit.runtime.native"], "instruction_sets", lambda: ("c",))
    assert native and "ONNX Runtime" in open_engine(integers).engine
    path = integers.with_suffix(".sharpbit")
    path.write_bytes(modelfile.native(modelfile.read(integers), chain.payload())[1])
    assert open_engine(path).instruction_set == "plain C++"  # nothing else takes such a file


def test_a_native_file_without_the_native_engine(integers, monkeypatch):
    native = importlib.import_module("sharpbit.runtime.native")
    path = integers.with_suffix(".sharpbit")
    path.write_bytes(modelfile.native(modelfile.read(integers), integer_files.chain().payload())[1])
    monkeypatch.setattr(native, "why_not", lambda: "it was left at home")
    with pytest.raises(ModelError, match="it was left at home"):
        open_engine(path)


def test_onnx_runtime_is_exact_without_vnni(integers, monkeypatch):
    """The slower way that it takes on older processors."""
    import sharpbit.runtime.onnx as module

    monkeypatch.setattr(module, "_saturates", lambda: True)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    (out,) = open_engine(integers, "onnx", threads=1)([image])
    np.testing.assert_array_equal(out, integer_files.chain().run(image))


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_the_one_asked_for(integers, engine):
    installed(engine)
    assert {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}[engine] in open_engine(integers, engine).engine
    assert open_model(str(integers), options=EngineOptions(engine, threads=1)).threads == 1


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_pytorch_is_asked_for_large_pages_unless_the_user_said_something(weights, monkeypatch, before, after):
    name = "THP_MEM_ALLOC_ENABLE"
    monkeypatch.setenv(name, "")  # so that it is taken back
    if before is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, before)
    open_engine(weights, "torch")
    assert os.environ[name] == after


def test_one_that_cannot(integers, weights, tmp_path):
    cases = {
        (weights, "onnx"): "the engine onnx cannot run w.safetensors: it takes .onnx files; --engine torch can",
        (integers, "torch"): "--engine onnx or --engine openvino can",
        (zoo.path_of("x3-clean-float"), "native"): "it takes integer networks",
    }
    for (path, engine), words in cases.items():
        with pytest.raises(ModelError) as caught:
            open_engine(path, engine)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_native_where_it_is_missing(integers, monkeypatch):
    monkeypatch.setattr(sharpbit.runtime, "find_spec", lambda name: None)
    assert "ONNX Runtime" in open_engine(integers).engine
    with pytest.raises(ModelError, match="not part of this installation; --engine onnx or --engine openvino can"):
        open_engine(integers, "native")


def test_names_that_are_none(integers):
    with pytest.raises(UsageError, match="no runtime called 'onix'; near it: onnx"):
        open_engine(integers, "onix")
    with pytest.raises(UsageError, match="pip install onnxruntime-directml"):
        open_engine(integers, device="directml")


def test_a_missing_engine_says_what_installs_it(integers, monkeypatch):
    def gone(path, **more):
        raise MissingExtra("the engine openvino", "openvino")

    monkeypatch.setitem(RUNTIMES._loaded, "openvino", gone)
    with pytest.raises(MissingExtra, match=r"pip install 'sharpbit\[openvino\]'"):
        open_engine(integers, "openvino")


def test_the_help_names_every_engine():
    option = ENGINE(lambda: None).__click_params__[0]
    assert all(name in option.help for name in ENGINES)
    assert option.default == sharpbit.runtime.AUTO


def test_a_range_is_of_files_of_others(integers, weights):
    for path in (integers, weights):
        for engine in ("auto", "onnx", "torch"):
            with pytest.raises(UsageError, match=rf"of others; {path.name} has its own"):
                open_engine(path, EngineOptions(engine, white=(255, 255)))
