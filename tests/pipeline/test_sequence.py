"""Animations and pages: every frame, its time, and the pixels of the still result."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

import sharpbit
from sharpbit import Upscaler
from sharpbit.errors import ImageError
from sharpbit.image import Metadata, WriteOptions, made_by, read
from sharpbit.image.animation import Animation, Drawn, open_animation
from sharpbit.image.sequence import open_sequence
from sharpbit.image.space import ColourSpace
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


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_frames_that_are_equal_stay_frames(tmp_path, ending):
    source = save(tmp_path / "a.gif", pictures(), duration=DURATIONS, loop=0)
    written = sharpbit.upscale(source, tmp_path / f"b.{ending}", model="x2-clean-balanced")
    assert [duration for _, duration in frames_of(written)] == [duration for _, duration in frames_of(source)]


@pytest.mark.parametrize(
    ("times", "right"),
    [
        ([33.333] * 6, [30, 40, 30, 30, 40, 30]),
        ([100, 10, 0, 250], [100, 10, 0, 250]),
        ([5, 5, 700_000, 47], [20, 20, 655_350, 50]),
    ],
)
def test_times_of_a_gif_are_rounded_to_hundredths(times, right):
    """Together they last as long; what browsers would show for longer, because it is so short, gets 20 ms."""
    file = io.BytesIO()
    shared = Animation(len(times), 0, False, Metadata(), WriteOptions(), 1)
    with open_animation(file, "GIF", shared, overwrite=False) as writer:
        for number, time in enumerate(times):
            writer.add(Drawn(np.full((4, 4, 3), 9 * number, np.uint8), None, [(0, 0, 4, 4)], time))
    assert [duration for _, duration in frames_of(file)] == right
    assert any("hundredths" in note for note in writer.notes) == (times != right)


def test_an_opaque_alpha_channel_stays(tmp_path):
    frames = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in pictures()]
    written = sharpbit.upscale(save(tmp_path / "a.png", frames, duration=DURATIONS))
    with Image.open(written) as image:
        assert (image.mode, image.n_frames) == ("RGBA", 4)  # Pillow joins the two that are equal


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("ending", ["gif", "png", "tif"])
def test_frames_before_a_damaged_one_are_upscaled_and_the_rest_is_noted(tmp_path, ending, share):
    rng = np.random.default_rng(0)
    source = save(tmp_path / f"a.{ending}", rng.integers(0, 256, (3, 32, 48, 3), np.uint8))
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    written, report = sharpbit.upscale(source, report=True)
    assert any("left out (damaged)" in note for note in report.notes)
    with Image.open(written) as image:
        assert image.n_frames == int(3 * share)


@pytest.mark.parametrize(("ending", "width"), [("gif", 40_000), ("webp", 8_200)])
def test_an_animation_that_is_too_wide_for_its_format_is_refused_before_the_work(tmp_path, monkeypatch, ending, width):
    monkeypatch.setattr(sequence, "open_sequence", lambda *given: pytest.fail("it was read"))
    source = save(tmp_path / f"a.{ending}", np.arange(6 * width, dtype=np.uint8).reshape(2, 1, width, 3), loop=0)
    with pytest.raises(ImageError, match=f"{ending.upper()} holds at most .* pixels a side"):
        sharpbit.upscale(source)


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


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (2, 3)])
def test_another_format_shows_an_animation_as_often(tmp_path, loop, plays):
    """A GIF file says how often it is repeated, and nothing where it is shown once; others how often it is shown."""
    options = {} if loop is None else {"loop": loop}
    source = save(tmp_path / "a.gif", pictures()[:2], duration=50, **options)
    for ending in ("png", "webp"):
        written = sharpbit.upscale(source, tmp_path / f"b.{ending}", scale=1)
        with Image.open(written) as image:
            assert image.info["loop"] == plays
        with Image.open(sharpbit.upscale(written, tmp_path / f"{ending}.gif", scale=1)) as image:
            assert image.info.get("loop") == loop


def test_a_default_image_is_no_frame_of_other_formats(tmp_path):
    source = save(tmp_path / "a.png", pictures()[:3], duration=[50, 70], default_image=True)
    for ending in ("gif", "webp"):
        written = sharpbit.upscale(source, tmp_path / f"b.{ending}", model="x2-clean-balanced")
        assert [duration for _, duration in frames_of(written)] == [50, 70]


def test_each_page_keeps_what_it_says(tmp_path):
    """Two pages whose numbers mean other colours, and whose resolutions differ."""
    profiles = [ColourSpace(cicp=(primaries, 13, 0, 1)).profile(3) for primaries in (12, 9)]
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "a.tif", new=True) as pages:
        for number, profile in enumerate(profiles):
            page = Image.new("RGB", (10, 8), (200, 30, 60))
            page.save(pages, "TIFF", icc_profile=profile, dpi=(100 + number, 100 + number))
            pages.newFrame()
    written = sharpbit.upscale(tmp_path / "a.tif")
    with Image.open(written) as image:
        for number, profile in enumerate(profiles):
            image.seek(number)
            assert image.info["icc_profile"] == profile
            assert image.info["dpi"] == (100 + number, 100 + number)
    assert (
        made_by(written) == sharpbit.upscale(tmp_path / "a.tif", tmp_path / "b.tif", report=True)[1].models[0] + " x2"
    )


def test_an_animation_of_other_colours_is_converted_for_gif(tmp_path):
    """Display P3 marked by cICP; what GIF cannot hold of it is said."""
    frames = [np.full((8, 10, 4), (200, 30, 60, alpha), np.uint8) for alpha in (255, 100)]
    data = save(tmp_path / "a.png", frames, duration=50).read_bytes()
    chunk = b"cICP" + bytes([12, 13, 0, 1])
    (tmp_path / "a.png").write_bytes(data[:33] + b"\0\0\0\4" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:])
    written, report = sharpbit.upscale(tmp_path / "a.png", tmp_path / "a.gif", report=True)
    right = ColourSpace(cicp=(12, 13, 0, 1)).profile(3)
    expected = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (200, 30, 60)),
        ImageCms.ImageCmsProfile(io.BytesIO(right)),
        ImageCms.createProfile("sRGB"),
    ).getpixel((0, 0))
    with Image.open(written) as image:
        assert np.abs(np.subtract(image.convert("RGB").getpixel((9, 9)), expected)).max() <= 1
    assert "colours converted to sRGB (GIF holds no other)" in report.notes
    assert any("alpha of one bit" in note for note in report.notes)


def make_linear(path):
    """Say of a PNG file that its codes are linear light."""
    data, chunk = path.read_bytes(), b"gAMA" + (100000).to_bytes(4, "big")
    path.write_bytes(data[:33] + b"\0\0\0\4" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:])


def test_an_animation_in_linear_light_is_that_of_stills(tmp_path):
    make_linear(save(tmp_path / "a.png", pictures()[:2], duration=50))
    still = sharpbit.upscale(read_as_still(tmp_path / "a.png", tmp_path / "still.png"), model="x2-clean-balanced")
    written = sharpbit.upscale(tmp_path / "a.png", model="x2-clean-balanced")
    with Image.open(written) as image, Image.open(still) as one:
        assert np.array_equal(np.asarray(image), np.asarray(one))


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_dark_tones_of_an_animation_in_linear_light_survive_8_bits(tmp_path, ending):
    """By the formula of IEC 61966-2-1; lossy WebP would take a code or two from each, which is a lot in the dark."""
    levels = [2, 6, 20, 60, 200]
    frames = [np.full((32, 160, 3), 90, np.uint8) for _ in range(2)]
    for number, frame in enumerate(frames):
        for place, level in enumerate(levels):
            frame[:, 32 * place : 32 * (place + 1)] = level + number
    make_linear(save(tmp_path / "a.png", frames, duration=50))
    written, report = sharpbit.upscale(tmp_path / "a.png", tmp_path / f"b.{ending}", report=True)
    note = "colours converted to sRGB (GIF holds no other)"
    assert report.notes.count(note) == (ending == "gif")
    for number, (image, _) in enumerate(frames_of(written)):
        for place, level in enumerate(levels):
            light = (level + number) / 255
            right = 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)
            assert np.abs(np.subtract(image.getpixel((64 * place + 32, 32))[:3], right)).max() <= 2
    with Image.open(written) as image:
        assert "icc_profile" not in image.info


def read_as_still(source, target):
    """The first frame of an APNG as a file of its own: without acTL and all that follows the first image data."""
    data, out, at = source.read_bytes(), source.read_bytes()[:8], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in (b"acTL", b"fcTL", b"fdAT"):
            out += data[at : at + 12 + size]
        at += 12 + size
    target.write_bytes(out)
    return target


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_files_that_are_open_are_sequences_too(tmp_path, ending):
    """Also those that cannot seek: all frames or pages, the same bytes as by the path."""
    source = save(tmp_path / f"a.{ending}", pictures()[:3])
    target = io.BytesIO()
    with source.open("rb") as file:
        sharpbit.upscale(file, target)
    assert target.getvalue() == sharpbit.upscale(source).read_bytes()

    class Pipe:
        def __init__(self, file):
            self.read = self.write = file.read if file.readable() and not file.writable() else file.write

    with source.open("rb") as file, (tmp_path / "out").open("wb") as out:
        sharpbit.upscale(Pipe(file), Pipe(out))
    assert (tmp_path / "out").read_bytes() == target.getvalue()


def test_pages_are_read_without_a_copy_of_the_file_for_each(tmp_path):
    """Decoders that take a file from memory copy all of it; this one lies on the disk."""
    page = Image.effect_noise((200, 200), 100).convert("RGB")
    source = tmp_path / "a.tif"
    page.save(source, save_all=True, append_images=[page] * 19)
    sequence = open_sequence(source)
    tracemalloc.start()
    try:
        assert sum(1 for _ in sequence.frames()) == 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < source.stat().st_size


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_metadata_of_an_animation_has_the_size_of_its_frames(tmp_path, ending):
    block = Image.Exif()
    block.get_ifd(0x8769).update({0xA002: 160, 0xA003: 96})
    source = save(tmp_path / f"a.{ending}", pictures(), duration=50, exif=block.tobytes())
    with Image.open(sharpbit.upscale(source)) as image:
        sizes = image.getexif().get_ifd(0x8769)
        assert (sizes[0xA002], sizes[0xA003]) == (320, 192)
