"""The engine in WebAssembly that is in the repository is what its sources make."""

import hashlib
import importlib.metadata
import json
from pathlib import Path

import pytest

from loaded_script import script

ROOT = Path(__file__).parents[2]
build = script("build_wasm", "scripts")


def test_it_is_not_older_than_its_sources():
    about = json.loads(build.TARGET.with_suffix(".json").read_text())
    assert about["sha256"] == hashlib.sha256(build.TARGET.read_bytes()).hexdigest()
    assert about["sources"] == build.state(), "native/ has changed: make wasm builds the module again"
    assert build.TARGET.stat().st_size < 200_000


@pytest.mark.slow  # compiles the engine, and the first time its library: up to a minute
def test_it_comes_out_the_same_to_the_bit(tmp_path):
    try:
        found = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"there is no ziglang (pip install ziglang=={build.COMPILER})")
    if found != build.COMPILER:
        pytest.skip(f"ziglang {found} is not {build.COMPILER}, with which the module was built")
    build.build(tmp_path / "engine.wasm", ROOT / "build" / "wasm")
    assert (tmp_path / "engine.wasm").read_bytes() == build.TARGET.read_bytes()
