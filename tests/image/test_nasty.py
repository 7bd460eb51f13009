"""Every file of the collection of difficult images, against what another program found in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
MANIFEST: dict[str, dict[str, Any]] = json.loads((HERE.parent / "nasty_manifest.json").read_text())


@pytest.fixture(scope="module")
def found(shared: Path) -> dict[str, dict[str, Any]]:
    folder = shared / "data" / "nasty"
    assert sorted(MANIFEST) == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    command = [sys.executable, "-W", "error", str(HERE / "nasty_worker.py"), str(folder)]
    run = subprocess.run(command, input="\n".join(MANIFEST), capture_output=True, text=True, check=False, timeout=3600)
    assert run.returncode == 0, run.stderr
    return {facts["name"]: facts for facts in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("name", MANIFEST)
def test_reads_it_like_another_program(name: str, found: dict[str, dict[str, Any]]) -> None:
    wanted, got = MANIFEST[name], found[name]
    assert got["status"] == 0, "it crashed or worked for longer than 20 s"
    assert got["mebibytes"] < 2048
    assert got["stderr"] == ""
    assert got["outcome"] == wanted["outcome"], (got, wanted.get("reason"))
    if wanted["outcome"] == "error":
        message = got["message"]
        assert "\n" not in message and "Traceback" not in message and Path(name).name in message
        assert 20 < len(message) < 400
        return
    keys = ("height", "width", "channels", "bits", "alpha", "exif")
    assert {key: got[key] for key in keys} == {key: wanted[key] for key in keys}
    assert got["probe"] == [wanted["height"], wanted["width"]]
    assert got["contiguous"]
    assert got["icc"] == wanted["icc"] or (wanted["icc"] == -1 and got["icc"] > 0)
    assert any("first of" in note for note in got["notes"]) == ("frames" in wanted)
    for mine, theirs in zip(got["colours"], wanted["colours"] or got["colours"], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert a is None or b is None or abs(a - b) <= wanted["tolerance"], (mine, theirs)
