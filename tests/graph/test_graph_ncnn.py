"""Files of ncnn that are no chain: any graph of known layers, in text and binary, with weights in two precisions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ncnn_files import write
from sharpbit import model as models
from sharpbit.errors import ModelError


def residual(half):
    """A table and its weights: a residual block, a concatenation, a clip, an unshuffle and a shuffle."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(shape).astype(np.float32) * 0.1 for shape in ((8, 12, 3, 3), (8, 8, 3, 3), (48, 16, 1, 1))
    ]
    if half:
        arrays = [array.astype(np.float16).astype(np.float32) for array in arrays]
    data = b""
    for array in arrays:
        packed = array.astype("<f2" if half else "<f4").tobytes()
        tag = 0x01306B47 if half else 0
        data += tag.to_bytes(4, "little") + packed + bytes(-len(packed) % 4) + np.zeros(len(array), "<f4").tobytes()
    table = [
        ("Input", "in0", [], ["data"], {}),
        ("Reorg", "down", ["data"], ["small"], {0: 2}),
        ("Convolution", "a", ["small"], ["one"], {0: 8, 1: 3, 4: 1, 5: 1, 6: arrays[0].size, 9: 2, 10: (0.25,)}),
        ("Split", "s", ["one"], ["left", "right", "third"], {}),
        ("Convolution", "b", ["left"], ["two"], {0: 8, 1: 3, 4: 1, 5: 1, 6: arrays[1].size}),
        ("Eltwise", "add", ["two", "right"], ["sum"], {0: 1, 1: (0.5, 1.0)}),
        ("Concat", "cat", ["sum", "third"], ["both"], {}),
        ("Convolution", "c", ["both"], ["three"], {0: 48, 1: 1, 5: 1, 6: arrays[2].size}),
        ("PixelShuffle", "up", ["three"], ["out"], {0: 4}),
    ]
    return table, data, arrays


def computed(x, arrays):
    a, b, c = map(torch.from_numpy, arrays)
    one = F.leaky_relu(F.conv2d(F.pixel_unshuffle(x, 2), a, padding=1), 0.25)
    both = torch.cat([0.5 * F.conv2d(one, b, padding=1) + one, one], 1)
    return F.pixel_shuffle(F.conv2d(both, c), 4)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_graph_of_known_layers(form, half, tmp_path):
    table, data, arrays = residual(half)
    path = write(tmp_path, table, data, form=form)
    model = models.load(path, range=1)
    assert (model.arch.name, model.scale, model.config.multiple) == ("graph", 2, 2)
    x = torch.rand(1, 3, 10, 14)
    with torch.no_grad():
        torch.testing.assert_close(model.net(x), computed(x, arrays), atol=1e-5, rtol=0)


def test_weights_that_are_left_over(tmp_path):
    table, data, _ = residual(True)
    with pytest.raises(ModelError, match="4 bytes more than"):
        models.load(write(tmp_path, table, data + bytes(4)))


def test_a_layer_that_is_not_known_is_named(tmp_path):
    table, data, _ = residual(True)
    table[6] = ("Softmax", "odd", ["sum"], ["both"], {})
    with pytest.raises(ModelError, match=r"the layer odd \(Softmax\) is not understood"):
        models.load(write(tmp_path, table, data))


@pytest.mark.parametrize(
    ("name", "scale", "multiple"),
    [("realesr-animevideov3-x2.param", 2, 2), ("upconv_7_photo/scale2.0x_model.param", 2, 1)],
)
def test_published_files(shared, name, scale, multiple):
    model = models.load(shared / "weights" / "real" / name, range=1)
    assert (model.arch.name, model.scale, model.config.multiple) == ("graph", scale, multiple)
    with torch.no_grad():
        grey = model.net(torch.full((1, 3, 14, 16), 0.5))
    assert float((grey - 0.5).abs().mean()) < 0.02
