"""`sharpbit bench` as a user has it."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from PIL import Image

import integer_files
from sharpbit.app.cli import app
from sharpbit.errors import SharpbitError
from sharpbit.runtime import native
from sharpbit.verbs.bench import Candidate, Rules, bench

COMMAND = Path(sys.executable).with_name("sharpbit")
X2 = "x2-clean-balanced"
QUICK = ["--size", "12x20", "--seconds", "0", "--threads", "1"]


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    assert "Traceback" not in done.output
    return done


@pytest.fixture(scope="module")
def integers(tmp_path_factory):
    return integer_files.write(integer_files.chain(), tmp_path_factory.mktemp("bench") / "i.onnx")


def test_json(tmp_path):
    report = json.loads(run(X2, *QUICK, "--engine", "onnx", "--json", "--plot", tmp_path / "a.svg").stdout)
    (row,) = report["rows"]
    assert (row["size"], row["scale"], row["threads"], row["device"]) == ([20, 12], 2, 1, "cpu")
    assert row["engine"].startswith("ONNX Runtime")
    assert row["precision"] == "int8"
    assert 0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
    assert row["fps"] == pytest.approx(1000 / row["median_ms"])
    assert row["gmac"] == pytest.approx(row["gmacs"] * row["median_ms"] / 1e3)
    assert row["samples"] + row["dropped"] >= 15
    assert row["first_s"] > 0
    assert report["machine"]["threads"] == 1
    assert "Bytes in, bytes out" in report["note"]
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert "a.svg" in run(X2, *QUICK, "--plot", tmp_path / "a.svg", code=1).stderr  # and nothing was measured


def test_several_in_turn_and_one_that_cannot(integers):
    report = json.loads(run(integers, *QUICK, "--compare", "onnx,torch", "--json", code=1).stdout)
    first, second = report["rows"]
    assert first["precision"] == "int8"
    assert "median_ms" in first
    assert "median_ms" not in second
    assert "the engine torch cannot run i.onnx" in second["error"]


def test_several_sizes_as_markdown():
    lines = run(X2, *QUICK, "--size", "8x9", "--engine", "onnx", "--markdown").stdout.splitlines()
    rows = [line for line in lines if line.startswith("| onnx")]
    assert ["12x20" in rows[0], "8x9" in rows[1], len(rows)] == [True, True, 2]
    assert {line.count("|") for line in lines if line.startswith("|")} == {rows[0].count("|")}


def test_quality_beside_the_time(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    done = run(X2, *QUICK, "--engine", "onnx", "--json", "--data", tmp_path)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["psnr"] == {tmp_path.name: pytest.approx(25, abs=20)}


def test_a_single_stream(monkeypatch):
    monkeypatch.setattr("sharpbit.measure.latency.FRAMES", 30)
    (row,) = bench([Candidate("a", X2, "onnx")], [(8, 8)], Rules(threads=1, seconds=0, stream=True))
    assert row.latency.samples >= 30
    assert row.latency.dropped == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([X2, "--engine", "onnix"], "no runtime called 'onnix'"),
        ([X2, "--engine", "torch"], "cannot run"),
        (["missing.onnx"], "no model file missing.onnx"),
        ([X2, "--engine", "onnx", "--compare", "onnx,openvino"], "exclude each other"),
        ([X2, "--json", "--markdown"], "exclude each other"),
        ([X2, "--size", "360"], "width and a height"),
        ([X2, "--device", "abacus"], "no device 'abacus'"),
        ([X2, "--seconds", "nan"], "'nan' is not a number"),
        ([X2, "--compare", "onnx,"], "give the names of engines"),
        ([X2, "--plot", "a.png"], "the drawing is a .svg, not 'a.png'"),
        ([X2, "--plot", "/proc/a.svg"], "/proc/a.svg: No such file"),
    ],
)
def test_mistakes(arguments, words):
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_the_only_candidate_must_run():
    with pytest.raises(SharpbitError):
        bench([Candidate("a", X2, "torch")], [(8, 8)])


def test_the_command_and_its_words(integers):
    done = subprocess.run(
        [COMMAND, "bench", integers, *QUICK, "--engine", "onnx"], capture_output=True, text=True, check=True
    )
    assert "median ms" in done.stdout
    assert "onnx: int8, ONNX Runtime" in done.stdout
    assert "not measured" in done.stdout or "%" in done.stdout


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_the_limit_is_that_of_the_instruction_set_that_runs(integers, monkeypatch):
    monkeypatch.setenv("SHARPBIT_INSTRUCTION_SET", "c")
    (row,) = json.loads(run(integers, *QUICK, "--engine", "native", "--json").stdout)["rows"]
    assert (row["instruction_set"], row["limit_of"]) == ("plain C++", "plain C++")
    assert 0 < row["limit_median"] <= row["limit"]
    assert row["share"] == pytest.approx(row["gmacs"] / row["limit"])
    monkeypatch.delenv("SHARPBIT_INSTRUCTION_SET")
    (row,) = json.loads(run(integers, *QUICK, "--engine", "onnx", "--json").stdout)["rows"]
    assert row["limit_of"] == native.printed(None)


def test_a_row_in_float_is_not_compared_with_the_limit_of_8_bits(integers):
    (row,) = json.loads(run("x2-clean-float", *QUICK, "--engine", "onnx", "--json").stdout)["rows"]
    assert (row["precision"], row["share"], row["limit"], row["limit_of"]) == ("float32", None, None, "")
    assert row["gmacs"] > 0
    text = run("x2-clean-float", *QUICK, "--engine", "onnx").stdout
    assert "rows in other precisions are not compared with it" in text
    assert "Limits beside the samples" not in text
    assert ", 1 thread, sharpbit" in text
    assert "rows in other precisions" not in run(integers, *QUICK, "--engine", "onnx").stdout


def test_what_means_white_may_be_stated(tmp_path):
    """A file of somebody else, which repeats each pixel, so that any range would do."""
    nodes = [
        helper.make_node("Concat", ["x"] * 4, ["c"], axis=1),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="DCR"),
    ]
    sides = [helper.make_tensor_value_info(name, 1, [1, 3, f"{name}h", f"{name}w"]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", sides[:1], sides[1:])
    path = tmp_path / "repeats.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    for given, found in (([], "for values 0 to 1,"), (["--range", "255"], "for values 0 to 255,")):
        (row,) = json.loads(run(path, *QUICK, "--json", *given).stdout)["rows"]
        assert found in row["notes"][0]
    assert "is the value of white" in run(path, *QUICK, "--range", "wide", code=2).stderr
    assert "--range is for ONNX" in run(X2, *QUICK, "--range", "255", code=2).stderr
