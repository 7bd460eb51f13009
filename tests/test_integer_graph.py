"""Integer graphs: their arithmetic against PyTorch, what is stored and read again, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import integer_graphs
from sharpbit.errors import ModelError
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_graph import SHUFFLE, Convolution, IntegerGraph, Product, Rearrangement, Table
from sharpbit.modelfile.integer_graph_arithmetic import compute, first_bytes, run, tensors
from sharpbit.modelfile.integer_graph_payload import from_payload, native_file, payload, read

GRAPHS = integer_graphs.GRAPHS
HEADER = Header("x2-test", "", {}, 1, None, 0, licence="CC0-1.0")


def image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", GRAPHS)
def test_stored_and_read_again(name, tmp_path):
    graph = GRAPHS[name](1)
    header, data = native_file(graph, HEADER)
    path = tmp_path / "a.sharpbit"
    path.write_bytes(data)
    again, told = read(path)
    assert told == header
    assert payload(again) == payload(graph)
    assert np.array_equal(run(again, image(7, 6)), run(graph, image(7, 6)))


@pytest.mark.parametrize("name", GRAPHS)
def test_results_say_something(name):
    graph, picture = GRAPHS[name](), image(29, 31)
    assert run(graph, picture).shape == (29 * graph.scale, 31 * graph.scale, 3)
    for found in tensors(graph, picture)[1:]:
        if found.shape[:2] == (1, 1):
            continue
        level = first_bytes(found)
        assert len(np.unique(level)) > 20
        assert np.mean((level > 0) & (level < 255)) > 0.4


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_beyond_the_halo_counts(name):
    graph, picture = GRAPHS[name](), image(64, 64)
    if graph.halo is None:
        pytest.skip("parts of an image may not begin anywhere")
    unit, at = graph.multiple, 32
    other = 255 - picture
    near = slice(at - graph.halo, at + unit + graph.halo)
    other[near, near] = picture[near, near]
    tile = slice(at * graph.scale, (at + unit) * graph.scale)
    assert np.array_equal(run(graph, other)[tile, tile], run(graph, picture)[tile, tile])


def test_a_convolution_is_that_of_the_field():
    make = integer_graphs.Maker(3)
    make.conv(0, 6, 3)
    make.conv(1, 6, 5, groups=3, adds=(1,))
    node = make.nodes[1]
    zeros = [tensor.zero for tensor in make.tensors]
    x = np.random.default_rng(1).integers(0, 256, (8, 9, 6), np.uint8)
    signed = torch.from_numpy(x.astype(np.float64) - zeros[1]).permute(2, 0, 1)[None]
    weight = torch.from_numpy(node.weight.astype(np.float64))
    bias = node.bias + (node.weight.sum((2, 3), np.float64) * zeros[1].reshape(3, 2).repeat(2, 0)).sum(1)
    total = F.conv2d(signed, weight, torch.from_numpy(bias), padding=2, groups=3)[0].permute(1, 2, 0).numpy()
    value = np.where(total < 0, total * node.negative, total * node.multiplier)
    value += signed[0].permute(1, 2, 0).numpy() * node.terms[0].multiplier + node.zero
    result = compute(node, [image(8, 9), x], zeros)
    assert np.abs(result - np.clip(value, 0, 255)).max() < 0.501


def test_a_table_in_16_bits_lies_between_its_entries():
    entries = np.tanh(np.arange(-1, 257)[None] / 100 - 1) * 20000 + 32768
    node = Table(0, entries.astype(np.uint16), np.zeros(1, np.uint8))
    level = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    found = compute(node, [level], [np.zeros(1, np.uint8)]).astype(float)
    wanted = np.tanh((level.astype(float) - 128) / 256 / 100 - 1) * 20000 + 32768
    assert np.abs(found - wanted).max() < 2
    narrow = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(compute(node, [narrow], []).ravel(), node.values[0, 1:257])


def test_a_product_reads_both_bytes_where_it_says_so():
    zero = np.zeros(1, np.uint8)
    first, second = np.full((1, 1, 1), 65535, np.uint16), np.full((1, 1, 1), 65280 - 1, np.uint16)
    for both, parts in ((True, 256), (False, 1)):
        node = Product((0, 1), np.float32([1 / 256 / 256 / parts]), zero, wide=True, both=both)
        other = (65279 - 128) / 256 if both else 254
        value = (65535 - 128) / 256 * other / 256
        assert abs(float(compute(node, [first, second], [zero, zero])[0, 0, 0]) - 128 - 256 * value) <= 0.51


def test_shuffles_are_those_of_the_field():
    x = np.arange(2 * 3 * 8, dtype=np.uint8).reshape(2, 3, 8)
    planes = torch.from_numpy(x).permute(2, 0, 1)
    shuffled = compute(Rearrangement(SHUFFLE, 0, 2), [x], [])
    assert np.array_equal(shuffled, F.pixel_shuffle(planes, 2).permute(1, 2, 0))
    assert np.array_equal(compute(Rearrangement("unshuffle", 0, 2), [shuffled], []), x)


def test_cut_off_anywhere():
    data = payload(GRAPHS["gated"]())
    for length in (0, 3, 11, 12, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(ModelError, match=r"^f: its integer graph is damaged \(.*\); get it again$"):
            from_payload(data[:length], "f")
    with pytest.raises(ModelError, match="1 bytes too many"):
        from_payload(data + b"x", "f")


def changed(graph: IntegerGraph, number: int, **facts) -> IntegerGraph:
    nodes = list(graph.nodes)
    nodes[number] = replace(nodes[number], **facts)
    return replace(graph, nodes=tuple(nodes))


def test_what_is_refused():
    graph = GRAPHS["gated"]()
    first = graph.nodes[0]
    assert isinstance(first, Convolution)
    large = np.full_like(first.bias, 1 << 30)
    weight = first.weight.copy()
    weight[0, 0, 0, 0] = -128
    for facts, said in [
        ({"inputs": (1,)}, "reads tensors"),
        ({"inputs": ()}, "or none"),
        ({"bias": large * 2 - 1}, "may leave 32 bits"),
        ({"weight": weight}, "a weight of -128"),
        ({"weight": first.weight[:, :, :, :4]}, "kernel of 4"),
        ({"multiplier": np.full(18, np.nan, np.float32)}, "18 multipliers"),
        ({"negative": np.full(18, -(2.0**21), np.float32)}, "beyond 2"),
        ({"groups": 2}, "2 groups of 3"),
    ]:
        with pytest.raises(ModelError, match=rf"^node 0 of the integer graph .*{said}"):
            changed(graph, 0, **facts)
    table = next(k for k, node in enumerate(graph.nodes) if isinstance(node, Table))
    with pytest.raises(ModelError, match="has tables of"):
        changed(graph, table, values=graph.nodes[table].values[:3])
    last = len(graph.nodes) - 1
    for factor, said in [(2, "zero points that differ"), (9, "a shuffle of 9")]:
        with pytest.raises(ModelError, match=said):
            changed(graph, last, factor=factor)
    with pytest.raises(ModelError, match="gives 3 channels at x3; expected are 3 at x2"):
        replace(graph, scale=2)
    with pytest.raises(ModelError, match="1 to 1024 nodes, not 3 with 0"):
        replace(graph, nodes=())


def test_another_header(tmp_path):
    path = tmp_path / "a.sharpbit"
    graph = GRAPHS["plain"]()
    header, _ = native_file(graph, HEADER)
    from sharpbit import modelfile

    for facts in ({"receptive_field": 3}, {"config": {}}, {"scale": 3}):
        path.write_bytes(modelfile.native(replace(header, **facts), payload(graph))[1])
        with pytest.raises(ModelError, match="tells of another graph"):
            read(path)
