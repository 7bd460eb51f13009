"""`sharpbit upscale` as a user has it: what it writes, what it refuses, and how it says so."""

import io
import json

import numpy as np
import png
import pytest
from click.testing import CliRunner
from PIL import Image

import sharpbit
from sharpbit import image as image_io
from sharpbit import zoo
from sharpbit.app.cli import app
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.runtime import native


def pixels(height=20, width=28, channels=3, seed=0, top=255):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, top + 1, (height // 4 + 1, width // 4 + 1, channels))
    out = small.repeat(4, 0).repeat(4, 1)[:height, :width]
    return out.astype(np.uint8 if top == 255 else np.uint16)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep" / "er").mkdir(parents=True)
    Image.fromarray(pixels()).save(tmp_path / "in" / "a.png")
    Image.fromarray(pixels(seed=1)).save(tmp_path / "in" / "b.jpg", dpi=(72, 72))
    Image.fromarray(pixels(seed=2)).save(tmp_path / "in" / "deep" / "er" / "c.webp")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    return tmp_path


def run(*arguments, code=0, **more):
    done = CliRunner().invoke(app, ["upscale", *map(str, arguments)], **more)
    assert done.exit_code == code, (done.output, done.exception)
    assert "Traceback" not in done.output
    return done


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def test_beside_the_input_with_the_scale_in_its_name(folder):
    done = run(folder / "in" / "a.png")
    assert opened(folder / "in" / "a_x2.png").size == (56, 40)
    assert "a_x2.png (28x20 -> 56x40)" in done.stderr
    assert "x2-clean-balanced (sharp and hardly compressed), int8" in done.stderr
    assert ("sharpbit native" if native.available() else "ONNX Runtime") in done.stderr


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_scales_and_names(folder, scale):
    by_scale, by_name = folder / "s.png", folder / "n.png"
    run(folder / "in" / "a.png", "-s", scale, "-o", by_scale)
    run(folder / "in" / "a.png", "-n", f"x{scale}-clean-balanced", "-o", by_name)
    assert opened(by_scale).size == (28 * scale, 20 * scale)
    assert by_scale.read_bytes() == by_name.read_bytes()


def test_a_folder_keeps_its_tree_and_goes_past_a_bad_file(folder):
    (folder / "in" / "bad.png").write_bytes((folder / "in" / "a.png").read_bytes()[:60])
    done = run(folder / "in", "-o", folder / "out", code=1)
    found = sorted(str(p.relative_to(folder / "out")) for p in (folder / "out").rglob("*") if p.is_file())
    assert found == ["a.png", "b.jpg", "deep/er/c.webp"]
    assert "3 done, 1 failed" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("sharpbit: ")
    assert "bad.png" in done.stderr.splitlines()[-1]


def test_nothing_is_overwritten_unasked(folder):
    target = folder / "out.png"
    target.write_text("mine")
    done = run(folder / "in" / "a.png", "-o", target, code=1)
    assert target.read_text() == "mine"
    assert "--overwrite" in done.stderr
    run(folder / "in" / "a.png", "-o", target, "--skip-existing")
    assert target.read_text() == "mine"
    run(folder / "in" / "a.png", "-o", target, "--overwrite")
    assert opened(target).size == (56, 40)


def test_skip_existing_does_the_rest(folder):
    run(folder / "in" / "a.png", "-o", folder / "out" / "a.png")
    before = (folder / "out" / "a.png").stat().st_mtime_ns
    done = run(folder / "in", "-o", folder / "out", "--skip-existing", "--json")
    summary = json.loads(done.stdout)["summary"]
    assert (summary["done"], summary["skipped"], summary["failed"]) == (2, 1, 0)
    assert (folder / "out" / "a.png").stat().st_mtime_ns == before


def test_dry_run_writes_nothing(folder):
    done = run(folder / "in", "-o", folder / "out", "--dry-run")
    assert not (folder / "out").exists()
    assert "3 planned" in done.stderr
    assert "deep/er/c.webp (28x20 -> 56x40" in done.stderr
    (folder / "out").mkdir()
    (folder / "out" / "a.png").write_text("mine")
    assert "--overwrite" in run(folder / "in", "-o", folder / "out", "--dry-run", code=1).stderr


def test_json_is_all_that_stdout_holds(folder):
    done = run(folder / "in", folder / "missing.png", "-o", folder / "out", "--json", code=1)
    found = json.loads(done.stdout)
    by_name = {item["input"].rsplit("/", 1)[1]: item for item in found["pictures"]}
    assert by_name["a.png"]["size"] == [20, 28]
    assert by_name["a.png"]["result_size"] == [40, 56]
    assert by_name["a.png"]["status"] == "done"
    assert "does not exist" in by_name["missing.png"]["error"]
    assert found["summary"]["ran"][0]["model"] == "x2-clean-balanced"
    assert found["summary"]["ran"][0]["precision"] == "int8"


def test_standard_input_and_output(folder):
    data = (folder / "in" / "a.png").read_bytes()
    done = run("-", "-o", "-", input=data)
    run(folder / "in" / "a.png", "-o", folder / "file.png")
    assert done.stdout_bytes == (folder / "file.png").read_bytes()
    as_jpeg = run("-", "-f", "jpg", input=data)
    assert Image.open(io.BytesIO(as_jpeg.stdout_bytes)).format == "JPEG"
    bad = run("-", input=data[:50], code=1)
    assert bad.stdout_bytes == b""
    assert "standard input" in bad.stderr


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "bmp", "gif", "avif"])
def test_every_format(folder, ending):
    by_flag = folder / "flag"
    run(folder / "in" / "a.png", "-f", ending, "-o", by_flag)
    run(folder / "in" / "a.png", "-o", folder / f"name.{ending}")
    assert opened(by_flag / f"a.{ending}").size == (56, 40)
    assert (by_flag / f"a.{ending}").read_bytes() == (folder / f"name.{ending}").read_bytes()


