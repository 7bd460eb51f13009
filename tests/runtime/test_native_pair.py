"""Pairs in the native engine: every pixel is what its network makes of the whole image, however images are cut."""

import re
import struct

import numpy as np
import pytest
from click.testing import CliRunner

import integer_files
import native_pairs
from noise_images import put_photos
from sharpbit import zoo
from sharpbit.app.cli import app
from sharpbit.errors import ModelError
from sharpbit.modelfile.integer_file import read
from sharpbit.modelfile.integer_pair import IntegerPair
from sharpbit.pipeline import cutting
from sharpbit.runtime import EngineOptions, native, open_engine
from sharpbit.runtime.native import NativeRuntime
from sharpbit.twopass.detail import contrast, contrasts, levels

needs_native = pytest.mark.skipif(not native.available(), reason=native.why_not())


def pair_for(image, tile, **sizes):
    large, small = integer_files.chain(seed=1, **sizes), integer_files.chain(depth=2, seed=2)
    return IntegerPair(large, small, tile, native_pairs.median(image, tile))


@needs_native
@pytest.mark.parametrize("instruction_set", native.instruction_sets())
@pytest.mark.parametrize("threads", [1, 3])
def test_each_pixel_is_what_its_network_makes_of_the_whole_image(instruction_set, threads):
    for number, (height, width, tile) in enumerate([(1, 1, 8), (7, 90, 8), (64, 48, 16), (75, 131, 32), (200, 70, 8)]):
        image = native_pairs.patchy(height, width, number)
        pair = pair_for(image, tile)
        runtime = NativeRuntime(pair, threads=threads, instruction_set=instruction_set)
        assert np.array_equal(runtime.run(image), native_pairs.expected(pair, image)), (height, width, tile)
    graphs, image, wanted = native_pairs.case()
    runtime = NativeRuntime(graphs, threads=threads, instruction_set=instruction_set)
    assert np.array_equal(runtime.run(image), wanted)


@needs_native
def test_both_networks_are_used_and_the_share_is_printed():
    image = native_pairs.patchy(128, 128)
    pair = pair_for(image, 16)
    share = float((contrasts(image, 16) < pair.threshold).mean())
    assert 0.1 < share < 0.9
    runtime = NativeRuntime(pair, threads=1)
    runtime.run(image)
    assert runtime.notes == (f"{share:.3f} of the pixels through the small network",)
    assert NativeRuntime(pair.large, threads=1).notes == ()


@needs_native
@pytest.mark.parametrize("side", [None, 40])
def test_the_pipeline_gives_it_whole_images(side):
    image = native_pairs.patchy(190, 170)
    runtime = NativeRuntime(pair_for(image, 16, depth=6), threads=1)
    (part,) = cutting.run(runtime, image, side=side)
    assert np.array_equal(part.after, runtime.run(image))
    assert not hasattr(NativeRuntime(integer_files.chain()), "cuts_itself")


def test_contrasts_are_those_of_single_tiles_and_their_neighbours():
    image = native_pairs.patchy(21, 26)
    own = np.zeros((3, 4))
    for (row, column), _ in np.ndenumerate(own):
        tile = image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].astype(int).sum(2)
        squares = np.concatenate([(np.diff(tile, axis=axis) ** 2).ravel() for axis in (0, 1)])
        own[row, column] = 256 * squares.sum() / max(squares.size, 1)
    for (row, column), value in np.ndenumerate(contrasts(image, 8)):
        sides = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        around = sorted(own[y, x] if 0 <= y < 3 and 0 <= x < 4 else 0 for y, x in sides)
        assert value == max(own[row, column], around[1])
    assert levels(contrast(7.5)) == pytest.approx(7.5, rel=1e-4)


