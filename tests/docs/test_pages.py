"""Every block of every page that a reader would run is run, or says why it is not."""

import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner
from doc_pages import OTHERS, PAGES, PYTHON, ROOT, SHELL, Block, blocks
from stand_ins import prepare

from sharpbit.app.cli import app

BLOCKS = {page: blocks(page) for page in PAGES}
BESIDES = set("|<>;&*?$#`'\"\\")  # what only a shell understands
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """A folder of stand-ins, made once; each page gets a copy."""
    folder = tmp_path_factory.mktemp("stand-ins")
    prepare(folder)
    return folder


@pytest.fixture
def folder(originals, tmp_path, monkeypatch):
    subprocess.run(["cp", "-a", f"{originals}/.", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("SHARPBIT_SETTINGS")  # one page writes settings for its folder; those of a user hold for no page
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    return tmp_path


def test_every_block_has_a_language_and_is_run_or_says_why(capsys):
    everything = [block for page in PAGES for block in BLOCKS[page]]
    unknown = [block.name for block in everything if block.language not in (SHELL, PYTHON, *OTHERS)]
    assert not unknown, f"blocks without a language that is known: {unknown}"
    marked = [block for block in everything if block.reason]
    assert all(block.language in (SHELL, PYTHON) for block in marked), "a mark above a block that would not be run"
    assert sum(block.runs for block in everything) > 40
    with capsys.disabled():
        print(
            f"\n{sum(block.runs for block in everything)} blocks of the documentation are run, {len(marked)} are not:"
        )
        for block in marked:
            print(f"  {block.name}: {block.reason}")


def test_links_lead_somewhere_in_the_repository():
    """Pages are read there too; the site has a test of its own."""
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", page.read_text())]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page, link in links
        if ":" not in link and not (page.parent / link).exists()
    ]
    assert len(links) > 100
    assert not broken


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.runs for block in BLOCKS[page])],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_blocks_of(page, folder):
    for block in BLOCKS[page]:
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.body)
    before = set(sys.modules)
    try:
        for block in BLOCKS[page]:
            if block.runs:
                run_python(block) if block.language == PYTHON else run_shell(block)
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
                del sys.modules[name]


def run_python(block: Block) -> None:
    exec(compile(block.body, block.name, "exec"), {"__name__": "__main__"})


def run_shell(block: Block) -> None:
    """Each line; what is `sharpbit` alone runs in this process, where torch is loaded already."""
    for line in block.body.replace("\\\n", " ").splitlines():
        command = line.partition(" #")[0].strip()
        if command.startswith("sharpbit ") and not BESIDES & set(command):
            with mock.patch.object(os, "nice"):  # which would slow down all tests that follow
                result = CliRunner().invoke(app, command.split()[1:])
            assert result.exit_code == 0, f"{block.name}: {line}\n{result.output}\n{result.exception}"
        elif command:
            path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
            env = {**os.environ, "PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": path}
            done = subprocess.run(["bash", "-ec", command], env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block.name}: {line}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr
