"""Two networks in one file: each branch computes what its own file computes, and the header names both."""

import numpy as np
import onnx
import pytest
import torch

from sharpbit import model as models
from sharpbit import modelfile, zoo
from sharpbit.errors import ModelError, UsageError
from sharpbit.export import EXPORTS, _pair
from sharpbit.measure.upscaling import by
from sharpbit.quant import recorded
from sharpbit.quant.qat.placement import placement
from sharpbit.runtime import open_engine
from sharpbit.twopass.detail import split
from sharpbit.twopass.patches import merge

HOW = {"patch": 24, "shared": 6, "detail": 30.0}


def small(height=50, width=71):
    """Flat on the left, noise on the right."""
    out = np.full((height, width, 3), 90, np.uint8)
    out[:, width // 2 :] = np.random.default_rng(2).integers(0, 256, (height, width - width // 2, 3))
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Float, QDQ in 8 bits, and a chain of integers that takes bytes."""
    folder = tmp_path_factory.mktemp("pair")
    torch.manual_seed(4)
    plain = models.build("srresnet", scale=2, blocks=1, width=8)
    shown = [torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))]
    rounded = recorded.calibrate(
        recorded.insert_quantizers(plain, placement("srresnet", 8, 8, width=8), "minmax"), shown
    )
    EXPORTS["onnx"](plain, folder / "float.onnx")
    EXPORTS["onnx"](recorded.freeze(rounded), folder / "qdq.onnx")
    return {
        "float": folder / "float.onnx",
        "qdq": folder / "qdq.onnx",
        "integer": zoo.path_of("x2-clean-balanced"),
        "x3": zoo.path_of("x3-clean-float"),
    }


@pytest.mark.parametrize(("first", "second"), [("float", "qdq"), ("qdq", "integer"), ("integer", "float")])
def test_a_pair_is_the_patches_of_both(files, tmp_path, first, second):
    path = tmp_path / "pair.onnx"
    _pair.write(_pair.part(files[first]), _pair.part(files[second]), HOW, path)
    engine = open_engine(path, threads=1)
    out = next(iter(engine([small()])))
    found = split(small(), HOW["detail"], HOW["patch"], HOW["shared"])
    assert 0 < found.queries < 1
    networks = [by(open_engine(files[name], "onnx", threads=1)) for name in (first, second)]
    own = [
        networks[int(small_one)](patch.cut(small()))
        for patch, small_one in zip(found.patches, found.small, strict=True)
    ]
    assert np.array_equal(out, merge(found.patches, own, 2))
    counts = found.counts()
    told = f"{len(found.patches)} patches of 24 pixels: {counts['large']} large, {counts['small']} small; "
    assert engine.notes == (f"{told}{found.queries:.3f} of their pixels through the small network",)


def test_a_threshold_of_zero_and_a_huge_one(files, tmp_path):
    for threshold, name in ((0.0, "float"), (1000.0, "qdq")):
        path = tmp_path / f"{name}.onnx"
        _pair.write(_pair.part(files["float"]), _pair.part(files["qdq"]), {**HOW, "detail": threshold}, path)
        patch = small(24, 24)
        expected = by(open_engine(files[name], "onnx", threads=1))(patch)
        assert np.array_equal(next(iter(open_engine(path, threads=1)([patch]))), expected)


def test_the_header_names_both(files, tmp_path):
    path = tmp_path / "pair.onnx"
    written = _pair.write(_pair.part(files["float"]), _pair.part(files["integer"]), HOW, path)
    header = modelfile.read(path, verify=True)
    assert header == written
    first, second = (modelfile.read(files[name]) for name in ("float", "integer"))
    entry = modelfile.several(header.history)
    assert entry == header.history[-1]
    assert {key: entry[key] for key in HOW} == HOW
    assert [entry[role]["sha256"] for role in ("costly", "cheap")] == [first.sha256, second.sha256]
    assert entry["cheap"]["history"] == list(second.history)
    assert header.licence == "NOASSERTION AND Apache-2.0"
    assert second.data in header.data
    assert (header.scale, header.receptive_field) == (2, None)
    assert header.parameters == first.parameters + second.parameters
    assert header.precision == "float32 and int8"


@pytest.mark.parametrize(
    ("licences", "both"),
    [
        (("MIT", "MIT"), "MIT"),
        (("", ""), ""),
        (("MIT", "CC-BY-NC-4.0"), "CC-BY-NC-4.0 AND MIT"),
        (("MIT", "LicenseRef-research-only"), "LicenseRef-research-only AND MIT"),
        (("GPL-3.0-only", "Apache-2.0"), "GPL-3.0-only AND Apache-2.0"),
        (("Apache-2.0", ""), "NOASSERTION AND Apache-2.0"),
    ],
)
def test_the_stricter_licence_comes_first(licences, both):
    assert _pair._licence(*licences) == both


def test_the_same_file_twice(files, tmp_path):
    part = _pair.part(files["float"])
    _pair.write(part, part, HOW, tmp_path / "twice.onnx")
    out = next(iter(open_engine(tmp_path / "twice.onnx", threads=1)([small(24, 24)])))
    assert np.array_equal(out, by(open_engine(files["float"], "onnx", threads=1))(small(24, 24)))


def test_what_cannot_be_one_of_a_pair(files, tmp_path):
    pair = tmp_path / "pair.onnx"
    float_ = _pair.part(files["float"])
    _pair.write(float_, float_, HOW, pair)
    with pytest.raises(UsageError, match="is a pair already, or in two passes"):
        _pair.part(pair)
    with pytest.raises(UsageError, match=r"made of \.onnx files, not of 'x\.safetensors'"):
        _pair.part(tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="2 times and x3-clean-float 3;"):
        _pair.write(float_, _pair.part(files["x3"]), HOW, tmp_path / "never.onnx")
    assert not (tmp_path / "never.onnx").exists()
    with pytest.raises(ModelError, match="several graphs, which are not read back"):
        models.load(pair)
    foreign = onnx.load(files["float"])
    del foreign.metadata_props[:]
    (tmp_path / "foreign.onnx").write_bytes(foreign.SerializeToString())
    with pytest.raises(ModelError, match="has no sharpbit header"):
        _pair.part(tmp_path / "foreign.onnx")


def test_an_engine_without_several_graphs_says_so(files, tmp_path):
    pair = tmp_path / "pair.onnx"
    part = _pair.part(files["float"])
    _pair.write(part, part, HOW, pair)
    with pytest.raises(ModelError, match="takes files with one graph, and this one has several; --engine onnx can"):
        open_engine(pair, "openvino")
