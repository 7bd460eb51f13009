"""The header: the same in both kinds of file, strict in what it reads."""

import json
from dataclasses import replace

import pytest

from sharpbit import modelfile, zoo
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import Header, Metric

HEADER = Header("x2-test", "plain", {"scale": 2}, 2, 17, 10, metrics=(Metric("psnr", 30.5, "Set5", "y"),))


def test_there_and_back():
    assert Header.from_json(HEADER.to_json(), "file") == HEADER
    assert HEADER.halo == 8
    assert replace(HEADER, receptive_field=None).halo is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 2 is not known to this sharpbit, which reads format 1; update sharpbit"),
        ({"format": None}, "not known"),
        ({"scale": 0}, "scale 0"),
        ({"scale": "2"}, "scale '2'"),
        ({"receptive_field": 4}, "receptive_field 4"),
        ({"receptive_field": 10**9}, "receptive_field"),
        ({"colour": 3}, "text"),
        ({"config": []}, "config"),
        ({"range": [0]}, "range"),
        ({"metrics": [{"x": 1}]}, "damaged"),
        ({"something": 1}, "damaged"),
    ],
)
def test_wrong_headers(change, words):
    values = json.loads(HEADER.to_json()) | change
    with pytest.raises(ModelError) as caught:
        Header.from_json(json.dumps(values), "the/file.onnx")
    assert words in str(caught.value)
    assert "the/file.onnx" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"a": 1}', "[" * 100000])
def test_what_is_no_header(text):
    with pytest.raises(ModelError):
        Header.from_json(text, "file")


@pytest.mark.parametrize("name", zoo.models())
def test_embedded_models_are_whole(name):
    header = modelfile.read(zoo.path_of(name), verify=True)
    assert header is not None
    assert header.name == name
    assert name.startswith(f"x{header.scale}-")
    assert header.receptive_field == 17
    assert len(header.sha256) == 64


def test_the_zoo_knows_its_names():
    assert zoo.scales() == [2, 3, 4]
    assert zoo.for_scale(3) == "x3-clean-balanced"
    assert zoo.for_scale(5) is None
    with pytest.raises(UsageError, match="did you mean x4-clean-balanced"):
        zoo.path_of("x4-clean-balance")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",  # a header longer than the file
        b"\x02\0\0\0\0\0\0\0{}x",
        b"\x0e\0\0\0\0\0\0\0" + b'{"a":{"x":[]}}',
        b"\x01",
    ],
)
def test_hostile_safetensors(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    try:
        assert modelfile.read(path) is None
    except ModelError as error:
        assert "not a complete safetensors file" in str(error)
