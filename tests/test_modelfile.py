"""The header: the same in both kinds of file, strict in what it reads."""

import json
from dataclasses import replace

import pytest

from sharpbit import modelfile, zoo
from sharpbit.errors import ModelError, UsageError
from sharpbit.modelfile import Header, Metric
from sharpbit.modelfile.header import FORMAT

HEADER = Header("x2-test", "plain", {"scale": 2}, 2, 17, 10, metrics=(Metric("psnr", 30.5, "Set5", "y"),))


def test_there_and_back():
    assert Header.from_json(HEADER.to_json(), "file") == HEADER
    assert HEADER.halo == 8
    assert replace(HEADER, receptive_field=None).halo is None


def whole_file(kind, header=HEADER):
    """The bytes of a small file of each container; `%` stands where only the payload has it."""
    if kind == "sharpbit":
        text = replace(header, sha256=modelfile.digest([b"%%%"])).to_json().encode()
        start = b"SHARPBIT" + (1).to_bytes(4, "little") + len(text).to_bytes(4, "little") + text
        return start + bytes(-len(start) % 64) + b"%%%"
    if kind == "safetensors":
        table = {"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}
        bare = json.dumps(table).encode()
        told = modelfile.stamp(header, len(bare).to_bytes(8, "little") + bare + b"%%%", "a.safetensors")
        text = json.dumps(
            {"__metadata__": {"sharpbit": replace(told, format=header.format).to_json()}} | table
        ).encode()
        return len(text).to_bytes(8, "little") + text + b"%%%"
    bare = b"\x3a\x03%%%"  # ModelProto.graph
    told = replace(modelfile.stamp(header, bare, "a.onnx"), format=header.format).to_json().encode()
    pair = b"\x0a\x08sharpbit\x12" + varint(len(told)) + told
    return bare + b"\x72" + varint(len(pair)) + pair  # ModelProto.metadata_props


def varint(number):
    return bytes([number & 127 | 128, number >> 7])


@pytest.mark.parametrize("kind", ["safetensors", "onnx", "sharpbit"])
def test_one_changed_byte_is_noticed_in_header_and_payload(kind, tmp_path):
    path, whole = tmp_path / f"a.{kind}", whole_file(kind)
    path.write_bytes(whole)
    assert modelfile.read(path, verify=True).name == HEADER.name
    for place in range(whole.index(b"architecture"), whole.index(b"scale", whole.index(b"x2-test")) + 12, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError) as caught:
            modelfile.read(path)
        assert f"a.{kind}" in str(caught.value)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole.replace(b"30.5", b"31.5"))
    with pytest.raises(ModelError, match="its header does not match the sha256 of the header; the file is damaged"):
        modelfile.read(path)
    path.write_bytes(whole.replace(b"%%%", b"%&%"))
    assert modelfile.read(path).name == HEADER.name  # the payload is compared where it is used
    with pytest.raises(ModelError, match="the payload does not match the sha256 of its header; the file is damaged"):
        modelfile.read(path, verify=True)


@pytest.mark.parametrize("kind", ["safetensors", "onnx", "sharpbit"])
def test_a_file_of_format_1_is_read_as_before(kind, tmp_path):
    path, whole = tmp_path / f"a.{kind}", whole_file(kind, replace(HEADER, format=1))
    assert b"header_sha256" not in whole
    path.write_bytes(whole)
    header = modelfile.read(path, verify=True)
    assert header == replace(HEADER, format=1, sha256=header.sha256)
    path.write_bytes(whole.replace(b"30.5", b"31.5"))
    assert modelfile.read(path, verify=True).metrics[0].value == 31.5


def test_a_hash_of_the_header_belongs_to_format_2():
    sealed, bare = HEADER.to_json(), replace(HEADER, format=1).to_json()
    for text in (sealed.replace('"format":2', '"format":1'), bare.replace('"format":1', '"format":2')):
        with pytest.raises(ModelError, match="damaged"):
            Header.from_json(text, "file")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 3}, "format 3 is not known to this sharpbit, which reads formats 1 and 2; update sharpbit"),
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
    values = json.loads(replace(HEADER, format=1).to_json()) | change
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
    assert header.receptive_field == (13 if name.endswith("-fast") else 17)
    assert len(header.sha256) == 64
    assert header.format == FORMAT


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
