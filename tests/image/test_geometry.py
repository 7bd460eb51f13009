"""What metadata says about sizes follows the size of the result, and nothing is announced that is not there."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import sharpbit
from sharpbit.image import exif as exif_block
from sharpbit.image import read, xmp

PANO = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:G="http://ns.google.com/photos/1.0/panorama/" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" G:FullPanoWidthPixels = \'400\' G:InitialViewHeadingDegrees="40" '
    b'G:CroppedAreaLeftPixels="7" tiff:ImageWidth="30" tiff:Orientation="1">'
    b"<G:FullPanoHeightPixels> 200 </G:FullPanoHeightPixels>"
    b"<G:CroppedAreaImageHeightPixels>20</G:CroppedAreaImageHeightPixels>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def photo(path, size=(30, 20), **options):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1] // 5, size[0] // 5, 3), np.uint8)
    Image.fromarray(pixels.repeat(5, 0).repeat(5, 1)).save(path, **options)
    return path


def camera_exif():
    values = Image.Exif()
    values[0x0100], values[0x0101] = 30, 20
    inner = values.get_ifd(0x8769)
    inner[0xA002], inner[0xA003] = 30, 20
    inner[0x9214] = (10, 12, 4, 6)
    inner[0xA20E] = IFDRational(6001, 2)
    return values


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif"])
def test_sizes_in_metadata_follow_the_image(tmp_path, ending):
    source = photo(tmp_path / "a.jpg", xmp=PANO, exif=camera_exif())
    out = read(sharpbit.upscale(source, tmp_path / f"b.{ending}", scale=3))
    packet = out.metadata.xmp
    for part in (b"PanoWidthPixels = '1200'", b'LeftPixels="21"', b'tiff:ImageWidth="90"', b'HeadingDegrees="40"'):
        assert part in packet
    assert b"<G:FullPanoHeightPixels> 600 <" in packet and b"HeightPixels>60<" in packet
    values = Image.Exif()
    values.load(out.metadata.exif)
    inner = values.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == (90, 60)
    assert inner[0x9214] == (30, 36, 12, 18)
    assert inner[0xA20E] == pytest.approx(9001.5)
    if ending != "tif":
        assert (values[0x0100], values[0x0101]) == (90, 60)


def test_both_sides_have_their_own_factor(tmp_path):
    source = photo(tmp_path / "a.png")
    with Image.open(source) as image:
        image.info["xmp"] = PANO
        result = sharpbit.upscale(image, width=60, height=60)
    assert b"PanoWidthPixels = '800'" in result.info["xmp"]
    assert b"<G:FullPanoHeightPixels> 600 <" in result.info["xmp"]


def test_a_width_beyond_16_bits_needs_a_longer_number():
    block = exif_block.strip_prefix(camera_exif().tobytes())
    entries = exif_block.directory(block, exif_block.integer(block, exif_block.first_directory(block)[0x8769]))
    kind = exif_block.byte_order(block) + "H"
    assert struct.unpack_from(kind, block, entries[0xA002].start - 6) in ((3,), (4,))
    short = block[: entries[0xA002].start - 6] + struct.pack(kind, 3) + block[entries[0xA002].start - 4 :]
    short = short[: entries[0xA002].start] + struct.pack(kind, 30) + short[entries[0xA002].start + 2 :]
    values = Image.Exif()
    values.load(exif_block.resized(short, 70001, 70000))
    assert values.get_ifd(0x8769)[0xA002] == 70000
    assert values.get_ifd(0x8769)[0xA003] == 70001


def test_entries_that_point_at_the_header_are_passed_over():
    entry = struct.pack("<HHLL", 0x9214, 4, 4, 0) + struct.pack("<HHLL", 0xA20E, 5, 1, 4)
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHLL", 1, 0x8769, 4, 1, 26) + bytes(4) + b"\2\0" + entry + bytes(4)
    assert exif_block.resized(block, 20, 30, 2.0, 2.0) == block


def test_a_thumbnail_goes_where_the_shape_changes():
    block = b"II*\0\x08\0\0\0" + b"\0\0" + struct.pack("<L", 14) + b"\0\0" + bytes(4)
    assert exif_block.resized(block, 20, 30, 2.0, 2.0) == block
    assert exif_block.resized(block, 20, 30, 2.0, 3.0)[10:14] == bytes(4)


GAIN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" '
    b'xmlns:C="http://ns.google.com/photos/1.0/container/" xmlns:I="http://ns.google.com/photos/1.0/container/item/" '
    b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="ABC" h:Version="1.0" '
    b'GCamera:MotionPhoto="1" '
    b'dc:title="kept"><C:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><C:Item I:Semantic="Primary"/></rdf:li>'
    b'<rdf:li><C:Item I:Semantic="GainMap" I:Length="9"></C:Item></rdf:li></rdf:Seq></C:Directory></rdf:Description>'
    b"</rdf:RDF></x:xmpmeta>"
)


def test_what_is_not_there_is_not_announced():
    notes = []
    left = xmp.alone(GAIN, notes)
    assert set(notes) == {
        "gain map left out",
        "images and videos appended to the file left out",
        "continuation of the XMP block left out",
        "video left out",
    }
    for word in (b"GainMap", b"gain-map", b"container", b"MotionPhoto", b"Extended"):
        assert word not in left
    assert b'dc:title="kept"' in left
    assert xmp.alone(left, other := []) is left and other == []
    assert xmp.alone(PANO, other) is PANO and other == []


def test_a_packet_that_cannot_be_edited_goes(tmp_path):
    for broken in (GAIN.replace(b"</C:Directory>", b"<C:Directory/></C:Directory>"), GAIN + b"<" * 5000):
        notes = []
        left = xmp.alone(broken, notes)
        assert left is None or b"GainMap" not in left
        assert notes


def test_room_to_write_into_costs_no_time():
    room, end = (b" " * 100 + b"\n") * 500, b"</x:xmpmeta>"  # programs leave kilobytes, Photoshop sixteen and more
    begun = time.process_time()
    left = xmp.alone(GAIN.replace(end, room + end), [])
    assert time.process_time() - begun < 1
    assert left == xmp.alone(GAIN, []).replace(end, room + end)


def test_several_images_in_a_jpeg_are_not_announced(tmp_path):
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert b"MPF\0" in (tmp_path / "a.jpg").read_bytes()
    assert any("first of 2" in note for note in read(tmp_path / "a.jpg").still_notes)
    out = sharpbit.upscale(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert b"MPF\0" not in out.read_bytes()


def test_formats_without_metadata_say_so(tmp_path):
    target = io.BytesIO()
    photo(target, format="JPEG", xmp=PANO, exif=camera_exif())
    from sharpbit.image.fitting import fitted

    for kind in ("GIF", "BMP"):
        assert (
            f"EXIF and XMP left out ({kind} holds none)" in fitted(read(target.getvalue()).metadata, kind, 20, 30, 3)[1]
        )


def test_the_reported_panorama(shared, tmp_path):
    source = shared / "data" / "reports" / "pictures" / "gpano.jpg"
    packet = read(sharpbit.upscale(source, tmp_path / "out.jpg", scale=2)).metadata.xmp
    for name in ("FullPanoWidth", "CroppedAreaImageWidth"):
        assert b'GPano:%sPixels="320"' % name.encode() in packet
    for name in ("FullPanoHeight", "CroppedAreaImageHeight"):
        assert b'GPano:%sPixels="160"' % name.encode() in packet
    assert b'exif:PixelXDimension="320"' in packet and b'exif:PixelYDimension="160"' in packet


def test_the_reported_gain_map(shared, tmp_path):
    source = shared / "data" / "reports" / "pictures" / "ultrahdr.jpg"
    assert "gain map left out" in read(source).notes
    for ending in ("jpg", "png"):
        data = sharpbit.upscale(source, tmp_path / f"out.{ending}").read_bytes()
        assert not any(word in data for word in (b"hdrgm", b"GainMap", b"gain-map", b"MPF\0"))


def test_fractions_signs_and_attributes_in_a_packet():
    packet = b"""<x><G:FullPanoWidthPixels>2000.5</G:FullPanoWidthPixels><G:CroppedAreaLeftPixels r:type="int">-12
    </G:CroppedAreaLeftPixels><r G:CroppedAreaTopPixels='+7' G:FullPanoHeightPixels = "100"/></x>"""
    right = b"""<x><G:FullPanoWidthPixels>4001</G:FullPanoWidthPixels><G:CroppedAreaLeftPixels r:type="int">-24
    </G:CroppedAreaLeftPixels><r G:CroppedAreaTopPixels='21' G:FullPanoHeightPixels = "300"/></x>"""
    assert xmp.resized(packet, 2.0, 3.0) == right
