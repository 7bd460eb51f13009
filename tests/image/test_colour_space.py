"""The colours that a result shows are those that its image showed, in every format and however they are described."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_samples import encoded, with_chunk
from PIL import Image, ImageCms

import sharpbit
from sharpbit.errors import ImageError
from sharpbit.image import ImageData, Metadata, from_pil, open_writer, read, to_pil
from sharpbit.image.avif import not_kept
from sharpbit.image.space import ADOBE, SRGB, ColourSpace, of_nclx

P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
PATCHES = np.array([[128, 128, 128], [200, 90, 60], [60, 160, 90], [70, 80, 190], [20, 20, 20], [235, 240, 228]])
SPACES = {
    "cicp_p3": ColourSpace(cicp=(12, 13, 0, 1)),
    "cicp_2020": ColourSpace(cicp=(9, 1, 0, 1)),
    "gama_linear": ColourSpace(gamma=1.0),
    "gama_18": ColourSpace(gamma=0.55556),
    "chrm_p3": ColourSpace(gamma=0.45455, chromaticities=P3),
    "chrm_alone": ColourSpace(chromaticities=P3),
    "srgb": ColourSpace(intent=0),
    "nothing": ColourSpace(),
}


def srgb_light(code):
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def srgb_code(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries):
    white, *mixed = (
        np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(primaries[::2], primaries[1::2], strict=True)
    )
    return np.array(mixed).T * np.linalg.solve(np.array(mixed).T, white)


def pq_light(code):
    root = code ** (32 / 2523)
    return (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610) * 10000 / 203


def shown(codes, name):
    """The codes of sRGB, 0 to 255, that look like `codes` of 0 to 255 in one of `SPACES`."""
    x = np.asarray(codes, float) / 255
    light, primaries = {
        "cicp_p3": (srgb_light, P3),
        "cicp_2020": (lambda x: np.where(x < 0.081, x / 4.5, ((x + 0.099) / 1.099) ** (1 / 0.45)), BT2020),
        "cicp_pq": (pq_light, BT2020),
        "gama_linear": (lambda x: x, SRGB),
        "gama_18": (lambda x: x**1.8, SRGB),
        "chrm_p3": (lambda x: x ** (1 / 0.45455), P3),
        "chrm_alone": (srgb_light, P3),
        "adobe": (lambda x: x ** (563 / 256), ADOBE),
    }.get(name, (srgb_light, SRGB))
    return srgb_code(np.clip(light(x), 0, 1) @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T) * 255


def patches(channels=3, codes=PATCHES):
    pixels = np.repeat(np.repeat(codes.reshape(2, 3, 3), 16, 0), 16, 1).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., :channels])


def middles(pixels):
    """The colours in the middle of the patches, of an image of any size."""
    high, wide = pixels.shape[0] // 2, pixels.shape[1] // 3
    return np.array([pixels[high * y + high // 2, wide * x + wide // 2] for y in range(2) for x in range(3)])


def png(pixels, *chunks):
    target = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(target, "PNG")
    data = b"".join(
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return target.getvalue()[:33] + data + target.getvalue()[33:]


def chunks_of(data):
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">L", data, at)
        chunks[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return chunks


def written(kind, pixels, colour):
    target = io.BytesIO()
    height, width, channels = pixels.shape
    how = {"height": height, "width": width, "channels": channels, "alpha": False, "dtype": pixels.dtype}
    with open_writer(target, kind, **how, metadata=Metadata(colour=colour)) as writer:
        writer.write(pixels)
    return target.getvalue(), writer.notes


def displayed(data):
    """What a program that knows ICC profiles shows: codes of sRGB."""
    with Image.open(io.BytesIO(data)) as image:
        icc = image.info.get("icc_profile")
        image = image.convert("L" if icc and icc[16:20] == b"GRAY" else "RGB")
    if icc:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), 1, "RGB")
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_formats_without_such_marks_show_the_same(kind, name):
    data, notes = written(kind, patches(), SPACES[name])
    off = np.abs(middles(displayed(data)) - shown(PATCHES, name)).max(1)
    if name == "gama_linear":
        off = off[:4]  # tones next to white, and the darkest: a code of compression is several of sRGB
    assert off.max() <= {"JPEG": 2, "WEBP": 5}.get(kind, 1)
    converted = kind in ("BMP", "GIF") and name not in ("srgb", "nothing")
    assert notes == ((f"colours converted to sRGB ({kind} holds no other)",) if converted else ())


@pytest.mark.parametrize("name", SPACES)
def test_png_keeps_what_it_was_given(name):
    data, notes = written("PNG", patches(), SPACES[name])
    assert notes == ()
    back = read(data)
    assert back.metadata.colour == SPACES[name]
    assert np.array_equal(back.pixels, patches())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["gama_linear", "gama_18", "cicp_p3"])
def test_grey_too(name, channels):
    data, _ = written("TIFF", patches(channels), SPACES[name])
    assert np.abs(middles(displayed(data))[[0, 4]] - shown(PATCHES[[0, 4]], name)).max() <= 1
    data, _ = written("BMP", patches(channels), SPACES[name])
    assert np.abs(middles(displayed(data))[[0, 4]] - shown(PATCHES[[0, 4]], name)).max() <= 1


def test_avif_says_it_by_numbers():
    data, _ = written("AVIF", patches(), ColourSpace(cicp=(12, 16, 0, 1)))
    at = data.index(b"colrnclx") + 8
    assert struct.unpack_from(">HH", data, at) == (12, 16)
    back = read(data)
    assert back.metadata.colour.cicp[:2] == (12, 16)
    assert np.abs(middles(back.pixels) - PATCHES).max() <= 3
    png_data, _ = written("PNG", back.pixels, back.metadata.colour)
    assert chunks_of(png_data)[b"cICP"] == bytes([12, 16, 0, 1])
    assert read(written("AVIF", patches(), ColourSpace())[0]).metadata.colour == ColourSpace()
    assert of_nclx(2, 2, 6, 1) is None and of_nclx(12, 2, 6, 0) == (12, 13, 6, 0)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "BMP"])
def test_hdr_is_shown_up_to_white(kind):
    """PQ codes up to 0.58 are not brighter than paper; a profile shows them as they are."""
    codes = PATCHES * 0.5
    data, _ = written(kind, patches(codes=codes), ColourSpace(cicp=(9, 16, 0, 1)))
    expected = shown(codes.astype(np.uint8), "cicp_pq")
    assert np.abs(middles(displayed(data)) - expected).max() <= (1 if kind in ("TIFF", "BMP") else 12)
    if kind != "BMP":
        with Image.open(io.BytesIO(data)) as image:
            assert image.info["icc_profile"].count(b"cicp") == 2  # in the table, and at the tag


def test_what_no_profile_can_say_is_a_note():
    for cicp in ((9, 10, 0, 1), (77, 13, 0, 1), (1, 13, 0, 0)):
        _, notes = written("JPEG", patches(), ColourSpace(cicp=cicp))
        assert len(notes) == 1 and "left out (JPEG cannot describe" in notes[0]
        assert written("PNG", patches(), ColourSpace(cicp=cicp))[1] == ()
    for bad in ((0.3, 0.3, 0.6, 0.3, 0.6, 0.3, 0.1, 0.1), (0.3, 0, 0.6, 0.3, 0.2, 0.7, 0.1, 0.1)):
        with pytest.raises(ImageError):
            ColourSpace(chromaticities=bad).profile(3)
        assert "left out" in written("GIF", patches(), ColourSpace(chromaticities=bad))[1][0]


@pytest.mark.parametrize("gamma", [1, 4000, 2**32 - 1])
def test_a_gamma_that_makes_no_sense_costs_the_mark_alone(gamma):
    image = read(png(patches(), (b"gAMA", struct.pack(">L", gamma)), (b"cHRM", bytes(range(200, 232)))))
    for kind in ("JPEG", "TIFF", "BMP"):
        assert "left out" in written(kind, image.pixels, image.metadata.colour)[1][0]
    assert written("PNG", image.pixels, image.metadata.colour)[1] == ()


def test_adobe_rgb_of_cameras():
    """Cameras say it in EXIF alone; a result that other programs open needs more."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    target = io.BytesIO()
    Image.fromarray(patches()).save(target, "TIFF")
    Image.fromarray(patches()).save(target := io.BytesIO(), "JPEG", quality=100, subsampling=0, exif=exif)
    image = read(target.getvalue())
    assert image.metadata.colour == ColourSpace(gamma=256 / 563, chromaticities=ADOBE)
    for kind in ("TIFF", "JPEG"):
        data, _ = written(kind, image.pixels, image.metadata.colour)
        assert np.abs(middles(displayed(data)) - shown(middles(image.pixels), "adobe")).max() <= 2
    assert b"Adobe" not in written("PNG", image.pixels, image.metadata.colour)[0]
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    Image.fromarray(patches()).save(target := io.BytesIO(), "JPEG", exif=exif)
    assert read(target.getvalue()).metadata.colour == ColourSpace()