@needs_native
def test_what_is_no_pair_is_refused_alike_by_both_readers():
    pair = pair_for(native_pairs.patchy(40, 40), 8)
    good = pair.payload()
    assert IntegerPair.from_payload(good, "a").payload() == good
    tiles, scales = bytearray(good), bytearray(good)
    tiles[4:8], scales[0] = struct.pack("<I", 7), 3
    for data in (good[:-1], good + b"x", good[:11], good[:20], bytes(tiles), bytes(scales)):
        with pytest.raises(ModelError):
            IntegerPair.from_payload(data, "a")
        with pytest.raises(ModelError, match=r"pair|chain"):
            native._opened(native._library(), data, None)
    nested = IntegerPair(pair.large, pair.small, 8, 1).payload()
    data = struct.pack("<IIII", 2 | 1 << 17, 8, 1, len(nested)) + nested + struct.pack("<I", len(nested)) + nested
    with pytest.raises(ModelError):
        native._opened(native._library(), data, None)
    with pytest.raises(ModelError, match="one scale, not of 2 and 3"):
        IntegerPair(pair.large, integer_files.chain(scale=3), 8, 1)


@needs_native
def test_the_command_makes_one_file_that_is_verified_and_runs(tmp_path):
    photos = put_photos(tmp_path / "photos", 3, 150, 140)
    out = tmp_path / "pair.sharpbit"

    def call(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    made = call(
        "pair", "x2-clean-balanced", "x2-clean-fast", "--calibrate", photos, "--max-drop", 1, "-o", out, "--quiet"
    )
    assert made.exit_code == 0, made.output
    assert "patches of 32 pixels" in made.output and "of the pixels, on 3 photos" in made.output
    assert re.search(r"time +\d\.\d\d of that of the large network on whole images, on one of the photos", made.output)
    assert call("verify", out).exit_code == 0
    pair, header = read(out)
    assert header.history[-1]["steps"][-1]["did"]["small"]["name"] == "x2-clean-fast.onnx"
    assert pair.large.payload() == read(zoo.path_of("x2-clean-balanced"))[0].payload()
    shown = call("inspect", out)
    assert shown.exit_code == 0 and "small network x2-clean-fast" in shown.output
    assert "receipt       of pair; 'sharpbit verify'" in shown.output
    image = next(photos.iterdir())
    done = call("upscale", image, "-n", out, "-o", tmp_path / "large.png")
    assert done.exit_code == 0, done.output
    runtime = open_engine(out, EngineOptions(threads=1))
    assert runtime.precision == "int8" and runtime.halo is None
    data = bytearray(out.read_bytes())
    data[-9] ^= 4
    out.write_bytes(data)
    assert call("verify", out).exit_code == 1


@needs_native
def test_a_pair_that_saves_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("sharpbit.verbs.pair.share_of_time", lambda *given: 1.25)
    photos = put_photos(tmp_path / "photos", 2, 140, 140)
    given = ["x2-clean-balanced", "x2-clean-fast", "--calibrate", str(photos), "-o", str(tmp_path / "a.sharpbit")]
    made = CliRunner().invoke(app, ["pair", *given, "--quiet"])
    assert made.exit_code == 0 and "note: x2-clean-balanced.onnx alone is quicker than the pair" in made.output


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ["x2-clean-float", "x2-clean-fast"],
            "two networks in integers, which 'sharpbit quantize' makes; x2-clean-float",
        ),
        (["x2-clean-balanced", "x3-clean-fast"], "a pair takes two networks of one scale"),
        (["x2-clean-balanced", "x2-clean-fast", "--shared", "6"], "leave --shared out"),
        (["x2-clean-balanced", "x2-clean-fast", "--patch", "4"], "8 to 256 pixels a side, not 4"),
    ],
)
def test_wrong_arguments_are_one_sentence(given, words, tmp_path):
    done = CliRunner().invoke(app, ["pair", *given, "--detail", "3", "-o", str(tmp_path / "a.sharpbit")])
    assert done.exit_code != 0 and words in done.output and done.output.count("\n") == 1
    assert not list(tmp_path.iterdir())