def test_lossy_in_lossy_out(folder):
    """By what the file is, not by its name; -f and the name of the output win."""
    Image.fromarray(pixels(seed=4)).save(folder / "in" / "really.jpg", "WEBP")
    Image.fromarray(pixels(seed=5)).save(folder / "in" / "old.JPEG", quality=50)
    Image.fromarray(pixels(seed=6)).save(folder / "in" / "all.webp", lossless=True)
    run(folder / "in", "-o", folder / "out")
    found = {path.name: opened(path) for path in (folder / "out").rglob("*") if path.is_file()}
    kinds = {"a.png": "PNG", "b.jpg": "JPEG", "c.webp": "WEBP", "really.webp": "WEBP", "old.jpeg": "JPEG"}
    assert {name: image.format for name, image in found.items()} == {**kinds, "all.webp": "WEBP"}
    assert found["b.jpg"].layer[0][1] == 1  # full colour
    assert max(found["b.jpg"].quantization[0]) < 20
    run(folder / "in" / "all.webp", "-o", folder / "all.png")
    assert np.array_equal(found["all.webp"].convert("RGB"), opened(folder / "all.png"))
    run(folder / "in" / "b.jpg", "-f", "png", "-o", folder / "asked")
    assert opened(folder / "asked" / "b.png").format == "PNG"
    run(folder / "in" / "b.jpg", "-o", folder / "s.jpg", "--quality", "40", "--subsampling", "4:4:4")
    assert opened(folder / "s.jpg").layer[0][1] == 1
    done = run("-", input=(folder / "in" / "b.jpg").read_bytes())
    assert Image.open(io.BytesIO(done.stdout_bytes)).format == "JPEG"


@pytest.mark.parametrize(("ending", "width", "limit"), [("jpg", 32751, 65500), ("webp", 8192, 16383)])
def test_a_size_that_a_format_cannot_hold_is_refused_before_the_work(folder, ending, width, limit, monkeypatch):
    Image.new("RGB", (width, 2)).save(folder / "wide.png")
    monkeypatch.setattr(Upscaler, "strips", None)  # which would be the work
    for flags in ([], ["--dry-run"]):
        done = run(folder / "wide.png", "-o", folder / f"wide.{ending}", *flags, code=1)
        assert f"at most {limit} pixels a side" in done.stderr
        assert "-f png" in done.stderr
    assert not (folder / f"wide.{ending}").exists()


