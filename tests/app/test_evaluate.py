"""`sharpbit evaluate` and `sharpbit inspect` from the command line."""

import csv
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sharpbit.app import table
from sharpbit.app.cli import app
from sharpbit.app.records import FILE, Records
from sharpbit.errors import UsageError
from sharpbit.model import build, save
from sharpbit.report.scatter import Point, plot

SVG = "{http://www.w3.org/2000/svg}"


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("One", "Two"):
        for k in range(2):
            path = tmp_path / "data" / name / "GTmod12" / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            rough = rng.integers(0, 256, (5, 6, 3), np.uint8)
            Image.fromarray(rough).resize((60, 48), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "data"


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for k in (1, 2):
        save(build("etds", scale=2, blocks=k, width=8), folder / f"NET_M{k}C8_x2.safetensors")
    return folder


def test_results_are_kept_for_all_models_and_never_replaced(data, models, tmp_path):
    from sharpbit.measure.psnr import psnr

    command = ["evaluate", models, "bicubic", "-s", 2, "--data", data, "--save", tmp_path / "kept", "--json"]
    entries = json.loads(run(*command).stdout)["models"]
    kept = sorted(str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.png"))
    names = ["NET_M1C8_x2", "NET_M2C8_x2", "bicubic-x2"]
    assert kept == [f"{name}/{item}/{k}.png" for name in names for item in ("One", "Two") for k in (0, 1)]
    for path in kept:
        model, item, name = path.split("/")
        entry = next(one for one in entries if model.startswith(one["name"]))
        scores = {
            score["name"]: score["psnr"] for one in entry["sets"] if one["name"] == item for score in one["pictures"]
        }
        truth = np.array(Image.open(data / item / "GTmod12" / name))
        assert psnr(np.array(Image.open(tmp_path / "kept" / path)), truth, border=2) == pytest.approx(scores[name])
    (tmp_path / "kept" / "bicubic-x2" / "One" / "0.png").write_bytes((data / "One" / "GTmod12" / "0.png").read_bytes())
    done = run("evaluate", "bicubic", "-s", 2, "--data", data, "--save", tmp_path / "kept", code=1)
    assert "bicubic-x2/One/0.png exists" in done.output and "name another folder with --save" in done.output


@pytest.mark.parametrize("option", ["--save", "--table"])
def test_a_file_in_place_of_a_folder_is_said_before_the_work(data, tmp_path, option):
    (tmp_path / "mine").write_text("text")
    for place in ("mine", "mine/below"):
        done = run("evaluate", "bicubic", "-s", 2, "--data", data, option, tmp_path / place, code=2)
        assert f"{tmp_path / 'mine'} is a file, and a folder is expected there; name another one" in done.stderr
        assert done.stderr.count("\n") == 1
    assert (tmp_path / "mine").read_text() == "text"


def test_json(data, models):
    model = sorted(models.iterdir())[0]
    done = run("evaluate", model, "--data", data / "One", data / "Two", "--json")
    (entry,) = json.loads(done.stdout)["models"]
    assert (entry["model"], entry["name"], entry["scale"]) == (str(model), "NET_M1C8_x2", 2)
    assert [item["name"] for item in entry["sets"]] == ["One", "Two"]
    for item in entry["sets"]:
        assert set(item) == {"name", "protocol", "psnr", "ssim", "pictures", "cost"}
        assert [score["name"] for score in item["pictures"]] == ["0.png", "1.png"]
        assert item["psnr"] == pytest.approx(np.mean([score["psnr"] for score in item["pictures"]]))


def test_one_model_tells_every_image(data):
    out = run("evaluate", "bicubic", "-s", "3", "--data", data).stdout
    assert out.count("0.png") == 2
    assert out.count("mean of 2") == 2
    assert "Y channel, border = scale" in out
    assert "MATLAB-style bicubic" in out


def test_several_models_tell_a_line_each(data):
    out = run("evaluate", "bicubic", "bicubic-matlab", "-s", "2", "-s", "4", "--data", data).stdout
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["bicubic", "x2"],
        ["bicubic", "x4"],
        ["bicubic-matlab", "x2"],
        ["bicubic-matlab", "x4"],
    ]
    assert "0.png" not in out
    assert "Y channel" in out


def test_a_bad_model_does_not_stop_the_others(data, models):
    (models / "bad.pth").write_text("nothing")
    done = run("evaluate", models, "--data", data, "--json", code=1)
    result = json.loads(done.stdout)
    assert len(result["models"]) == 2
    assert "bad.pth" in result["failed"][0]
    assert "bad.pth" in done.stderr


def test_same_images_are_json_too(tmp_path):
    Image.new("RGB", (48, 48), (10, 20, 30)).save(tmp_path / "flat.png")
    done = run("evaluate", "bicubic-matlab", "-s", "2", "--data", tmp_path, "--json")
    assert json.loads(done.stdout)["models"][0]["sets"][0]["psnr"] is None
    assert "same" in run("evaluate", "bicubic-matlab", "-s", "2", "--data", tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bicubic"], "give the folders of the test images with --data"),
        (["bicubic", "--data", "DATA"], "say which with --scale"),
        (["bicubic", "--scale", "2", "--data", "nowhere"], "there is no folder nowhere"),
        (["nothing.onnx", "--data", "DATA"], "there is no model file nothing.onnx"),
        (["x2-clean-balanced", "-s", "3", "--data", "DATA"], "is an x2 model"),
    ],
)
def test_mistakes_are_sentences(data, arguments, sentence):
    done = CliRunner().invoke(app, ["evaluate", *(str(data) if item == "DATA" else item for item in arguments)])
    assert done.exit_code in (1, 2)
    assert sentence in done.stderr
    assert done.stderr.startswith("sharpbit: ")


