"""The page in a real browser: with mouse and keyboard, for two users, after a reload, small and dark.

SHARPBIT_SCREENSHOTS=docs/images makes the images of docs/use/serve.md again.
"""

import re
import time

import pytest
from browsing import DEMO, TIMEOUT, accessible, add, done, drawn, shot, sync_api, until
from serving import ROOT, picture, server

pytestmark = pytest.mark.slow  # a browser starts


@pytest.fixture(scope="module")
def address():
    with server() as (found, _):
        yield found


def test_from_the_first_tab_to_the_download_by_keyboard(visit, tmp_path):
    page = visit(viewport={"width": 1280, "height": 820})
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # asked for early, as a slow machine needs it
    accessible(page)
    page.keyboard.press("Tab")
    sync_api.expect(page.get_by_role("button", name="Add images")).to_be_focused()
    page.keyboard.press("Enter")
    deadline = time.monotonic() + TIMEOUT / 1000
    while not choosers and time.monotonic() < deadline:
        page.wait_for_timeout(30)
    choosers[0].set_files([DEMO])
    done(page)
    sync_api.expect(page.get_by_role("status")).to_have_text("demo.png is done: 624 × 416 pixels")
    panel = page.get_by_role("complementary")
    sync_api.expect(panel).to_contain_text("sharp and hardly compressed")
    sync_api.expect(panel).to_contain_text("x2-clean-balanced")
    sync_api.expect(panel).to_contain_text("312 × 208 → 624 × 416")
    accessible(page)
    shot(page, "serve-light")

    slider = page.get_by_role("slider", name="Divider between both sides")
    slider.focus()
    page.keyboard.press("ArrowRight")
    sync_api.expect(slider).to_have_attribute("aria-valuetext", "51 % Before, the rest After")
    page.keyboard.press("Home")
    after = drawn(page)
    page.keyboard.press("End")
    before = drawn(page)
    page.get_by_role("radio", name="Before").focus()
    page.keyboard.press("ArrowRight")
    sync_api.expect(slider).to_have_attribute("aria-valuetext", "100 % Bicubic, the rest After")
    until(page, "!!document.querySelector('sharpbit-compare').layers[0].whole")
    assert len({after, before, drawn(page)}) == 3

    page.get_by_role("radio", name="Fit").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('sharpbit-compare').scale") == 2
    middle = drawn(page)
    page.get_by_role("group", name="Image; arrow keys").focus()
    page.keyboard.press("ArrowLeft")
    assert drawn(page) != middle
    page.keyboard.press("0")
    sync_api.expect(page.get_by_role("radio", name="Fit")).to_be_checked()

    link = page.get_by_role("link", name="Download demo_x2.png")
    link.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "demo_x2.png"
    download.value.save_as(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_another_model_and_factor_and_all_in_an_archive(visit):
    page = visit()
    add(page, DEMO)
    done(page)
    page.get_by_label("Model").select_option("x3-art-balanced")
    page.get_by_label("Factor").select_option("3")
    page.get_by_label("Format").select_option("webp")
    page.get_by_role("button", name="Upscale this image again").click()
    page.get_by_role("link", name="Download demo_x3.webp").wait_for(timeout=TIMEOUT)
    sync_api.expect(page.get_by_role("complementary")).to_contain_text("936 × 624")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    assert download.value.suggested_filename == "sharpbit.zip"
    page.get_by_role("button", name="Remove all").click()
    page.get_by_text("Drop images here").wait_for()


def test_a_wrong_file_gets_its_sentence(visit):
    page = visit()
    add(page, ROOT / "README.md")
    sync_api.expect(page.get_by_role("alert")).to_have_text(re.compile("README.md is not an image of a known format"))
    accessible(page)
    page.get_by_role("button", name="Dismiss the message").click()
    sync_api.expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_role("button", name="Remove README.md").click()
    page.get_by_text("Drop images here").wait_for()


ENDLESS = """
import time
from sharpbit.app.cli import main
from sharpbit.pipeline.upscaler import Upscaler

strips = Upscaler.strips


def endless(self, image, name="image", progress=None):
    while name == "long.png":
        time.sleep(0.02)
        progress(0.0)  # which is where a job is cancelled
    yield from strips(self, image, name, progress)


Upscaler.strips = endless
main()
"""


def test_two_users_a_reload_in_the_midst_of_the_work_and_cancel(visit, tmp_path):
    """On a server that works on one image until it is cancelled, however slow the browser is."""
    (tmp_path / "long.png").write_bytes(picture())
    with server(code=ENDLESS) as (address, _):
        one, other = visit(address), visit(address)
        add(one, tmp_path / "long.png")
        until(one, "!!document.querySelector('.frame.running')")
        one.reload()
        one.get_by_role("button", name="Cancel long.png").wait_for()  # it is found again
        add(one, DEMO)
        until(one, "!!document.querySelector('.frame.done')")
        assert one.get_by_role("listitem").count() == 2
        assert other.get_by_role("listitem").count() == 0
        one.get_by_role("button", name="Cancel long.png").click()
        sync_api.expect(one.get_by_role("status")).to_have_text("long.png was removed")
        done(one)
        one.reload()
        done(one)  # also what is done
        add(other, DEMO)
        done(other)
        assert one.get_by_role("listitem").count() == 1


def test_a_phone_in_the_dark(visit):
    page = visit(viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2, has_touch=True)
    shot(page, "serve-empty")
    add(page, DEMO)
    done(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator(".compare-stage").bounding_box()
    page.touchscreen.tap(box["x"] + 30, box["y"] + 100)
    value = page.evaluate("document.querySelector('sharpbit-compare').divider.value")
    assert int(value) < 20
    page.locator(".compare-stage").evaluate("stage => stage.parentElement.splitAt(400)")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background))) < 150
    accessible(page)
    shot(page, "serve-phone", full_page=True)


