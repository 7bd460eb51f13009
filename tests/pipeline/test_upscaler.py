"""From an image to its result: sizes between networks, transparency, grey, model files that lie about themselves."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

import sharpbit
from sharpbit import modelfile, zoo
from sharpbit.errors import ModelError, SharpbitError, UsageError
from sharpbit.image import ImageData, Metadata
from sharpbit.image.resize import resize
from sharpbit.modelfile import Header
from sharpbit.pipeline import cutting, resized
from sharpbit.pipeline.size import Size
from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.runtime import native

X2 = "x2-clean-balanced"


def image(height, width, channels=3, *, alpha=False, seed=0):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, channels), np.uint8)
    pixels = np.ascontiguousarray(blocks.repeat(5, 0).repeat(5, 1)[:height, :width])
    cover = np.clip(np.hypot(*np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]) * 400 - 100, 0, 255)
    return ImageData(pixels, cover.astype(np.uint8) if alpha else None, Metadata(), (), "array")


def whole(strips):
    strips = list(strips)
    cover = [rows for _, rows in strips if rows is not None]
    return np.concatenate([rows for rows, _ in strips]), np.concatenate(cover) if cover else None


@pytest.mark.parametrize("tile", [16, 500])
@pytest.mark.parametrize("size", [(150, 121), (299, 61), (90, 70), (111, 122), (1, 1)])
def test_other_sizes_are_the_networks_result_resized_at_once(size, tile, monkeypatch):
    """Strips in, strips out: wherever they are cut, each pixel is what one resize of all of it would give."""
    monkeypatch.setattr(resized, "BAND", 37)  # rows of a strip that goes out
    monkeypatch.setattr(resized, "AT_ONCE", 37 * size[1])
    source = image(150, 61)
    native, _ = whole(Upscaler(X2, tile=tile).strips(source))
    before = native if size[0] > 150 or size[1] > 61 else source.pixels
    expected = np.rint(np.clip(resize(before / np.float32(255), *size), 0, 1) * 255)
    out, _ = whole(Upscaler(X2, size=Size(width=size[1], height=size[0]), tile=tile).strips(source))
    assert out.shape == (*size, 3)
    assert np.abs(out - expected).max() <= 1  # float32 rounds once more on the way
    assert (out != expected).mean() < 1e-3


@pytest.mark.skipif(not native.can_resize(), reason="there is no native engine, or an old one")
@pytest.mark.parametrize("size", [(151, 90), (40, 200), (80, 60), (1, 300)])
def test_the_engine_and_numpy_resize_alike(size, monkeypatch):
    source = image(60, 80)
    upscaler = Upscaler(X2, size=Size(width=size[1], height=size[0]))
    fast, _ = whole(upscaler.strips(source))
    monkeypatch.setattr(native, "can_resize", lambda: False)
    slow, _ = whole(upscaler.strips(source))
    assert np.abs(fast.astype(int) - slow).max() <= 1  # sums in float32 in another order
    assert (fast != slow).mean() < 1e-3


@pytest.mark.parametrize("size", [(70, 90), (151, 201), (20, 30)])
def test_other_sizes_keep_the_colour_at_transparent_edges(size):
    """Whatever lies hidden under transparency, here bright green, does not show at the edge of what is seen."""
    source = image(60, 80, alpha=True)
    source.pixels[...] = [200, 40, 90]
    source.pixels[source.alpha == 0] = [0, 255, 0]
    out, cover = whole(Upscaler(size=Size(width=size[1], height=size[0])).strips(source))
    assert cover.shape == size
    assert {0, 255} <= set(np.unique(cover))
    seen = out[cover > 24].astype(int)
    assert np.abs(seen - np.median(seen, 0)).max() <= 20
    assert np.abs(seen.mean(0) - [200, 40, 90]).max() <= 10


def test_results_of_other_sizes_are_judged_too(tmp_path):
    """The last strips that a smaller result does not need still pass the check."""
    path = network(tmp_path / "dark.onnx", gain=0.3)
    with pytest.raises(sharpbit.SharpbitError, match="colour"):
        list(Upscaler(path, size=Size(width=100)).strips(image(60, 80)))


def test_grey_stays_grey_and_agrees_with_grey_as_rgb():
    source = image(40, 50, 1)
    grey, _ = whole(Upscaler(X2).strips(source))
    rgb, _ = whole(Upscaler(X2).strips(ImageData(source.pixels.repeat(3, 2), None, source.metadata, (), "array")))
    assert grey.shape == (80, 100, 1)
    luma = rgb.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(grey[..., 0] - luma).max() <= 1


def test_opaque_and_invisible_stay_what_they_are():
    """Alpha upscaled by a network would ring: 254 where all is opaque, 1 where nothing is."""
    source = image(60, 60, alpha=True)
    source.alpha[...] = 0
    source.alpha[20:40, 10:50] = 255
    _, cover = whole(Upscaler(X2).strips(source))
    assert (cover[44:76, 24:96] == 255).all()
    assert (cover[:36] == 0).all()
    assert (cover[84:] == 0).all()


def test_the_ensemble_sees_every_orientation_alike():
    """The mean over all turns and mirrors commutes with them."""
    source = image(24, 24)
    straight, _ = whole(Upscaler(X2, ensemble=True).strips(source))
    for turn in (np.rot90, np.fliplr, np.flipud, lambda x: x.swapaxes(0, 1)):
        turned = ImageData(np.ascontiguousarray(turn(source.pixels)), None, source.metadata, (), "array")
        out, _ = whole(Upscaler(X2, ensemble=True).strips(turned))
        difference = np.abs(out.astype(int) - turn(straight))
        assert difference.max() <= 1  # sums in another order round otherwise, seldom
        assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("size", [None, Size(width=100), Size(width=30)])
def test_progress_adds_up_to_one(size, alpha):
    shares = []
    list(Upscaler(X2, size=size, tile=16).strips(image(40, 55, alpha=alpha), progress=shares.append))
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("size", "model", "expected"),
    [
        (None, None, (X2, 40, 60)),
        (Size(scale=3), None, ("x3-clean-balanced", 60, 90)),
        (Size(width=61), None, ("x3-clean-balanced", 41, 61)),
        (Size(width=60), None, (X2, 40, 60)),
        (Size(width=300), None, ("x3-clean-balanced+x4-clean-balanced", 200, 300)),
        (Size(scale=1.5), None, (X2, 30, 45)),
        (Size(scale=8), None, (f"{X2}+x4-clean-balanced", 160, 240)),
        (Size(scale=16), None, ("x4-clean-balanced+x4-clean-balanced", 320, 480)),
        (Size(scale=1), None, ("bicubic", 20, 30)),
        (Size(scale=1), X2, (X2, 20, 30)),
        (Size(scale=3), X2, (f"{X2}+{X2}", 60, 90)),
        (Size(width=30), None, ("bicubic", 20, 30)),
        (Size(width=60, height=10), None, (X2, 10, 60)),
        (Size(width=60), X2, (X2, 40, 60)),
        (Size(width=90), X2, (f"{X2}+{X2}", 60, 90)),
    ],
)
def test_which_model_runs(size, model, expected):
    assert Upscaler(model, size=size).plan(20, 30) == expected


@pytest.mark.parametrize("size", [Size(width=20000), Size(fit=(1 << 20, 1 << 20)), Size(width=10, height=400)])
def test_a_slip_of_the_key_is_not_obeyed(size):
    with pytest.raises(UsageError, match="at most 16 times"):
        Upscaler(size=size).plan(20, 30)


def test_tiles_of_a_network_that_sees_everything_are_said(tmp_path, monkeypatch):
    source = image(40, 50)
    everything, local = network(tmp_path / "a.onnx", receptive_field=None), network(tmp_path / "b.onnx")
    assert Upscaler(everything).losses(source) == ()
    (note,) = Upscaler(everything, tile=32).losses(source)
    assert "tiles of 32 pixels" in note
    assert "not the same" in note
    assert Upscaler(everything, tile=50).losses(source) == ()
    assert Upscaler(local, tile=32).losses(source) == ()
    monkeypatch.setattr(cutting, "WHOLE", 49)
    monkeypatch.setattr(cutting, "TILE", 20)
    (note,) = Upscaler(everything).losses(source)
    assert "tiles of 20 pixels" in note


def network(path, *, scale=2, gain=1.0, stride=1, **header):
    """A file of ours that repeats each pixel times `gain`; `header` says something else of it."""
    weight = np.zeros((3 * scale**2, 3, 1, 1), np.float32)
    for c in range(3):
        weight[c * scale**2 : (c + 1) * scale**2, c] = gain
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], strides=[stride, stride]),
        onnx.helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=scale, mode="CRD"),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", kind, [1, 3, "h", "w"])],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    facts = {"name": "it", "architecture": "plain", "config": {}, "scale": scale, "receptive_field": 1, "parameters": 1}
    told = modelfile.stamp(Header(**(facts | header)), model.SerializeToString(), path)
    told = replace(told, format=header.get("format", told.format))
    entry = model.metadata_props.add()
    entry.key, entry.value = modelfile.KEY, told.to_json()
    path.write_bytes(model.SerializeToString())
    return path


def test_an_honest_file_of_ours(tmp_path):
    source = image(20, 30).pixels
    assert np.array_equal(
        sharpbit.upscale(source, model=network(tmp_path / "a.onnx")), source.repeat(2, 0).repeat(2, 1)
    )
    to_255 = network(tmp_path / "b.onnx", range=(0, 255))
    assert np.array_equal(sharpbit.upscale(source, model=to_255), source.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"colour": "BGR"}, "takes BGR from 0 to 1"),
        ({"range": (-1.0, 1.0)}, "takes RGB from -1 to 1"),
        ({"range": (1.0, 0.0)}, "the lower first"),
        ({"range": (0.0, float("nan"))}, "two numbers"),
        ({"range": (0, 10**400)}, "two numbers"),
        ({"stride": 2}, "turns 64x64 into 64x64, and its header says that it is x2"),
        ({"format": 3}, "update sharpbit"),
    ],
)
def test_a_file_that_lies_or_differs_is_refused(tmp_path, lie, words):
    path = network(tmp_path / "a.onnx", **lie)
    with pytest.raises(ModelError) as caught:
        sharpbit.upscale(image(20, 30).pixels, model=path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_of_another_scale_is_refused(tmp_path):
    path = network(tmp_path / "a.onnx", scale=3, format=1)
    text = path.read_bytes().replace(b'"scale":3', b'"scale":2')  # nothing hashes the header of format 1
    path.write_bytes(text)
    with pytest.raises(ModelError, match="turns 64x64 into 192x192, and its header says that it is x2"):
        sharpbit.upscale(image(20, 30).pixels, model=path)


def test_a_changed_weight_is_refused(tmp_path):
    data = bytearray(zoo.path_of(X2).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="does not match the sha256"):
        Upscaler(tmp_path / "a.onnx")


def test_files_for_another_purpose(tmp_path):
    (tmp_path / "a.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(SharpbitError, match=r"^[^\n]*(a\.safetensors|needs)[^\n]*$"):
        Upscaler(tmp_path / "a.safetensors")
    path = foreign(network(tmp_path / "smaller.onnx", scale=2, stride=3))
    with pytest.raises(ModelError, match="no upscaling"):
        Upscaler(path)


def foreign(path):
    """The file as somebody else would have made it: without our header."""
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def test_networks_in_a_row_are_one_after_the_other():
    source = image(21, 34, alpha=True)
    whole_row = sharpbit.upscale(np.dstack([source.pixels, source.alpha]), scale=6)
    step = sharpbit.upscale(np.dstack([source.pixels, source.alpha]), model=X2)  # a result by itself looks soft
    assert np.array_equal(whole_row, sharpbit.upscale(step, model="x3-clean-balanced"))


def test_any_factor_is_the_next_network_made_smaller():
    source = image(21, 33).pixels
    out = sharpbit.upscale(source, scale=1.5)
    expected = resize(sharpbit.upscale(source, scale=2) / np.float32(255), 32, 50)
    assert out.shape == (32, 50, 3)
    assert np.abs(out - np.rint(np.clip(expected, 0, 1) * 255)).max() <= 1


def test_a_network_that_restores_keeps_the_size(tmp_path):
    path = foreign(network(tmp_path / "same.onnx", scale=1, gain=0.9))
    source = image(20, 30).pixels
    for scale in (None, 1):
        assert np.abs(sharpbit.upscale(source, model=path, scale=scale) - source * 0.9).max() <= 1
    with pytest.raises(UsageError, match="images of the size that they have"):
        Upscaler(path, size=Size(2))


def test_the_plan_in_words(tmp_path):
    assert str(Upscaler(size=Size(7)).chain(10, 10)) == (
        "x2-clean-balanced (x2), then x4-clean-balanced (x4), then bicubic from x8 to the size"
    )
    assert str(Upscaler(size=Size(4)).chain(10, 10)) == "x4-clean-balanced (x4)"
    assert str(Upscaler(size=Size(width=5)).chain(10, 10)) == "bicubic"


def test_an_image_wider_than_the_engine_takes():
    """The native engine takes 65535 pixels a side; the same pixels come from any cut."""
    source = np.ascontiguousarray(np.tile(image(1, 300).pixels, (1, 220, 1)))
    out = sharpbit.upscale(source)
    assert out.shape == (2, 132000, 3)
    assert np.array_equal(out[:, 65000:67000], sharpbit.upscale(source[:, 32400:33600])[:, 200:2200])