def test_tables(tmp_path, data, models, monkeypatch):
    out = tmp_path / "out"
    run("evaluate", models, "bicubic", "-s", "2", "--data", data, "--table", out)
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == ["bicubic", "NET_M1C8_x2", "NET_M2C8_x2"]
    assert float(rows[1]["Two_psnr"]) > 0
    assert int(rows[1]["macs"]) < int(rows[2]["macs"])
    text = (out / "table.md").read_text()
    assert "| model | scale | parameters (K) | MACs (G) | One | Two |" in text
    assert "Y channel" in text
    drawn = ET.parse(out / "plot.svg").getroot()
    assert {item.text for item in drawn.iter(f"{SVG}title")} == {"NET_M1C8", "NET_M2C8"}
    lines = (out / FILE).read_text().splitlines()
    assert len(lines) == 3

    def never(*arguments, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr("sharpbit.app.evaluate.evaluate", never)
    (out / FILE).write_text("\n".join([*lines, lines[0][:40]]))  # as after a killed run
    again = run("evaluate", models, "bicubic", "-s", "2", "--data", data, "--table", out, "--json")
    assert len(json.loads(again.stdout)["models"]) == 3
    assert (out / "table.md").read_text() == text


def test_what_changed_is_measured_again(tmp_path, data, models):
    out = tmp_path / "out"
    run("evaluate", models, "--data", data / "One", "--table", out)
    run("evaluate", models, "--data", data / "Two", "--table", out)
    save(build("etds", scale=2, blocks=3, width=8), models / "NET_M1C8_x2.safetensors", overwrite=True)
    run("evaluate", models, "--data", data / "Two", "--table", out)
    assert len((out / FILE).read_text().splitlines()) == 5


def test_a_plot_has_room_for_its_labels():
    points = [Point(f"NET_M{k}C8", 1.5 + 0.01 * k, 30 + 0.001 * k) for k in range(8)]
    drawn = ET.fromstring(plot({"a < b": points, "other": points[:1]}))
    labels = [item for item in drawn.iter(f"{SVG}text") if (item.text or "").startswith("NET")]
    places = {(item.get("x"), item.get("y")) for item in labels[:8]}
    assert len(places) == 8
    assert "a < b" in [item.text for item in drawn.iter(f"{SVG}text")]


def test_tables_without_costs(tmp_path):
    entry = {
        "name": "n",
        "scale": 2,
        "parameters": None,
        "macs": None,
        "sets": [{"name": "One", "protocol": "p", "psnr": 30.0, "ssim": None}],
    }
    assert [path.name for path in table.write_tables(tmp_path, [entry])] == ["table.md", "table.csv"]
    assert "| n | x2 |  |  | 30.00 /  |" in (tmp_path / "table.md").read_text()


def test_inspect(models):
    path = sorted(models.iterdir())[0]
    facts = json.loads(run("inspect", path, "--json").stdout)
    assert (facts["architecture"], facts["scale"], facts["output_size"]) == ("etds", 2, [720, 1280])
    out = run("inspect", path, "--size", "200x100").stdout
    assert "from 100x50 to 200x100" in out
    assert "not counted   nothing" in out
    assert "operators" in run("inspect", "x2-clean-balanced").stdout


def test_help_names_the_kinds_of_models():
    out = run("evaluate", "--help").stdout
    assert all(word in out for word in (".onnx", ".safetensors", ".pth", "bicubic-matlab", "--data", "--table"))


def test_the_scale_beside_a_bicubic_is_only_for_that(data, models):
    done = run("evaluate", models, "bicubic", "-s", "3", "--data", data, "--json")
    assert [entry["scale"] for entry in json.loads(done.stdout)["models"]] == [2, 2, 3]
    assert "is an x2 model" in run("evaluate", models, "-s", "3", "--data", data, code=1).stderr


def test_an_interrupted_table_goes_on(tmp_path, data, models, monkeypatch):
    from sharpbit.app import evaluate as command

    measure = command.evaluate

    def interrupted(model, *arguments, **options):
        if "M2C8" in model:
            raise KeyboardInterrupt
        return measure(model, *arguments, **options)

    monkeypatch.setattr(command, "evaluate", interrupted)
    done = run("evaluate", models, "--data", data, "--table", tmp_path / "out", code=130)
    assert "interrupted, 1 left; the same command goes on" in done.stderr
    assert len((tmp_path / "out" / FILE).read_text().splitlines()) == 1


def test_a_result_behind_half_a_line_is_kept(tmp_path):
    """A run that was killed while it wrote leaves half a line; the next result is a line of its own."""
    first = Records(tmp_path, [])
    first.add("bicubic", 2, {"psnr": 30.0})
    with (tmp_path / FILE).open("a") as file:
        file.write('{"key": "half')
    Records(tmp_path, []).add("bicubic", 3, {"psnr": 28.0})
    again = Records(tmp_path, [])
    assert (again.get("bicubic", 2), again.get("bicubic", 3)) == ({"psnr": 30.0}, {"psnr": 28.0})


def test_a_result_that_cannot_be_kept_is_a_sentence_that_names_the_folder(tmp_path):
    records = Records(tmp_path, [])
    (tmp_path / FILE).mkdir()
    with pytest.raises(UsageError, match=r"tables cannot be written to .*: Is a directory"):
        records.add("bicubic", 2, {"psnr": 30.0})