def test_sixteen_bits_stay_sixteen_bits(folder):
    source = pixels(12, 16, top=65535)
    with (folder / "deep.png").open("wb") as file:
        png.Writer(16, 12, bitdepth=16, greyscale=False).write(file, source.reshape(12, -1))
    run(folder / "deep.png", "-o", folder / "large.png")
    width, height, rows, info = png.Reader(bytes=(folder / "large.png").read_bytes()).read()
    values = np.array([list(row) for row in rows]).reshape(height, width, 3)
    assert (width, height, info["bitdepth"]) == (32, 24, 16)
    assert (values % 257 != 0).mean() > 0.5  # true 16 bits, not 8 bits made wider
    inner = values.reshape(12, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(inner - source).mean() < 0.08 * 65535


def test_grey_and_alpha(folder):
    Image.fromarray(pixels(channels=1)[..., 0]).save(folder / "grey.png")
    run(folder / "grey.png", "-o", folder / "grey2.png")
    assert opened(folder / "grey2.png").mode == "L"
    shape = np.zeros((20, 28, 4), np.uint8)  # a white disc on transparent black
    y, x = np.mgrid[0:20, 0:28]
    shape[(y - 10) ** 2 + (x - 14) ** 2 < 49] = 255
    Image.fromarray(shape).save(folder / "disc.png")
    run(folder / "disc.png", "-o", folder / "disc2.png")
    out = np.array(opened(folder / "disc2.png"))
    assert out.shape == (40, 56, 4)
    assert out[0, 0, 3] == 0
    assert out[20, 28, 3] == 255
    assert out[out[..., 3] > 0][:, :3].min() > 230  # no dark fringe
    run(folder / "disc.png", "-o", folder / "disc.jpg")
    assert opened(folder / "disc.jpg").mode == "RGB"


def test_sizes_in_pixels(folder):
    cases = {
        ("--width", 70): (70, 50),
        ("--height", 50): (70, 50),
        ("--width", 70, "--height", 30): (70, 30),
        ("--fit", "70x200"): (70, 50),
        ("--fit", "200x50"): (70, 50),
        ("--width", 200): (200, 143),
        ("--width", 14): (14, 10),
    }
    for number, (flags, size) in enumerate(cases.items()):
        done = run(folder / "in" / "a.png", *flags, "-o", folder / f"{number}.png", "--json")
        assert opened(folder / f"{number}.png").size == size, flags
        model = json.loads(done.stdout)["pictures"][0]["model"]
        assert model == {70: "x3-clean-balanced", 200: "x2-clean-balanced+x4-clean-balanced", 14: "bicubic"}[size[0]]


@pytest.mark.parametrize(
    ("flags", "plan"),
    [
        (["-s", "1.5"], "x2-clean-balanced (x2), then bicubic from x2 to the size"),
        (["-s", "8"], "x2-clean-balanced (x2), then x4-clean-balanced (x4)"),
        (["-s", "2", "-n", "x3-clean-balanced"], "x3-clean-balanced (x3), then bicubic from x3 to the size"),
    ],
)
def test_any_factor_and_its_plan(folder, flags, plan):
    """Images of all sizes of a folder get the same factor."""
    Image.fromarray(pixels(33, 17)).save(folder / "in" / "d.png")
    done = run(folder / "in", "-o", folder / "out", *flags)
    factor = float(flags[1])
    assert f"plan: {plan}" in done.stderr
    assert opened(folder / "out" / "a.png").size == (28 * factor, 20 * factor)
    assert opened(folder / "out" / "d.png").size == (round(17 * factor), round(33 * factor))


def test_the_factor_is_in_the_name(folder):
    run(folder / "in" / "a.png", "-s", "1.5")
    assert opened(folder / "in" / "a_x1.5.png").size == (42, 30)


def test_a_scale_of_1_says_that_nothing_is_upscaled(folder):
    done = run(folder / "in" / "a.png", "-s", "1", "-o", folder / "same.png")
    assert np.array_equal(opened(folder / "same.png"), opened(folder / "in" / "a.png"))
    assert "not upscaled" in done.stderr


def test_a_collision_keeps_both(folder):
    Image.fromarray(pixels(seed=3)).save(folder / "in" / "a.jpg")
    run(folder / "in", "-o", folder / "out", "-f", "png")
    assert {p.name for p in (folder / "out").iterdir() if p.is_file()} == {"a.jpg.png", "a.png.png", "b.png"}
    run(folder / "in", "-o", folder / "out2")
    assert {p.name for p in (folder / "out2").iterdir() if p.is_file()} == {"a.jpg", "a.png", "b.jpg"}


def test_name_template(folder):
    run(folder / "in", "-o", folder / "out", "--name-template", "{stem}-{ext}-{model}-{scale}")
    assert (folder / "out" / "b-jpg-auto-2.jpg").exists()


def test_metadata_is_kept_or_stripped(folder):
    source = Image.fromarray(pixels())
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    source.save(folder / "turned.jpg", exif=exif, dpi=(300, 300), icc_profile=b"")
    run(folder / "turned.jpg", "-o", folder / "kept.png")
    kept = opened(folder / "kept.png")
    assert kept.size == (40, 56)  # upright
    assert kept.getexif()[0x010F] == "maker"
    assert kept.getexif().get(0x0112, 1) == 1
    assert kept.info["dpi"][0] == pytest.approx(300, abs=0.1)
    run(folder / "turned.jpg", "-o", folder / "bare.png", "--strip-metadata")
    assert not dict(opened(folder / "bare.png").getexif())
    assert "dpi" not in opened(folder / "bare.png").info


def test_flags_that_change_the_work_not_the_image(folder):
    run(folder / "in" / "a.png", "-o", folder / "0.png")
    expected = np.array(opened(folder / "0.png"))
    for number, flags in enumerate([["-t", 9], ["-j", "2:1:2"], ["--threads", 1], ["--compression", 9], ["-v"]], 1):
        run(folder / "in" / "a.png", "-o", folder / f"{number}.png", *flags)
        assert np.array_equal(np.array(opened(folder / f"{number}.png")), expected), flags
    y, x = np.mgrid[0:60, 0:80] / 8
    smooth = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1) * 100 + 128
    Image.fromarray(smooth.astype(np.uint8)).save(folder / "smooth.png")
    sizes = []
    for level in (9, 3):
        run(folder / "smooth.png", "-o", folder / f"level{level}.png", "--compression", level)
        sizes.append((folder / f"level{level}.png").stat().st_size)
    assert sizes[0] < sizes[1]
    run(folder / "in" / "a.png", "-o", folder / "x.png", "-x")
    assert 0 < np.abs(np.array(opened(folder / "x.png")).astype(int) - expected).max() < 60


