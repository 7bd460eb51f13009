"""Integer graphs in our own engine against the reference, bit for bit, and as files that every command opens."""

import numpy as np
import pytest

import integer_graphs
from sharpbit.errors import ModelError
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_graph_arithmetic import run
from sharpbit.modelfile.integer_graph_payload import native_file
from sharpbit.runtime import native, open_engine
from sharpbit.runtime.native import NativeRuntime

pytestmark = pytest.mark.skipif(not native.available(), reason=native.why_not())

SETS = native.instruction_sets()
SIZES = [(1, 1), (1, 50), (23, 1), (7, 13), (19, 61)]


def random_image(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(params=[name for name in native._NAMES if name in SETS or name == "c"])
def instruction_set(request):
    return request.param


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("name", integer_graphs.GRAPHS)
def test_exact(instruction_set, name, extreme):
    graph = integer_graphs.GRAPHS[name](2, extreme)
    runtimes = [NativeRuntime(graph, threads=n, instruction_set=instruction_set) for n in (1, 2, 3)]
    for size in SIZES:
        image = random_image(*size)
        wanted = run(graph, image)
        for runtime in runtimes:
            assert np.array_equal(runtime.run(image), wanted), (size, runtime.threads)


def test_strips(instruction_set):
    """An image so wide that it is cut into strips."""
    graph = integer_graphs.plain()
    image = random_image(9, 2100)
    runtime = NativeRuntime(graph, threads=3, instruction_set=instruction_set)
    assert np.array_equal(runtime.run(image), run(graph, image))


def written(graph, tmp_path):
    path = tmp_path / "a.sharpbit"
    path.write_bytes(native_file(graph, Header("x2-test", "", {}, 1, None, 0, licence="CC0-1.0"))[1])
    return path


def test_auto_opens_a_graph(tmp_path):
    graph = integer_graphs.residual()
    runtime = open_engine(written(graph, tmp_path), threads=1)
    assert (runtime.engine, runtime.scale, runtime.halo) == ("sharpbit native", 2, graph.halo)
    image = random_image(12, 17)
    assert np.array_equal(next(iter(runtime([image]))), run(graph, image))


def test_a_graph_that_takes_multiples_is_not_cut(tmp_path):
    assert open_engine(written(integer_graphs.dense(), tmp_path)).halo is None


def test_a_damaged_graph(tmp_path):
    path = written(integer_graphs.residual(), tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="does not match the sha256"):
        open_engine(path)