def test_grey_with_an_rgb_profile_shows_the_same_grey():
    profile = ColourSpace(gamma=1 / 1.8, chromaticities=P3).profile(3)
    target = io.BytesIO()
    grey = np.array([30, 128, 220]).repeat(8)[None].repeat(8, 0).astype(np.uint8)
    Image.fromarray(grey).save(target, "PNG", icc_profile=profile)
    image = read(target.getvalue())
    assert image.notes == ("RGB profile of a grey image replaced by its curve for grey",)
    back = displayed(written("PNG", image.pixels, image.metadata.colour)[0])
    assert np.abs(back[4, ::8] - shown(np.array([[30] * 3, [128] * 3, [220] * 3]), "gama_18")).max() <= 1


def test_pillow_images_get_a_profile():
    image = to_pil(patches(), None, Metadata(colour=SPACES["cicp_p3"]))
    target = io.BytesIO()
    image.save(target, "PNG")
    assert np.abs(middles(displayed(target.getvalue())) - shown(PATCHES, "cicp_p3")).max() <= 1


def test_pillow_images_of_a_file_have_all_its_marks(tmp_path):
    (tmp_path / "a.png").write_bytes(png(patches(), (b"cICP", bytes([12, 13, 0, 1]))))
    with Image.open(tmp_path / "a.png") as image:
        large = sharpbit.upscale(image)
        assert from_pil(image.convert("RGB")).metadata.colour == ColourSpace()  # Pillow knows no more of it
    target = io.BytesIO()
    large.save(target, "TIFF", icc_profile=large.info["icc_profile"])
    assert np.abs(middles(displayed(target.getvalue())) - shown(PATCHES, "cicp_p3")).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_linear_light_goes_through_the_network_as_srgb(dtype):
    """An edge in linear light is upscaled as the same edge in sRGB, which networks know; flat colours stay."""
    most = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    code = np.full((24, 30, 3), 40) / 255
    code[:, 15:] = 210 / 255
    linear = srgb_light(code) * most
    linear = (np.rint(linear) if most > 1 else linear).astype(dtype)
    upscaler = sharpbit.Upscaler(size=sharpbit.Size(2))
    rows = list(upscaler.strips(ImageData(linear, None, Metadata(colour=ColourSpace(gamma=1.0)), (), "array")))
    out = np.concatenate([strip for strip, _ in rows])
    assert out.dtype == dtype
    plain = np.concatenate(
        [
            strip
            for strip, _ in upscaler.strips(
                ImageData((code * 255).round().astype(np.uint8), None, Metadata(), (), "array")
            )
        ]
    )
    assert np.abs(srgb_code(out / most) * 255 - plain).max() <= (6 if dtype == np.uint8 else 3)
    assert np.abs(out[:, :20].astype(float) - float(linear[0, 0, 0])).max() <= most / 255


