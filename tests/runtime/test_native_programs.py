"""The C++ test programs of native/: under sanitizers and with hostile payloads; for ARM, see test_wheels.py."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import native_graphs
from loaded_script import script

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"
MORE = int(os.environ.get("SHARPBIT_FUZZ", "1"))  # times as many payloads, and both kinds of numbers
TOOLS = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]

pytestmark = pytest.mark.skipif(bool(TOOLS), reason=f"there is no {' and no '.join(TOOLS)}")


def built(name, programs, *options):
    """The folder of these programs, which stays: only what has changed is compiled again."""
    folder = ROOT / "build" / name
    cache, generator = folder / "CMakeCache.txt", ["-G", "Ninja"] if shutil.which("ninja") else []
    if not cache.exists():
        run("cmake", "-S", NATIVE, "-B", folder, "-DSHARPBIT_TESTS=ON", *generator, *options)
    elif "SHARPBIT_TESTS:BOOL=ON" not in cache.read_text():
        run("cmake", "-DSHARPBIT_TESTS=ON", folder)
    run("cmake", "--build", folder, "--parallel", str(os.cpu_count()), "--target", *programs)
    return folder


def plain(*programs):
    """The folder of these programs: where installing has compiled these sources, their objects are linked again."""
    mark = ROOT / "build" / "native" / "sources"
    same = shutil.which("ninja") and mark.exists() and mark.read_text() == script("hatch_build", ".")._state(NATIVE)
    return built("native" if same else "native-plain", programs)


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    return native_graphs.files(tmp_path_factory.mktemp("graphs"), both=MORE > 1)


def test_graphs_under_sanitizers(graphs):
    folder = built("native-asan", ["graphs"], "-DSHARPBIT_SANITIZE=address,undefined")
    assert ": 0 wrong" in run(folder / "graphs", "check", *graphs)
    opened = run(folder / "graphs", "fuzz", 1500 * MORE, 1, *graphs)
    assert opened.startswith(f"{1500 * MORE} payloads")
    assert int(opened.split()[2]) > 150
    assert int(opened.split()[4]) > 5


@pytest.mark.skipif(os.name != "posix", reason="this system protects no pages")
def test_graphs_read_and_write_nothing_too_far(graphs):
    assert ": 0 wrong" in run(plain("guard_graphs") / "guard_graphs", "check", *graphs)


def test_addresses_and_undefined_behaviour():
    folder = built("native-asan", ["check", "fuzz"], "-DSHARPBIT_SANITIZE=address,undefined")
    assert ": 0 wrong" in run(folder / "check", 10 * MORE, 1)
    opened = run(folder / "fuzz", 10000 * MORE, 1)
    assert opened.startswith(f"{10000 * MORE} payloads")
    assert int(opened.split()[2]) > 1000
    assert int(opened.split()[4]) > 25


@pytest.mark.skipif(os.name != "posix", reason="this system protects no pages")
def test_nothing_is_read_or_written_too_far():
    """With pages that nobody may touch behind all memory: sanitizers do not look into loads of tiles."""
    assert ": 0 wrong" in run(plain("guard") / "guard", 30, 5)


def test_tiles_in_an_emulation(graphs):
    """The code for AMX on processors without it: its tiles are computed by AVX-512."""
    programs = ("check_tiles", "guard_tiles", "graphs_tiles", "guard_graphs_tiles")
    folder = plain(*programs)
    for program in programs:
        told = run(folder / program, *(("check", *graphs) if "graphs" in program else (30, 6)))
        assert ": 0 wrong" in told
        if "avx512-vnni" not in told:
            pytest.skip("this processor has no AVX-512 VNNI, which stands in for AMX")
        assert "on amx-int8 " in told


def test_every_instruction_set_is_exact_and_measured():
    folder = plain("check", "speed")
    told = run(folder / "check", 200, 7)
    assert ": 0 wrong" in told
    sets = told.split(" on ")[1].split(":")[0].split()
    lines = run(folder / "speed", 6, "all", "32-32,3-16").splitlines()
    for shape in ("3 -> 16", "32 -> 32"):
        assert [line.split("|")[2].strip() for line in lines if line.startswith(f"| {shape} |")] == sets


def test_threads():
    folder = built("native-tsan", ["check"], "-DSHARPBIT_SANITIZE=thread")
    assert ": 0 wrong" in run(folder / "check", 4, 2)
