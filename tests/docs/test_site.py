"""The site is built strictly, its links lead somewhere, and its pages ask no other host for anything."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from doc_pages import ROOT

from sharpbit.app.cli import app

LOADS = {"src", "srcset", "data", "poster"}  # attributes whose address a browser fetches
EXTERNAL = re.compile(r"(?:https?:)?//")


class Page(HTMLParser):
    """What a page links to, what it loads, and the names of its places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.places.add(value)
            if name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in LOADS or (name == "href" and tag == "link" and ("rel", "canonical") not in attrs):
                self.loads.append(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("zensical") is None:
        assert os.environ.get("CI") != "true", "CI builds the site: it needs the extra 'docs'"
        pytest.skip("building the site needs the extra 'docs'")
    target = tmp_path_factory.mktemp("site") / "site"
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_site.py", target],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def test_all_pages_are_there(site, pages):
    assert len(pages) > 40
    for name in ("index", "tutorials/folder/index", "reference/api/index", "systems/etds/index", "decisions/index"):
        assert site / f"{name}.html" in pages


def test_links_within_the_site_lead_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            address, _, place = link.partition("#")
            if EXTERNAL.match(address) or address.startswith("mailto:") or path.name == "404.html":
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (place and target in pages and unquote(place) not in pages[target].places):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_pages_ask_no_other_host(site, pages):
    for path, page in pages.items():
        asked = [address for address in page.loads if EXTERNAL.match(address)]
        assert not asked, f"{path.relative_to(site)} loads {asked}"
        assert "mermaid" not in page.places, "diagrams would load a script from elsewhere"
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", path.read_text()), path


def test_every_command_and_option_is_in_the_reference(pages, site):
    text = (site / "reference" / "commands" / "index.html").read_text()
    for name, command in app.commands.items():
        assert name in pages[site / "reference" / "commands" / "index.html"].places
        for parameter in command.params:
            if not getattr(parameter, "hidden", False) and parameter.param_type_name == "option":
                assert max(parameter.opts, key=len) in text, f"{name} {parameter.opts}"


def test_the_public_functions_are_in_the_reference(site):
    import sharpbit

    text = (site / "reference" / "api" / "index.html").read_text()
    public = [name for name in sharpbit.__all__ if name not in ("__version__",)]
    assert [name for name in public if not re.search(rf'id="sharpbit\.[\w.]*\b{name}"', text)] == []