NAMES = ["cicp_p3", "cicp_pq", "gama_linear", "chrm_p3", "srgb_chunk", "grey_rgbicc"]


@pytest.mark.parametrize("name", NAMES)
def test_reported_images_keep_their_marks(shared, tmp_path, name):
    source = shared / "data" / "reports" / "pictures" / f"{name}.png"
    result = Path(sharpbit.upscale(source, tmp_path / "out.png"))
    before, after = chunks_of(source.read_bytes()), chunks_of(result.read_bytes())
    assert before.keys() & {b"cICP", b"gAMA", b"cHRM", b"sRGB", b"iCCP"} == after.keys() & {
        *(b"cICP", b"gAMA", b"cHRM", b"sRGB", b"iCCP")
    }
    for kind in (b"cICP", b"gAMA", b"cHRM", b"sRGB"):
        assert before.get(kind) == after.get(kind)
    assert np.abs(displayed(result.read_bytes()).mean((0, 1)) - displayed(source.read_bytes()).mean((0, 1))).max() <= 1


def test_the_reported_avif(shared, tmp_path):
    source = shared / "data" / "reports" / "pictures" / "nclx_p3pq.avif"
    result = Path(sharpbit.upscale(source, tmp_path / "out.png"))
    assert chunks_of(result.read_bytes())[b"cICP"] == bytes([12, 16, 0, 1])
    result = Path(sharpbit.upscale(source, tmp_path / "out.avif"))
    assert read(result).metadata.colour.cicp[:2] == (12, 16)


