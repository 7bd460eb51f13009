"""`compare`: all combinations in one run that goes on, with tables and a figure."""

import csv
import json
import math

import pytest
from click.testing import CliRunner

import sharpbit
from noise_images import put_photos
from sharpbit.app.cli import app
from sharpbit.data.calibration import Cut
from sharpbit.errors import OutputExists, UsageError
from sharpbit.report.compared import comma_separated, figure, latex, markdown
from sharpbit.verbs import compare as module
from sharpbit.verbs.compare import Group

GROUPS = [
    Group("nets/a_b.pth", "float", 32, 1, {"Set5": 33.0}, {"Set5": 0.0}, {"Set5": 0.0}, 20.0, 4000, "ONNX, float32"),
    Group("nets/a_b.pth", "graph", 8, 3, {"Set5": 32.9}, {"Set5": 0.05}, {"Set5": 0.1}, 5.0, 1000, "native, int8"),
    Group("nets/a_b.pth", "graph", 4, 0, {}, {}, {}, math.nan, 0, "", "graph makes 8 bits"),
]


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("sharpbit.verbs.compression.measuring.memory", lambda *given: 12.5)
    monkeypatch.setattr("sharpbit.verbs.compression.measuring.ROUNDS", 1)
    monkeypatch.setattr("sharpbit.verbs.compare.CUT", Cut(20))


@pytest.mark.slow  # three exports to ONNX of two seconds each
def test_combinations_are_measured_once_and_a_method_that_fails_says_why(quick, tmp_path, monkeypatch):
    photos = put_photos(tmp_path / "photos", 5, 100, 90)
    net = tmp_path / "edsr.safetensors"
    sharpbit.save(sharpbit.build("edsr", scale=2, blocks=1, width=4), net)
    out = tmp_path / "out"
    given = ["compare", net, "--calibrate", photos, "-o", out, "--size", "32x24"]
    drawn = []
    cut = module.calibration.from_paths
    monkeypatch.setattr(module.calibration, "from_paths", lambda *given, **more: drawn.append(given[0]) or cut(*given))
    done = call(*given, "--methods", "minmax", "--seeds", "0,1", "--json")
    assert done.exit_code == 0, done.output
    groups = json.loads(done.stdout)["groups"]
    assert [(group["method"], group["bits"], group["count"]) for group in groups] == [
        ("float", 32, 1),
        ("minmax", 8, 2),
    ]
    assert drawn[0] != drawn[1] and len(drawn[0]) == 3, "each seed calibrates on other images"
    tried = []
    first = module.measured
    monkeypatch.setattr(module, "measured", lambda *given: tried.append(given) or first(*given))
    more = call(*given, "--methods", "minmax,sloped", "--bits", "8,4", "--seeds", "0")
    assert more.exit_code == 0, more.output
    assert len(tried) == 1, "the method minmax in 4 bits is new; sloped is none for this network"
    assert "is no chain of convolutions" in more.output and "makes 8 bits, not 4" in more.output
    assert {path.name for path in out.iterdir()} > {"table.md", "table.csv", "table.tex", "figure.svg"}
    assert not list(out.glob("*.sharpbit")), "files that were measured are not kept"
    with pytest.raises(OutputExists, match="holds results of other images or sizes"):
        sharpbit.compare([str(net)], photos, out, size=(30, 30))


def test_tables_and_figure():
    text = markdown(GROUPS, (180, 320))
    assert "| a_b | graph | 8 | 32.900 ± 0.050 | 0.100 | 5 | 1,000 | native, int8 |" in text
    assert "a_b graph 4: graph makes 8 bits" in text
    rows = list(csv.DictReader(comma_separated(GROUPS).splitlines()))
    assert [row["Set5_psnr"] for row in rows] == ["33.0", "32.9", ""]
    assert rows[2]["ms"] == "" and rows[2]["error"] == "graph makes 8 bits"
    assert r"a\_b & graph & 8 & 32.900 $\pm$ 0.050 & 5 \\" in latex(GROUPS)
    drawn = figure(GROUPS)
    assert drawn.count("<circle") == 2 and drawn.count('stroke-width="1.2"') == 1, "one of them has an error bar"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--methods", "magic"], "there is no method 'magic'; known are auto, lossless"),
        (["--bits", "8.5"], "--bits 8.5: give whole numbers with commas"),
        (["--bits", "1"], "2 to 16 bits, not 1"),
        (["--calibrate", "none"], "there is no folder none"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, given, words):
    photos = put_photos(tmp_path / "photos", 2, 80, 80)
    done = call("compare", "x2-clean-float", "--calibrate", photos, "-o", tmp_path / "out", *given)
    assert done.exit_code in (1, 2) and words in done.output and done.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_others_is_left_alone(tmp_path):
    photos = put_photos(tmp_path / "photos", 2, 80, 80)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(OutputExists, match="or other files; choose another folder"):
        sharpbit.compare(["x2-clean-float"], photos, tmp_path / "out")
    with pytest.raises(UsageError, match="there is no model"):
        sharpbit.compare(["nothing"], photos, tmp_path / "other")
