"""Files of others: what is found out by trial, and what is refused, each in one sentence."""

from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import sharpbit
from sharpbit import modelfile, zoo
from sharpbit.errors import ModelError, ResultError, SharpbitError
from sharpbit.runtime import open_engine
from sharpbit.runtime.onnx import OnnxRuntime

ENGINES = ["onnx", *(["openvino"] if find_spec("openvino") else [])]


def upscaler(
    path, *, weight=None, scale=2, white=1.0, sides=("h", "w"), kind=np.float32, after=(), channels=3, batch=1
):
    """A file that repeats each pixel, after a convolution with `weight` (None: none), then does `after`."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    repeat = np.zeros((channels * scale**2, channels, 1, 1), kind)
    for c in range(channels):
        repeat[c * scale**2 : (c + 1) * scale**2, c] = 1
    weight = repeat if weight is None else weight.astype(kind)
    pad = weight.shape[2] // 2
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["c"], pads=[pad] * 4),
        helper.make_node("DepthToSpace", ["c"], ["y0"], blocksize=scale, mode="CRD"),
        *after,
    ]
    last = nodes[-1].output[0]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, [batch, channels, *sides])],
        [helper.make_tensor_value_info(last, element, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array(white, kind), "white")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def blurred(scale=2, radius=3):
    """Repeats a blurred image: every output pixel sees `radius` pixels around it."""
    side = 2 * radius + 1
    weight = np.zeros((3 * scale**2, 3, side, side), np.float32)
    for c in range(3):
        weight[c * scale**2 : (c + 1) * scale**2, c] = 1 / side**2
    return weight


def smooth(height=70, width=50):
    y, x = np.mgrid[0:height, 0:width] / 10
    return ((0.5 + 0.4 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)) * 255).astype(np.uint8)


@pytest.mark.parametrize("engine", ENGINES)
def test_scale_range_and_reach_are_found(tmp_path, engine):
    runtime = open_engine(upscaler(tmp_path / "a.onnx", weight=blurred(3, 5), scale=3), engine)
    assert (runtime.scale, runtime.tile) == (3, None)
    assert 5 <= runtime.halo <= 9
    assert "x3" in runtime.notes[0]
    assert "0 to 1" in runtime.notes[0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("tile", [16, 31])
def test_tiles_of_it_are_exact(tmp_path, tile, engine):
    path = upscaler(tmp_path / "a.onnx", weight=blurred())
    whole = sharpbit.upscale(smooth(), model=path, tile=4096, engine=engine)
    assert np.array_equal(sharpbit.upscale(smooth(), model=path, tile=tile, engine=engine), whole)


def test_values_to_255(tmp_path):
    after = [helper.make_node("Clip", ["y0", "", "white"], ["y"])]  # bright only where values reach 255
    offset = [
        helper.make_node("Sub", ["y0", "white"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["b", "white"], ["y"]),
    ]
    runtime = OnnxRuntime(upscaler(tmp_path / "a.onnx", after=offset, white=20.0))
    assert "0 to 255" in runtime.notes[0]
    source = smooth()
    out = sharpbit.upscale(source, model=tmp_path / "a.onnx")
    assert np.abs(out[::2, ::2].astype(int) - np.maximum(source, 20)).max() <= 1
    assert "0 to 1" in OnnxRuntime(upscaler(tmp_path / "b.onnx", after=after)).notes[0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("height", [10, 64, 70])
def test_fixed_size(tmp_path, height, engine):
    path = upscaler(tmp_path / "a.onnx", sides=(64, 64))
    assert open_engine(path, engine).tile == 64
    source = smooth(height, 90)
    assert np.array_equal(sharpbit.upscale(source, model=path, engine=engine), source.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_half_precision(tmp_path, engine):
    path = upscaler(tmp_path / "a.onnx", kind=np.float16)
    runtime = open_engine(path, engine)
    assert runtime.precision == {"onnx": "float16", "openvino": "float32"}[engine]  # what OpenVINO computes it in
    assert np.abs(sharpbit.upscale(smooth(), model=path, engine=engine)[::2, ::2].astype(int) - smooth()).max() <= 1


REFUSED = {
    "two channels": ({"channels": 2}, "takes images of 2 channels"),
    "double precision": ({"kind": np.float64}, "cannot be opened"),
    "one colour for all": (
        {"after": [helper.make_node("Mul", ["y0", "white"], ["y"])], "white": 0.0},
        "no plain RGB upscaler",
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_upscaler(tmp_path, name, engine):
    options, words = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        open_engine(upscaler(tmp_path / "a.onnx", **options), engine)
    assert words in str(caught.value) or (engine == "openvino" and "expected is one float image" in str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_result_that_is_not_a_number(tmp_path):
    after = [  # the logarithm of what is too bright
        helper.make_node("Sub", ["white", "y0"], ["a"]),
        helper.make_node("Log", ["a"], ["b"]),
        helper.make_node("Exp", ["b"], ["d"]),
        helper.make_node("Sub", ["white", "d"], ["y"]),
    ]
    path = upscaler(tmp_path / "a.onnx", after=after, white=0.95)
    with pytest.raises(ResultError, match="not a number"):
        sharpbit.upscale(np.full((20, 20, 3), 250, np.uint8), model=path)
    assert sharpbit.upscale(np.full((20, 20, 3), 200, np.uint8), model=path).mean() == pytest.approx(200, abs=1)


def test_wrong_colours(tmp_path):
    swap = np.zeros((12, 3, 1, 1), np.float32)
    for c in range(3):
        swap[c * 4 : (c + 1) * 4, 2 - c] = 1
    path = upscaler(tmp_path / "a.onnx", weight=swap)
    red = np.zeros((30, 30, 3), np.uint8)
    red[..., 0] = 200
    with pytest.raises(SharpbitError, match=r"colour"):
        sharpbit.upscale(red, model=path)


def flipped(data, position, bit):
    out = bytearray(data)
    out[position] ^= 1 << bit
    return bytes(out)


def test_damaged_model_files_are_refused(tmp_path):
    """Every cut and every flipped bit of a sample: a sentence, never another exception, never a wrong image."""
    good = zoo.path_of("x2-clean-balanced").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "a.onnx"
    for data in [good[:n] for n in rng.integers(0, len(good), 20)] + [
        flipped(good, int(p), int(rng.integers(8))) for p in rng.integers(0, len(good), 40)
    ]:
        path.write_bytes(data)
        try:
            header = modelfile.read(path, verify=True)
        except ModelError as error:
            assert "\n" not in str(error)
            continue
        assert header is None or header.to_json() != modelfile.read(zoo.path_of("x2-clean-balanced")).to_json()


def test_other_files(tmp_path):
    for name, content in {"a.onnx": b"", "b.onnx": b"hello there", "c.onnx": bytes(100), "d.txt": b"x"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError):
            OnnxRuntime(tmp_path / name)
    with pytest.raises(ModelError, match="folder"):
        OnnxRuntime(tmp_path)
