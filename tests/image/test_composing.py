"""Frames as they are seen: drawn, cleared, put back and blended as an independent compositor does it."""

import struct
import zlib

import numpy as np
import pytest
from image_samples import encoded
from PIL import Image

import sharpbit
from sharpbit.image import read
from sharpbit.image.sequence import open_sequence

HEIGHT, WIDTH = 30, 40
KEEP, CLEAR, BACK = range(3)


def composed(frames):
    """Each frame is its place, RGBA pixels, what happens after it, and whether it is laid over what is there."""
    canvas, seen = np.zeros((HEIGHT, WIDTH, 4), np.uint8), []
    for number, (top, left, pixels, after, blend) in enumerate(frames):
        rows, columns = slice(top, top + len(pixels)), slice(left, left + pixels.shape[1])
        before = canvas.copy()
        canvas[rows, columns] = over(canvas[rows, columns], pixels) if blend else pixels
        seen.append(canvas.copy())
        if after == CLEAR or (after == BACK and number == 0):
            canvas[rows, columns] = 0
        elif after == BACK:
            canvas = before
    return seen


def over(under, front):
    a, b = front[..., 3:] / 255, under[..., 3:] / 255 * (1 - front[..., 3:] / 255)
    colour = (front[..., :3] * a + under[..., :3] * b) / np.maximum(a + b, 1e-9)
    return np.rint(np.concatenate([colour, 255 * (a + b)], 2)).astype(np.uint8)


