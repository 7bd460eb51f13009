"""What every embedded model is accepted by."""

import numpy as np
import pytest

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
