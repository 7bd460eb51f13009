"""What every engine keeps: the reference's pixels within a stated bound, at any tile size, and clear words."""

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

import integer_files
import sharpbit
from sharpbit.errors import MissingExtra, ModelError, UsageError
from sharpbit.export import EXPORTS
from sharpbit.runtime import RUNTIMES, open_engine
from sharpbit.system.catalog import Catalog

OURS = [name for name in ("native", "onnx", "openvino", "torch") if find_spec(f"sharpbit.runtime.{name}")]
SIZES = [(1, 1), (1, 9), (7, 2), (33, 17), (64, 64), (40, 131)]
FLOAT_BOUND = 2e-6  # of white, between engines that sum floats in another order
BYTE_BOUND = {"native": 0.0, "onnx": 0.001, "openvino": 0.001}  # share of samples that may be one level off
CHAINS = {"x1": (1, 2, 16), "x2": (2, 4, 16), "x3": (3, 5, 32), "x4": (4, 3, 48)}  # scale, depth, channels


def installed(name):
    try:
        RUNTIMES[name]
    except MissingExtra as error:
        pytest.skip(str(error))
    if name == "native" and (reason := sys.modules["sharpbit.runtime.native"].why_not()):
        pytest.skip(reason)
    return name


@pytest.fixture(params=[name for name in OURS if name != "native"])
def float_engine(request):
    return installed(request.param)


@pytest.fixture(params=[name for name in OURS if name != "torch"])
def byte_engine(request):
    return installed(request.param)


@pytest.fixture(scope="module")
def float_files(tmp_path_factory):
    """The same random network as weights and as ONNX."""
    folder = tmp_path_factory.mktemp("files")
    network = sharpbit.build("espcn", scale=3)
    sharpbit.save(network, folder / "a.safetensors")
    EXPORTS["onnx"](network, folder / "a.onnx")
    return {"torch": folder / "a.safetensors", "onnx": folder / "a.onnx", "openvino": folder / "a.onnx"}


@pytest.fixture
def integer_file(tmp_path):
    def write(scale=2, depth=4, channels=16):
        network = integer_files.chain(scale=scale, depth=depth, channels=channels)
        return network, integer_files.write(network, tmp_path / "i.onnx")

    return write


def tiles(dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.random((*size, 3)) * (255 if dtype == np.uint8 else 1)).astype(dtype) for size in SIZES]


def says_what_it_is(runtime, samples):
    assert runtime.samples == samples
    assert (runtime.threads, runtime.device, runtime.tile) == (1, "cpu", None)
    assert isinstance(runtime.wide, bool)
    assert isinstance(runtime.halo, int)
    assert all(isinstance(word, str) for word in (runtime.engine, runtime.precision, runtime.instruction_set))


def test_floats(float_engine, float_files):
    """In order, of any size, and still there when the next tile has been run."""
    runtime = open_engine(float_files[float_engine], float_engine, threads=1)
    source = tiles(np.float32)
    results = list(runtime(source))
    says_what_it_is(runtime, np.float32)
    assert runtime.precision == "float32"
    reference = open_engine(float_files["torch"], "torch", threads=1)
    for tile, result, expected in zip(source, results, reference(source), strict=True):
        assert result.dtype == np.float32
        assert result.shape == (tile.shape[0] * 3, tile.shape[1] * 3, 3)
        assert np.abs(result - expected).max() <= FLOAT_BOUND


@pytest.mark.parametrize("kind", CHAINS)
def test_bytes(byte_engine, integer_file, kind):
    network, path = integer_file(*CHAINS[kind])
    runtime = open_engine(path, byte_engine, threads=1)
    source = tiles(np.uint8)
    results = list(runtime(source))
    says_what_it_is(runtime, np.uint8)
    assert runtime.precision.startswith("int8")
    off = total = 0
    for tile, result in zip(source, results, strict=True):
        expected = network.run(tile)
        assert (result.dtype, result.shape) == (np.uint8, expected.shape)
        apart = np.abs(result.astype(int) - expected)
        assert apart.max() <= (1 if BYTE_BOUND[byte_engine] else 0)
        off, total = off + np.count_nonzero(apart), total + apart.size
    assert off <= BYTE_BOUND[byte_engine] * total


