"""ONNX files that other upscalers fail on: what was found of each, and that tiles give what the whole image gives."""

import numpy as np
import onnxruntime as ort
import pytest

import sharpbit
from sharpbit.app.inspect import inspected
from sharpbit.runtime import open_engine
from sharpbit.verbs.inspect import inspect

FOUND = {
    "unshuffle2": "multiples of 2",
    "win4": "multiples of 4",
    "win8": "multiples of 8",
    "win16": "multiples of 16",
    "mult8": "multiples of 8",
    "mult32": "multiples of 32",
    "gated": "sees 15 pixels",
    "nhwc_float": "channels last",
    "nchw_uint8": "uint8",
    "y_only": "(Y), to which colours are added that are upscaled by bicubic, and sees 2 pixels",
    "rgba4": "RGBA",
    "fixed_nonsquare": "images of 96x64 only",
    "fixed_batch4": "x2",
    "valid": "loses 1 pixel on each side",
    "x1": "x1",
    "x5": "x5",
    "in1_out255": "0 to 1 in and 0 to 255 out",
}


@pytest.fixture(scope="module")
def reports(shared):
    return shared / "data" / "reports" / "models"


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width] / 10
    return ((0.5 + 0.4 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)) * 255).astype(np.uint8)


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_said_and_tiles_equal_the_whole(reports, name):
    path = reports / f"{name}.onnx"
    runtime = open_engine(path, "onnx")
    assert FOUND[name] in runtime.notes[0]
    source = smooth(61, 77)
    whole = sharpbit.upscale(source, model=path, tile=4096, threads=1)
    assert whole.shape == (61 * runtime.scale, 77 * runtime.scale, 3)
    assert np.abs(whole[:: runtime.scale, :: runtime.scale].astype(int) - source).max() < 60  # of the same colours
    for tile in (16, 33):
        assert np.abs(sharpbit.upscale(source, model=path, tile=tile).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("name", ["unshuffle2", "mult8", "gated"])
def test_the_middle_of_an_image_is_what_the_file_makes_of_it(reports, name):
    path = reports / f"{name}.onnx"
    source = smooth(96, 128)
    x = source.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (wanted,) = ort.InferenceSession(path).run(None, {"x": x})
    own = sharpbit.upscale(source, model=path, tile=40).astype(np.float32) / 255
    middle = slice(40, -40)
    apart = np.abs(own - wanted[0].transpose(1, 2, 0).clip(0, 1))[middle, middle]
    assert apart.max() <= 1 / 255


@pytest.mark.parametrize("name", ["mult8", "y_only", "valid", "nhwc_float"])
def test_inspect_counts_what_lies_in_a_file_of_others(reports, name):
    facts = inspect(reports / f"{name}.onnx")
    assert (facts.architecture, facts.scale) == ("graph", 2)
    assert facts.parameters > 0
    assert facts.macs > 0
    assert FOUND[name] in facts.notes[0]


@pytest.mark.parametrize(("name", "side"), [("gated", 31), ("y_only", 5), ("valid", 1), ("unshuffle2", 7)])
def test_inspect_says_once_how_far_a_pixel_sees(reports, name, side):
    facts = inspect(reports / f"{name}.onnx")
    assert facts.receptive_field == side
    assert f"sees {side // 2} pixel" in facts.notes[0]


@pytest.mark.parametrize("name", ["ir_new", "opset_new"])
def test_what_onnx_runtime_does_not_run_is_written_anew(reports, name, tmp_path):
    facts = inspect(reports / f"{name}.onnx")
    assert "ONNX Runtime does not run it" in facts.notes[0]
    assert f"'sharpbit export {reports / name}.onnx -o NAME.onnx' writes it anew" in facts.notes[0]
    sharpbit.export(sharpbit.load(reports / f"{name}.onnx"), tmp_path / "anew.onnx")
    assert sharpbit.upscale(smooth(20, 30), model=tmp_path / "anew.onnx").shape == (40, 60, 3)


def test_inspect_gives_one_reason_where_the_graph_is_not_read(reports):
    facts = inspect(reports / "two_inputs.onnx")
    assert facts.architecture is None
    assert sum("expected is one" in note for note in facts.notes) == len(facts.notes)
    text = inspected(facts, as_json=False)
    assert "is not read as a graph, for the reason below" in text
    assert text.index("for the reason below") < text.index("expected is one")


def test_a_scale_below_that_of_the_network(reports):
    out = sharpbit.upscale(smooth(20, 30), model=reports / "x5.onnx", scale=3)
    assert out.shape == (60, 90, 3)


def test_a_stated_range_is_taken(reports):
    source = smooth(20, 30)
    plain = sharpbit.upscale(source, model=reports / "in1_out255.onnx")
    stated = sharpbit.upscale(source, upscaler=sharpbit.Upscaler(reports / "in1_out255.onnx", white=(1, 255)))
    assert np.array_equal(plain, stated)
    dark = sharpbit.Upscaler(reports / "x5.onnx", white="255:254")
    assert open_engine(reports / "x5.onnx", dark.options).notes[0].find("0 to 255 in and 0 to 254 out") > 0