def test_quiet_and_input_flag(folder):
    done = run("-i", folder / "in" / "a.png", "-o", folder / "q.png", "--quiet")
    assert done.output == ""
    assert (folder / "q.png").exists()


MISTAKES = {
    "no input": ([], "at least one image"),
    "missing file": (["{d}/none.png"], "none.png does not exist"),
    "folder without images": (["{d}/empty"], "nothing to do: there is no image in /"),
    "text file": (["{d}/in/notes.txt"], "not an image"),
    "unknown model": (["{d}/in/a.png", "-n", "x2-clean-balancd"], "did you mean x2-clean-balanced"),
    "missing model file": (["{d}/in/a.png", "-n", "{d}/none.onnx"], "no model file"),
    "model that is none": (
        ["{d}/in/a.png", "-n", "{d}/in/notes.txt"],
        "ends in .pth, .safetensors, .onnx, .sharpbit, or .param",
    ),
    "scale below 1": (["{d}/in/a.png", "-s", "0.5"], "1<=x<=16"),
    "scale above 16": (["{d}/in/a.png", "-s", "16.1"], "1<=x<=16"),
    "scale in words": (["{d}/in/a.png", "-s", "two"], "'two' is not a valid number"),
    "scale that is no number": (["{d}/in/a.png", "-s", "nan"], "a number from 1 to 16"),
    "scale and width": (["{d}/in/a.png", "-s", "2", "--width", "50"], "one of scale, fit"),
    "fit and height": (["{d}/in/a.png", "--fit", "9x9", "--height", "50"], "one of scale, fit"),
    "unknown format": (["{d}/in/a.png", "-f", "xyz"], "avif bmp gif"),
    "unknown ending": (["{d}/in/a.png", "{d}/in/b.jpg", "-o", "{d}/out.png"], "give a folder"),
    "overwrite and skip": (["{d}/in/a.png", "--overwrite", "--skip-existing"], "exclude each other"),
    "template": (["{d}/in", "-o", "{d}/o", "--name-template", "x"], "must hold {stem}"),
    "template field": (["{d}/in", "-o", "{d}/o", "--name-template", "{stem}{nope}"], "may hold"),
    "tile": (["{d}/in/a.png", "-t", "3"], "at least 8 pixels"),
    "limit": (["{d}/in/a.png", "--max-pixels", "100"], "--max-pixels"),
    "two streams": (["-", "{d}/in/a.png"], "one image"),
    "json and stream": (["-", "--json"], "--json"),
    "output below a file": (["{d}/in/a.png", "-o", "{d}/in/b.jpg/x.png"], "b.jpg"),
    "folder to a file": (["{d}/in", "-o", "{d}/in/b.jpg"], "give a folder"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_sentence(folder, name):
    flags, message = MISTAKES[name]
    (folder / "empty").mkdir()
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    done = CliRunner().invoke(app, ["upscale", *(flag.replace("{d}", str(folder)) for flag in flags)])
    if name == "folder without images":
        assert done.exit_code == 0
    else:
        assert done.exit_code in (1, 2), done.output
    assert "Traceback" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert message in done.stderr
    assert sum(line.startswith("sharpbit: ") for line in done.stderr.splitlines()) <= 1
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("flags", [["-j", "1:x:2"], ["-j", "0:1:1"], ["--fit", "10"], ["--quality", "101"], ["--nope"]])
def test_flags_that_cannot_be_read(folder, flags):
    done = run(folder / "in" / "a.png", *flags, code=2)
    assert "Error:" in done.stderr


def test_models_and_doctor():
    runner = CliRunner()
    listing = runner.invoke(app, ["models"])
    cards = json.loads(runner.invoke(app, ["models", "--json"]).stdout)
    assert [card["name"] for card in cards] == list(zoo.models())
    for name in zoo.models():
        assert name in listing.stdout
        card = runner.invoke(app, ["models", name]).stdout
        for word in ("sha256", "CC0", "Apache-2.0", "psnr", "Set5", "parameters", "train"):
            assert word in card, word
    report = json.loads(runner.invoke(app, ["doctor", "--json"]).stdout)
    assert report["core"]["onnxruntime"]
    assert report["engines"]["onnx"].startswith("1.")
    assert "onnxruntime" in runner.invoke(app, ["doctor"]).stdout
    wrong = runner.invoke(app, ["models", "nothing"])
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)


def test_an_animation_goes_through_pipes(tmp_path):
    frames = [Image.new("RGB", (20, 12), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[50, 70, 90])
    data = (tmp_path / "a.gif").read_bytes()
    done = run("-", input=data)
    with Image.open(io.BytesIO(done.stdout_bytes)) as image:
        assert (image.format, image.n_frames, image.size) == ("GIF", 3, (40, 24))
    assert "first of" not in done.stderr


def test_marks_are_read_once(tmp_path, monkeypatch):
    """With --skip-existing the reason to skip is asked for when reading ahead, before and after an image is claimed."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "in" / "a.png")
    Image.new("RGB", (8, 6), "blue").save(tmp_path / "in" / "b.png")
    args = (tmp_path / "in", tmp_path / "out")
    sharpbit.upscale_folder(*args, skip_existing=True)
    (tmp_path / "out" / "b.png").unlink()
    asked = []
    monkeypatch.setattr(image_io, "made_by", lambda path, real=image_io.made_by: asked.append(path) or real(path))
    outcomes = sharpbit.upscale_folder(*args, skip_existing=True)
    assert [outcome.status for outcome in outcomes] == ["skipped", "done"]
    assert sorted(asked) == [tmp_path / "in" / "a.png", tmp_path / "in" / "b.png", tmp_path / "out" / "a.png"]


def test_a_result_whose_name_is_too_long_fails_alone(tmp_path):
    """254 bytes are a name, and three more, for the scale, are none; other images of the run are made."""
    names = ["é" * 125 + ".png", "b.png"]
    for name in names:
        Image.fromarray(pixels()).save(tmp_path / name)
    done = run(*(tmp_path / name for name in names), code=1)
    assert (tmp_path / "b_x2.png").exists()
    assert "its name is too long; choose a shorter one with -o" in done.stderr
    for _ in range(2):
        run(tmp_path / names[0], "-o", tmp_path / "out/", "--overwrite")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [names[0]]