def scene(rng, seen_alphas, afters, whole_first, even=False):
    frames = []
    for number in range(5):
        height, width = (HEIGHT, WIDTH) if number == 0 and whole_first else rng.integers(4, 20, 2)
        top, left = rng.integers(0, [HEIGHT - height + 1, WIDTH - width + 1]) // (2 if even else 1) * (2 if even else 1)
        pixels = np.empty((height, width, 4), np.uint8)
        for part in (pixels, pixels[: height // 2]):
            part[...] = [*rng.integers(0, 256, 3), rng.choice(seen_alphas)]
        frames.append((int(top), int(left), pixels, int(rng.choice(afters)), bool(rng.integers(0, 2))))
    return frames


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def apng(frames):
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 6, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"acTL", struct.pack(">II", len(frames), 0))
    count = 0
    for number, (top, left, pixels, after, blend) in enumerate(frames):
        height, width = pixels.shape[:2]
        place = struct.pack(">IIIIIHHBB", count, width, height, left, top, 50, 1000, after, blend)
        body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
        out += chunk(b"fcTL", place)
        out += chunk(b"fdAT", struct.pack(">I", count + 1) + body) if number else chunk(b"IDAT", body)
        count += 2 if number else 1
    return out + chunk(b"IEND", b"")


def webp(frames):
    def piece(kind, body):
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    def three(number):
        return struct.pack("<I", number)[:3]

    out = piece(b"VP8X", b"\x12\0\0\0" + three(WIDTH - 1) + three(HEIGHT - 1)) + piece(b"ANIM", bytes(6))
    for top, left, pixels, after, blend in frames:
        data = encoded(Image.fromarray(pixels), "WEBP", lossless=True, exact=True)
        at = data.index(b"VP8L")
        size = struct.unpack_from("<I", data, at + 4)[0]
        places = (left // 2, top // 2, pixels.shape[1] - 1, pixels.shape[0] - 1, 50)
        flags = bytes([(0 if blend else 2) | after])
        out += piece(b"ANMF", b"".join(map(three, places)) + flags + piece(b"VP8L", data[at + 8 : at + 8 + size]))
    return b"RIFF" + struct.pack("<I", len(out) + 4) + b"WEBP" + out


def lzw(indices):
    """Codes of three bits that never grow: the table is cleared after every two."""
    codes = [code for at in range(0, len(indices), 2) for code in (4, *indices[at : at + 2])] + [5]
    bits = np.array([[code >> k & 1 for k in range(3)] for code in codes], np.uint8).ravel()
    data = np.packbits(bits, bitorder="little").tobytes()
    blocks = [data[at : at + 255] for at in range(0, len(data), 255)]
    return b"\x02" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def gif(frames):
    """Each frame with a palette of its own colours; those of alpha 0 are transparent."""
    out = b"GIF89a" + struct.pack("<HHBBB", WIDTH, HEIGHT, 0, 3, 0)
    for top, left, pixels, after, _ in frames:
        height, width = pixels.shape[:2]
        seen = pixels * (pixels[..., 3:] > 0)  # one colour is transparent
        colours, indices = np.unique(seen.reshape(-1, 4), axis=0, return_inverse=True)
        clear = np.flatnonzero(colours[:, 3] == 0)
        control = struct.pack("<BHB", ((0, 2, 3)[after] << 2) | (len(clear) > 0), 5, clear[0] if len(clear) else 0)
        place = struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0x81)  # four colours
        palette = colours[:, :3].tobytes().ljust(12, b"\0")
        out += b"!\xf9\x04" + control + b"\0" + place + palette + lzw(indices.ravel())
    return out + b";"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_frames_are_what_is_seen(tmp_path, kind, seed):
    rng = np.random.default_rng(seed)
    alphas, afters = {
        "gif": ([255, 255, 0], [KEEP, CLEAR, BACK]),
        "png": ([255, 0, 90, 128], [KEEP, CLEAR, BACK]),
        "webp": ([255, 0, 90, 128], [KEEP, CLEAR]),
    }[kind]
    frames = scene(rng, alphas, afters, whole_first=kind == "png" or seed % 2, even=kind == "webp")
    if kind == "gif":
        frames = [(*frame[:4], True) for frame in frames]
    (tmp_path / "a").write_bytes({"gif": gif, "png": apng, "webp": webp}[kind](frames))
    found = [frame.image for frame in open_sequence(tmp_path / "a").frames()]
    assert len(found) == 5
    still = read(tmp_path / "a")  # what formats that hold one image get
    for image, right in zip([*found, still], [*composed(frames), composed(frames)[0]], strict=True):
        alpha = np.full(right.shape[:2], 255) if image.alpha is None else image.alpha.astype(int)
        assert np.abs(alpha - right[..., 3]).max() <= 3
        off = np.abs(image.pixels.astype(int) - right[..., :3]) * (right[..., 3:] > 0)
        assert off.max() <= (0 if kind == "gif" else 4)


def test_an_animation_of_16_bits_keeps_them(tmp_path):
    png = apng([(0, 0, np.full((HEIGHT, WIDTH, 4), 90, np.uint8), KEEP, False)] * 2)
    deep = png.replace(struct.pack(">IIBB", WIDTH, HEIGHT, 8, 6), struct.pack(">IIBB", WIDTH // 2, HEIGHT, 16, 6))
    deep = deep.replace(struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", WIDTH // 2, HEIGHT))
    out, at = deep[:8], 8
    while at < len(deep):  # the checksums of what was changed
        size = int.from_bytes(deep[at : at + 4], "big")
        out += chunk(deep[at + 4 : at + 8], deep[at + 8 : at + 8 + size])
        at += 12 + size
    (tmp_path / "a.png").write_bytes(out)
    for frame in open_sequence(tmp_path / "a.png").frames():
        assert frame.image.pixels.shape == (HEIGHT, WIDTH // 2, 3)
        assert frame.image.pixels.dtype == np.uint16
        assert (frame.image.pixels == 90 * 257).all()
    with Image.open(sharpbit.upscale(tmp_path / "a.png")) as image:
        assert image.n_frames == 2
    for ending in ("gif", "webp"):
        _, report = sharpbit.upscale(tmp_path / "a.png", tmp_path / f"b.{ending}", report=True)
        assert any("16 were rounded to 8" in note for note in report.notes)
        with Image.open(tmp_path / f"b.{ending}") as image:
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - 90).max() <= 2


def test_a_grey_animation_is_grey(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)  # all of them, so that the palette is that of a grey image
    frames = [Image.fromarray(levels), Image.fromarray(levels[::-1].copy())]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")])
    for name, mode in (("a", "L"), ("b", "RGB")):
        with Image.open(sharpbit.upscale(tmp_path / f"{name}.gif", tmp_path / f"{name}.png")) as image:
            assert (image.mode, image.n_frames) == (mode, 2)
