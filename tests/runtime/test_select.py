"""Which engine opens a file: the fastest that is exact, or the one asked for, or a sentence."""

from importlib.util import find_spec

import pytest
from test_contract_runtime import installed

import integer_files
import sharpbit
from sharpbit import zoo
from sharpbit.app.options import ENGINE
from sharpbit.errors import MissingExtra, ModelError, UsageError
from sharpbit.evaluation import open_model
from sharpbit.runtime import ENGINES, RUNTIMES, open_engine


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
    float_name = next(name for name, header in zoo.models().items() if header.precision == "float32")
    assert "ONNX Runtime" in open_engine(zoo.path_of(float_name)).engine
    assert "PyTorch" in open_engine(weights).engine
    assert ("native" if has_native() else "ONNX Runtime") in open_engine(integers).engine


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_the_one_asked_for(integers, engine):
    installed(engine)
    assert {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}[engine] in open_engine(integers, engine).engine
    assert open_model(str(integers), engine=engine, threads=1).threads == 1


def test_one_that_cannot(integers, weights, tmp_path):
    floats = tmp_path / "f.onnx"
    floats.write_bytes(zoo.path_of("x3-clean-balanced").read_bytes())
    cases = {
        (weights, "onnx"): "the engine onnx cannot run w.safetensors: it takes .onnx files; --engine torch can",
        (integers, "torch"): "--engine onnx or --engine openvino can",
    }
    if sharpbit.modelfile.read(floats).precision == "float32":
        cases[floats, "native"] = "it takes integer networks"
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