def test_bytes_from_where_they_lie(byte_engine, integer_file):
    """Part of an image, and grey that only pretends to have three channels."""
    _, path = integer_file()
    runtime = open_engine(path, byte_engine, threads=1)
    whole = tiles(np.uint8)[4]
    for view in (whole[3:40, 5:30], np.broadcast_to(whole[:, :, :1], whole.shape), whole[::-1, ::2]):
        (expected,) = runtime([np.ascontiguousarray(view)])
        (result,) = runtime([view])
        assert np.array_equal(result, expected)


def test_tiles_of_other_samples_are_refused(float_engine, byte_engine, float_files, integer_file):
    """Bytes were taken for values from 0 to 1 without a word, and the result was no image."""
    bytes_, floats = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 3), np.float32)
    floating = open_engine(float_files[float_engine], float_engine, threads=1)
    for tile in (bytes_, floats.astype(np.float64)):
        with pytest.raises(UsageError, match=f"takes float32 samples from 0 to 1 .* the tile has {tile.dtype}"):
            next(floating([tile]))
    with pytest.raises(UsageError, match="uint8"):
        next(open_engine(integer_file()[1], byte_engine, threads=1)([floats]))


def test_several_threads_at_a_time(byte_engine, integer_file):
    _, path = integer_file()
    runtime = open_engine(path, byte_engine, threads=1)
    source = tiles(np.uint8) * 4
    expected = list(runtime(source))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda tile: next(iter(runtime([tile]))), source))
    assert all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))


def test_more_threads_change_nothing(byte_engine, integer_file):
    _, path = integer_file()
    one, two = (list(open_engine(path, byte_engine, threads=n)(tiles(np.uint8))) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", [name for name in OURS if name != "native"])
def test_no_such_device(name, float_files):
    installed(name)
    with pytest.raises(UsageError, match="no device 'abacus'; use cpu"):
        open_engine(float_files[name], name, device="abacus")


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_an_engine_that_is_not_installed(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"sharpbit.runtime.{name}", raising=False)
    extra = {"torch": "train"}.get(name, name)
    with pytest.raises(MissingExtra, match=rf"run: pip install 'sharpbit\[{extra}\]'"):
        Catalog("sharpbit.runtime", "RUNTIME")[name]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_damaged_file(name, tmp_path):
    installed(name)
    (tmp_path / "a.onnx").write_bytes(b"\x3a\x05hello")
    with pytest.raises(ModelError) as caught:
        open_engine(tmp_path / "a.onnx", name)
    assert "\n" not in str(caught.value)


def test_openvino_meets_many_sizes(integer_file):
    """Each of the first sizes gets a network of its own, all others share one; what comes out is the same."""
    installed("openvino")
    _, path = integer_file()
    runtime = open_engine(path, "openvino", threads=1)
    source = tiles(np.uint8)
    first, again = list(runtime(source)), list(runtime(source[::-1]))[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(runtime._compiled) == 5
    assert None in runtime._compiled


def test_openvino_runs_bfloat16_only_when_told(float_files):
    installed("openvino")
    from sharpbit.runtime.openvino import OpenvinoRuntime

    plain, half = (OpenvinoRuntime(float_files["onnx"], threads=1, precision=name) for name in ("f32", "bf16"))
    source = tiles(np.float32)[4]
    apart = np.abs(plain.run(source) - half.run(source)).max()
    assert plain.precision == "float32"
    if half.precision == "float32":
        pytest.skip("this processor has no bfloat16")
    assert half.precision == "bfloat16"
    assert apart > FLOAT_BOUND


def test_pytorch_has_as_many_threads_as_before(float_files):
    """They belong to the whole process, in which others count on theirs."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    opened = open_engine(float_files["torch"], "torch", threads=before + 1)
    seen = []
    opened.model.net.register_forward_hook(lambda *given: seen.append(torch.get_num_threads()))
    opened.run(tiles(np.float32)[0])
    assert (seen, torch.get_num_threads()) == ([before + 1], before)
