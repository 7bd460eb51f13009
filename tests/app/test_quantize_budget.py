"""`sharpbit quantize` with a choice of widths within a budget, and its report as HTML."""

import json
from html.parser import HTMLParser

import pytest
import torch
from click.testing import CliRunner

from noise_images import put, soft_noise
from sharpbit import model as models
from sharpbit.app.cli import app


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, images to calibrate on, and one to test with."""
    folder = tmp_path_factory.mktemp("budget")
    for name, seeds, side in (("photos", (0, 1), 128), ("Test", (9,), 48)):
        for seed in seeds:
            put(folder / name / f"{seed}.png", soft_noise(seed, side, side, grain=8))
    torch.manual_seed(0)
    models.save(models.build("imdn", scale=2, blocks=1, width=8), folder / "imdn.safetensors")
    return folder


def call(place, *given, method="minmax", out="out.safetensors"):
    arguments = ["quantize", place / "imdn.safetensors", "--calibrate", place / "photos", "-o", place / out]
    arguments += ["--method", method, "--overwrite", *given]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Page(HTMLParser):
    """What a page is made of; one that is not well-formed fails."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.links, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_receipt_the_file_and_the_page(place):
    page = place / "a.html"
    done = call(
        place, "--bits", "8,6,4", "--budget", "5", "--blame", "--data", place / "Test", "--report", page, "--json"
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["bits"], told["budget"]) == ([8, 6, 4], 5.0)
    widths = {name: (act, weight) for name, act, weight in told["widths"]}
    assert len({weight for _, weight in widths.values()}) > 1
    assert widths["model.0"][0] == 8  # the image that comes in
    uniform = json.loads(call(place, "--bits", "5", "--json", out="five.safetensors").stdout)
    assert told["bitops"] <= uniform["bitops"]
    again = models.load(place / "out.safetensors")
    assert len(again.header().precision.split()) > 1
    text = page.read_text()
    read = Page(text)
    assert not {"script", "link", "img"} & set(read.tags)
    assert not read.links
    assert "http" not in text
    assert read.tags.count("svg") == len(told["ranges"]) + len(told["sensitivity"])
    assert read.tags.count("rect") == 2 * len(told["ranges"]) + len(told["sensitivity"])
    titles = ("PSNR before and after", "Sensitivity of each layer", "Bits of each layer")
    for word in (*titles, "budget of 5 bits", "model.2"):
        assert word in read.text
    before, after = (f"{told['measured']['Test'][key]:.3f}" for key in ("before", "after"))
    assert before in read.text
    assert after in read.text


def test_names_are_escaped(place):
    models.save(models.load(place / "imdn.safetensors"), place / "<b>&.safetensors", overwrite=True)
    arguments = ["quantize", place / "<b>&.safetensors", "--calibrate", place / "photos", "-o", place / "b.safetensors"]
    arguments += ["--method", "minmax", "--report", place / "b.html"]
    assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 0
    assert "<b>&" not in (place / "b.html").read_text()
    assert "<b>&.safetensors in 8 bits" in Page((place / "b.html").read_text()).text


def test_words_say_how_many_layers_have_which_width(place):
    done = call(place, "--bits", "8,4", "--budget", "50%")
    assert done.exit_code == 0, done.output
    assert "within a budget of 50%" in done.stdout
    assert "in 8 bits, " in done.stdout
    assert "GBitOPs" in done.stdout


def test_the_gate_names_layers_and_how_to_give_them_more(place):
    given = ["--data", place / "Test", "--max-drop", "-100"]
    refused = call(place, "--bits", "3", *given)
    assert refused.exit_code == 1
    assert "--keep (" in refused.output
    assert "--bits 8,3 --budget 4" in refused.output
    refused = call(place, "--bits", "8,3", "--budget", "4", *given)
    assert "raise --budget" in refused.output


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--bits", "8,6,4"], "say with --budget"),
        (["--bits", "8", "--budget", "5"], "several"),
        (["--bits", "8,6,4", "--budget", "3"], "out of reach"),
        (["--bits", "8,6,4", "--budget", "10%"], "out of reach"),
        (["--bits", "8,6,4", "--budget", "8"], "nothing to choose"),
        (["--bits", "8,6,4", "--budget", "lots"], "mean of bits"),
        (["--bits", "8,x"], "such as 8,6,4"),
        (["--bits", "1"], "2 to 16 bits, not 1"),
        (["--bits", "0"], "2 to 16 bits, not 0"),
        (["--bits", "17"], "2 to 16 bits, not 17"),
        (["--bits", "-4"], "such as 8,6,4"),
        (["--report", "a.pdf"], ".html or .md"),
    ],
)
def test_what_cannot_be(place, given, sentence):
    done = call(place, *given, out="none.onnx")
    assert done.exit_code == 2
    assert sentence in done.output
    assert done.output.count("\n") == 1
    assert not (place / "none.onnx").exists()


def test_lossless_has_one_width(place):
    done = call(place, "--bits", "8,6", "--budget", "7", method="lossless")
    assert "makes 8 bits, not 8, 6" in done.output


def test_ptq4sr_refines_in_its_own_way(place):
    done = call(place, "--bits", "4", "--refine", "3", method="ptq4sr", out="ptq4sr.safetensors")
    assert done.exit_code == 0, done.output
    entry = models.load(place / "ptq4sr.safetensors").history[2]
    assert (entry.verb, entry.how.steps) == ("pixel_aware", 3)
    assert len(entry.losses) == 2