def test_the_light_of_hdr_images_is_kept_or_noted(tmp_path):
    """The chunks mDCV and cLLI (PNG 3, 11.3.2.7 and 8): PNG keeps them, other formats do not."""
    mastering, light = bytes(range(24)), struct.pack(">II", 10_000_000, 4_000_000)
    data = encoded(Image.new("RGB", (8, 6), (90, 80, 70)), "PNG")
    for kind, body in ((b"cLLI", light), (b"mDCV", mastering), (b"cICP", bytes([9, 16, 0, 1]))):
        data = with_chunk(data, kind, body)
    (tmp_path / "a.png").write_bytes(data)
    colour = read(sharpbit.upscale(tmp_path / "a.png")).metadata.colour
    assert (colour.mastering, colour.light, colour.cicp) == (mastering, light, (9, 16, 0, 1))
    for ending in ("jpg", "tif", "avif", "webp"):
        _, report = sharpbit.upscale(tmp_path / "a.png", tmp_path / f"b.{ending}", report=True)
        assert sum("mastering display" in note for note in report.notes) == 1


def test_what_avif_holds_beside_its_image_is_noted():
    def box(kind, body):
        return struct.pack(">L4s", len(body) + 8, kind) + body

    properties = box(b"ipco", box(b"ispe", bytes(12)) + box(b"clli", bytes(4)))
    items = bytes(6) + box(b"infe", b"\x02\0\0\0\0\x02\0\0tmap\0")
    meta = box(b"meta", bytes(4) + box(b"iinf", items) + box(b"iprp", properties))
    head = box(b"ftyp", b"avif\0\0\0\0avif")
    assert not_kept(io.BytesIO(head + meta)) == [
        "gain map left out",
        "brightness of the mastering display and the light left out",
    ]
    plain = encoded(Image.new("RGB", (8, 6)), "AVIF")
    assert not_kept(io.BytesIO(plain)) == []
    assert read(plain).notes == ()


@pytest.mark.parametrize("ending", ["jpg", "webp", "avif", "gif", "bmp"])
@pytest.mark.parametrize("how", ["gamma", "cicp", "profile"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_dark_tones_of_linear_light_survive_formats_of_8_bits(tmp_path, ending, how, dtype):
    """As light, the darkest of them is 0.4 of 255: such formats get codes of sRGB."""
    shown = np.array([30, 60, 120, 200] if dtype == np.uint8 else [6, 30, 90, 200])
    most = np.iinfo(dtype).max
    light = np.rint(srgb_light(shown / 255) * most).astype(dtype)
    shown = np.rint(255 * srgb_code(light / most))
    space = {"gamma": ColourSpace(gamma=1.0), "cicp": ColourSpace(cicp=(1, 8, 0, 1))}
    space["profile"] = ColourSpace(icc=space["gamma"].profile(3))
    rows = light[None, :, None].repeat(32, 0).repeat(16, 1).repeat(3, 2)
    with open_writer(
        tmp_path / f"a.{ending}",
        {"jpg": "JPEG"}.get(ending, ending.upper()),
        height=32,
        width=64,
        channels=3,
        alpha=False,
        dtype=dtype,
        metadata=Metadata(colour=space[how]),
    ) as writer:
        writer.write(rows)
    with Image.open(tmp_path / f"a.{ending}") as image:
        seen = image.convert("RGB")
        if "icc_profile" in image.info:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            seen = ImageCms.profileToProfile(seen, profile, ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(seen)[16, 8::16].astype(int) - shown[:, None]).max() <= 1
