"""Animations and pages: every frame, its time, and the pixels of the still result."""

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

import sharpbit
from sharpbit import Upscaler
from sharpbit.image import made_by, read
from sharpbit.image.sequence import open_sequence
from sharpbit.pipeline import sequence
from sharpbit.pipeline.sequence import upscaled

DURATIONS = [50, 100, 150, 200, 50]


def pictures(alpha=False):
    """A scene in which a square moves, once by nothing."""
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (12, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    frames = []
    for x in (10, 30, 50, 50, 90):
        frame = scene.copy()
        frame[40:56, x : x + 16] = [250, 20, 30]
        if alpha:
            cover = np.full(frame.shape[:2], 255, np.uint8)
            cover[:, x : x + 20] = 0
            frame = np.dstack([frame, cover])
        frames.append(frame)
    return frames


def save(path, frames, **options):
    first, *others = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def frames_of(path):
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            yield image.convert("RGBA"), image.info.get("duration", 0)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("ending", ["png", "webp", "gif"])
def test_an_animation_becomes_the_same(tmp_path, ending, alpha):
    options = {"lossless": True} if ending == "webp" else {}
    if ending == "gif":
        options["disposal"] = 2 if alpha else 1
    source = save(tmp_path / f"a.{ending}", pictures(alpha), duration=DURATIONS, loop=3, **options)
    before = list(frames_of(source))
    written = sharpbit.upscale(source, model="x2-clean-balanced")
    assert written.name == f"a_x2.{ending}"
    after = list(frames_of(written))
    assert [duration for _, duration in after] == [duration for _, duration in before]
    with Image.open(source) as old, Image.open(written) as new:
        assert new.info["loop"] == old.info["loop"]
    if ending != "webp":
        assert made_by(written) == "x2-clean-balanced x2"
    for (old, _), (new, _) in zip(before, after, strict=True):
        still = np.asarray(old) if alpha else np.asarray(old)[..., :3]
        still = sharpbit.upscale(still, model="x2-clean-balanced").astype(int)
        result = np.asarray(new).astype(int)[..., : still.shape[2]]
        if ending == "gif":
            if alpha:
                assert ((result[..., 3] > 127) == (still[..., 3] > 127)).all()
            seen = (still[..., 3] > 200) if alpha else np.ones(still.shape[:2], bool)
            rgb = Image.fromarray(still[..., :3].astype(np.uint8))
            reduced = np.asarray(rgb.quantize(256, Image.Quantize.MEDIANCUT).convert("RGB"))[seen]
            allowed = np.abs(reduced - still[seen][:, :3]).mean() + 1  # 256 colours cost that much
            assert np.abs(result[seen][:, :3] - still[seen][:, :3]).mean() < allowed
        elif alpha:
            assert np.array_equal(result[..., 3], still[..., 3])
            assert np.array_equal(result[still[..., 3] > 0], still[still[..., 3] > 0])
        else:
            assert np.array_equal(result, still)


def test_parts_that_did_not_change_are_not_upscaled_again(tmp_path, monkeypatch):
    """Frames alike cost nothing, others what changed and sees it; the pixels are those of the whole frame."""
    source = save(tmp_path / "a.png", [frame.repeat(3, 0).repeat(3, 1) for frame in pictures()], duration=DURATIONS)
    upscaler, sizes = Upscaler("x2-clean-balanced"), []
    real = sequence._whole

    def whole(upscaler, frame, name):
        sizes.append(frame.pixels[..., 0].size)
        return real(upscaler, frame, name)

    monkeypatch.setattr(sequence, "_whole", whole)
    frames = [frame.image for frame in open_sequence(source).frames()]
    for frame, result in zip(frames, upscaled(upscaler, iter(frames), "a"), strict=True):
        assert np.array_equal(result.pixels, real(upscaler, frame, "a")[0])
    assert sizes[0] == 288 * 480
    assert sum(sizes[1:]) < 1.2 * sizes[0]


def test_frames_that_are_equal_stay_frames(tmp_path):
    source = save(tmp_path / "a.gif", pictures(), duration=DURATIONS, loop=0)
    written = sharpbit.upscale(source, tmp_path / "b.png", model="x2-clean-balanced")
    assert [duration for _, duration in frames_of(written)] == [duration for _, duration in frames_of(source)]


def test_an_opaque_alpha_channel_stays(tmp_path):
    frames = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in pictures()]
    written = sharpbit.upscale(save(tmp_path / "a.png", frames, duration=DURATIONS))
    with Image.open(written) as image:
        assert (image.mode, image.n_frames) == ("RGBA", 4)  # Pillow joins the two that are equal


def test_pages_are_images_each(tmp_path):
    sizes = [(20, 30), (24, 16), (20, 30)]
    first, *others = [Image.fromarray(np.full((*size, 3), 60 * k + 40, np.uint8)) for k, size in enumerate(sizes)]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    written = sharpbit.upscale(tmp_path / "a.tif", scale=1.5)
    assert written.name == "a_x1.5.tif"
    with Image.open(written) as image:
        assert image.n_frames == 3
        for number, size in enumerate(sizes):
            image.seek(number)
            assert image.size == (size[1] * 1.5, size[0] * 1.5)
            assert np.abs(np.asarray(image).astype(int) - (60 * number + 40)).max() <= 2


def test_pages_of_16_bits_stay_so(tmp_path):
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "a.tif", new=True) as pages:
        for number in range(2):
            Image.fromarray(np.full((20, 30), 1000 + 20000 * number, np.uint16)).save(pages, "TIFF")
            pages.newFrame()
    written = sharpbit.upscale(tmp_path / "a.tif")
    pages = [frame.image for frame in open_sequence(written).frames()]
    assert [page.pixels.dtype for page in pages] == [np.uint16] * 2
    assert [abs(int(page.pixels.mean()) - level) < 300 for page, level in zip(pages, (1000, 21000), strict=True)]


def test_what_a_format_cannot_hold_is_noted(tmp_path):
    source = save(tmp_path / "a.gif", pictures(), duration=DURATIONS)
    (outcome,) = sharpbit.upscale_folder(tmp_path, tmp_path / "out", format="jpg")
    assert any(note.startswith("first of") for note in outcome.notes)
    with Image.open(source) as image:
        still = image.n_frames
    assert still > 1
    assert read(tmp_path / "out" / "a.jpg").frames == 1


def test_a_damaged_end_is_noted(tmp_path):
    source = save(tmp_path / "a.png", pictures(), duration=DURATIONS)
    source.write_bytes(source.read_bytes()[:-3000])
    (outcome,) = sharpbit.upscale_folder(tmp_path, tmp_path / "out")
    if outcome.status == "done":
        assert any("damaged" in note or "first of" in note for note in outcome.notes)


@pytest.mark.parametrize(("name", "count"), [("anim.gif", 4), ("anim.png", 4), ("anim.webp", 4), ("pages.tif", 4)])
def test_the_reported_files(shared, tmp_path, name, count):
    source = shared / "data" / "reports" / "pictures" / name
    written = sharpbit.upscale(source, tmp_path / name)
    with Image.open(written) as image, Image.open(source) as before:
        assert image.n_frames == count
        assert image.info.get("loop") == before.info.get("loop")
    assert [time for _, time in frames_of(written)] == [time for _, time in frames_of(source)]
