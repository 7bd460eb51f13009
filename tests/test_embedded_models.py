"""What every embedded model is accepted by."""

import re
from pathlib import Path

import numpy as np
import pytest

import sharpbit
from sharpbit import zoo
from sharpbit.measure.flatness import flatness
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.verbs.upscale import upscale


@pytest.mark.parametrize("name", zoo.models())
def test_constant_images_stay_constant(name):
    """Within a level of 255: 4,913 colours for integers, 125 of them for float, which is slower, and the white page."""
    upscaler = Upscaler(name, threads=1)
    levels = 17 if zoo.models()[name].precision == "int8" else 5
    found = flatness(lambda image: np.asarray(upscale(image, upscaler=upscaler)), levels=levels)
    assert max(found.inside, found.border, found.white) <= 1, found


@pytest.mark.parametrize("name", [name for name, header in zoo.models().items() if header.precision == "int8"])
def test_a_header_holds_what_evaluate_measures(name, shared):
    """Set14 has a grey image, which the command upscales as one channel: there the two have differed."""
    said = {(one.name, one.data): one.value for one in zoo.models()[name].metrics}
    folders = [shared / "data" / "benchmarks" / data for data in ("Set5", "Set14")]
    for score in sharpbit.evaluate(name, folders, make_small=True, threads=2).sets:
        assert said["psnr", score.name] == pytest.approx(score.psnr, abs=0.0006)
        assert said["ssim", score.name] == pytest.approx(score.ssim, abs=0.00006)


def test_the_readme_prints_the_headers():
    rows = re.findall(r"^\| `(x\d-[\w-]+)` \| (.*?) \|", (Path(__file__).parents[1] / "README.md").read_text(), re.M)
    assert len(rows) == 3
    for name, first in rows:
        psnr, ssim = (one.value for one in zoo.models()[name].metrics[:2])
        assert first == f"{psnr:.2f} / {ssim:.4f}"


def test_every_float_model_is_read_back_also_where_the_exporter_left_out_a_bias_of_zeros():
    for name in (name for name in zoo.names() if name.endswith("-float")):
        model = sharpbit.load(zoo.path_of(name))
        missing = set(model.net.state_dict()) - set(zoo.open_file(name).onnx_graph.constants)
        assert all(name.endswith(".bias") and not model.net.state_dict()[name].any() for name in missing)