def test_dark_on_a_desk(visit):
    page = visit(viewport={"width": 1280, "height": 820}, color_scheme="dark")
    add(page, DEMO)
    done(page)
    page.get_by_role("radio", name="200 %").check()
    accessible(page)
    shot(page, "serve-dark")


def test_a_large_result_comes_in_parts(visit, tmp_path):
    (tmp_path / "large.png").write_bytes(picture(1300, 900))
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    add(page, tmp_path / "large.png")
    done(page, "large.png")
    assert not [url for url in asked if "left=" in url]
    coarse = drawn(page)
    page.get_by_role("radio", name="100 %").check()
    until(page, "[...document.querySelector('sharpbit-compare').layers[1].tiles.values()].some(tile => tile.image)")
    assert [url for url in asked if "/after?left=" in url]
    assert len([url for url in asked if "left=" in url]) < 12  # of what is seen alone
    assert drawn(page) != coarse


def test_a_folder_and_a_token(visit, tmp_path):
    for name in ("a.png", "b/c.png", "notes.txt", "b/.hidden.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(picture())
    token = "0123456789abcdef"
    with server(env={"SHARPBIT_TOKEN": token}) as (address, _):
        page = visit(address)
        page.locator("#token").fill("wrong wrong")
        page.keyboard.press("Enter")
        sync_api.expect(page.locator("#alert")).to_contain_text("token is missing or wrong")
        page.locator("#token").fill(token)
        page.keyboard.press("Enter")
        sync_api.expect(page.get_by_role("dialog")).to_be_hidden()
        page.set_input_files("#folder", tmp_path / "photos")
        page.get_by_text("2 of 2 done").wait_for(timeout=TIMEOUT)
        other = visit(f"{address}/#token={token}")
        other.get_by_label("Model").get_by_text("x2-photo-balanced").wait_for(state="attached")
        assert token not in other.url


def test_the_server_goes_away(visit, tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    with server() as (address, _):
        page = visit(address)
        page.get_by_text("megapixels").wait_for()
    add(page, tmp_path / "a.png")
    sync_api.expect(page.locator("#alert")).to_contain_text("is the server still running?")
