"""The scripts of the page that `deploy --to web` writes, each beside what it repeats of Python."""

import base64
import io

import numpy as np
import pytest
from browsing import DEMO, sums
from PIL import Image

import integer_files
import integer_graphs
from sharpbit import zoo
from sharpbit.deployment import web
from sharpbit.image import ImageData, Metadata, compression
from sharpbit.image.resize import resize
from sharpbit.modelfile import integer_file
from sharpbit.pipeline import choose
from sharpbit.runtime import native

pytestmark = [
    pytest.mark.slow,  # a browser starts
    pytest.mark.skipif(not native.available(), reason=native.why_not()),
]


def test_the_choice_of_a_model_and_bicubic_are_those_of_python(browser, tmp_path):
    page = browser.new_page()
    source = "\n".join((web.HERE / f"{name}.js").read_text() for name in ("choose", "worker"))
    page.evaluate(
        f"window.made = new Function({source!r} + '; return {{compression, choice, measured, sampled, bicubic}}')()"
    )
    page.evaluate(f"window.bytes = {BYTES}")
    found = set()
    for number, image in enumerate(images()):
        out = io.BytesIO()
        quality = (None, 60, 85, 95)[number % 4]
        Image.fromarray(image).save(
            out, *(["PNG"] if quality is None else ["JPEG"]), **({"quality": quality} if quality else {})
        )
        opened = Image.open(io.BytesIO(out.getvalue()))
        pixels = np.asarray(opened.convert("RGB"))
        rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
        measures, (family, why) = page.evaluate(
            """([pixels, width, height, file]) => {
                const image = {pixels: bytes(pixels), width, height}, lossy = made.compression(bytes(file));
                const {family, why} = made.choice(image, lossy, ["art", "clean", "photo"]);
                return [made.measured(made.sampled(image.pixels, width, height)), [family, why]];
            }""",
            [text(rgba), pixels.shape[1], pixels.shape[0], text(out.getvalue()[:5000])],
        )
        data = ImageData(pixels, None, Metadata(), (), opened.format, compression=compression.compression_of(opened))
        for name, value in vars(choose.measured(choose.sample(data))).items():
            assert measures[name] == pytest.approx(value, rel=1e-3, abs=2e-3), name
        chosen = choose.choose(data, zoo.families(2))
        assert (family, why) == (chosen.family, chosen.why)
        found.add(why)
    assert len(found) >= 5, found
    small = sums(20, 24, 3)
    rgba = np.dstack([small, np.full(small.shape[:2], 255, np.uint8)])
    made = page.evaluate(
        "([pixels]) => [...made.bicubic(pixels, {width: 24, height: 20, halo: 4}, 3)]", [rgba.ravel().tolist()]
    )
    wanted = np.clip(np.rint(resize(small.astype(np.float64), 60, 72)), 0, 255)[12:-12, 12:-12]
    assert np.abs(np.reshape(made, wanted.shape) - wanted).max() <= 1
    page.close()


BYTES = "(text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))"


def text(data):
    return base64.b64encode(bytes(data)).decode()


def images():
    """Photos, noise, drawings and tiny ones."""
    demo = np.asarray(Image.open(DEMO).convert("RGB"))
    flat = np.full((90, 120, 3), 240, np.uint8)
    flat[20:60, 30:90] = (200, 30, 40)
    flat[40:44, ::5] = 0
    yield from (demo, demo, demo, demo[:100, :77], flat, flat, flat)
    yield np.asarray(Image.fromarray(demo).resize((150, 100)).resize((312, 208)))
    yield np.random.default_rng(1).integers(0, 256, (50, 60, 3), np.uint8)
    yield demo[:5, :9]
    yield demo[:9, :20]
    yield sums(40, 200, 3)
    yield np.asarray(Image.fromarray(demo).resize((624, 416), Image.Resampling.BICUBIC))


def test_every_operator_gives_in_a_browser_what_it_gives_here(browser):
    """Chains and graphs, with all numbers that there can be."""
    page = browser.new_page()
    names = "engine: (bytes) => { engine = new WebAssembly.Module(bytes); }, take: (more) => { models = more; }, run"
    page.evaluate(f"window.made = new Function({web.worker()!r} + '; return {{{names}}}')()")
    page.evaluate(f"window.bytes = {BYTES}")
    page.evaluate("(text) => made.engine(bytes(text))", text((web.HERE / "engine.wasm").read_bytes()))
    networks = [integer_files.chain(scale=scale, depth=3, channels=20) for scale in (2, 3)]
    networks += [make(seed, seed == 2) for make in integer_graphs.GRAPHS.values() for seed in (1, 2)]
    image = sums(21, 30, 3, seed=4)
    for number, network in enumerate(networks):
        made = page.evaluate(
            """([number, network, image]) => {
                made.take({[number]: bytes(network)});
                const pixels = bytes(image), tile = {width: 30, height: 21, halo: 0};
                const out = made.run(String(number), (at) => pixels[3 * (at >> 2) + (at & 3)], tile);
                return btoa(Array.from(out, (byte) => String.fromCharCode(byte)).join(""));
            }""",
            [number, text(integer_file.payload(network)), text(image)],
        )
        wanted = native.NativeRuntime(network).run(image)
        assert base64.b64decode(made) == wanted.tobytes(), number
    page.close()
