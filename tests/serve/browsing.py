"""What the tests of both pages share: a browser, and what visitors do and see in it."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from serving import ROOT

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DEMO = ROOT / "docs" / "images" / "demo.png"
TIMEOUT = 60_000  # milliseconds, for machines that do much else
if CHROMIUM is None and os.environ.get("CI") != "true":
    pytest.skip("there is no chromium (apt-get install chromium)", allow_module_level=True)


def own(url, address):
    """Whether a page at this address may ask for such a URL."""
    base = address.partition("#")[0].rstrip("/")
    if base.startswith("file:"):
        return url == base or url.startswith("blob:null")
    return url.startswith((base + "/", f"blob:{base}"))


def note(message, faults):
    expected = ("status of 4", "ERR_CONNECTION_REFUSED", "willReadFrequently")  # of tests of errors, and of `drawn`
    if message.type in ("error", "warning") and not any(part in message.text for part in expected):
        faults.append(message.text)


def add(page, *images):
    page.set_input_files("#files", list(images))


def until(page, expression):
    """Wait for a condition; what playwright has for it is against the policy of the page."""
    deadline = time.monotonic() + TIMEOUT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(30)


def done(page, name="demo.png"):
    until(page, f"document.querySelector('#about:not([hidden]) #name')?.textContent === {name!r}")
    until(page, "document.querySelector('sharpbit-compare').layers.every(layer => layer.whole)")


def accessible(page):
    found = axe.Axe().run(page)
    assert found.violations_count == 0, [
        (fault["id"], node["html"], node["failureSummary"])
        for fault in found.response["violations"]
        for node in fault["nodes"]
    ]


def shot(page, name, **options):
    folder = os.environ.get("SHARPBIT_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(300)
        page.screenshot(path=Path(folder) / f"{name}.png", **options)


def drawn(page):
    """What the comparison shows, as a short number."""
    return page.evaluate("""async () => {
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        const canvas = document.querySelector('sharpbit-compare canvas');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return data.reduce((sum, value, place) => (sum * 31 + value * (place % 7)) % 1000000007, 7);
    }""")


def sums(*shape, seed=0):
    """Smooth noise, as images have."""
    values = np.random.default_rng(seed).normal(0, 9, shape).cumsum(0).cumsum(1)
    return np.uint8(np.abs(values) % 256)
