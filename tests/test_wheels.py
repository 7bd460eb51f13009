"""Wheels as strangers install them: into an empty environment of each Python, and for another processor."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import native_graphs
import sharpbit
from loaded_script import script
from sharpbit import zoo
from sharpbit.image import read
from sharpbit.measure.probe import image
from sharpbit.modelfile import integer_file
from sharpbit.modelfile.integer_chain import read as read_chain
from sharpbit.runtime import open_engine

ROOT = Path(__file__).parents[1]
CROSS = ("aarch64-linux-gnu-g++", "qemu-aarch64")
LACKING = [tool for tool in CROSS if shutil.which(tool) is None]


def pythons():
    """One Python of each version from 3.11 on that is here and can make environments."""
    named = {shutil.which(f"python3.{minor}") for minor in range(11, 16)} - {None}
    managed = Path("~/.pyenv/versions").expanduser().glob("3.1[1-9]*/bin/python")
    found = {}
    for path in (sys.executable, *sorted(named), *sorted(map(str, managed))):
        code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True)
        if done.returncode == 0:
            found.setdefault(done.stdout.strip(), path)
    return found


PYTHONS = pythons()
CALLER = r"""
#include <cstdio>
#include <vector>
#include "sharpbit.h"
int main(int, char **names) {
  std::vector<uint8_t> model(4 << 20), in(56 * 40 * 3), out(112 * 80 * 3);
  FILE *file = fopen(names[1], "rb");
  model.resize(fread(model.data(), 1, model.size(), file));
  if (fread(in.data(), 1, in.size(), stdin) != in.size()) return 2;
  char message[256] = "";
  sb_chain *chain = nullptr;
  int state = sb_open(model.data(), model.size(), nullptr, &chain, message, sizeof message);
  if (state) return fprintf(stderr, "%s", message), 3;
  if (sb_upscale(chain, in.data(), 56 * 3, out.data(), 112 * 3, 40, 56, 1)) return 4;
  fwrite(out.data(), 1, out.size(), stdout);
  fprintf(stderr, "%s", sb_instruction_sets());
}
"""


def output_of(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The source distribution and wheels from it, by the compilers that are here."""
    if platform.machine() != "x86_64" or sys.platform != "linux" or shutil.which("g++") is None:
        pytest.skip("wheels are made on Linux, x86-64, with g++")
    processors = ("any", "x86_64") if LACKING else ("any", "x86_64", "aarch64")
    return script("build_wheels", "scripts").build(tmp_path_factory.mktemp("dist"), ("gcc",), processors)


def named(wheels, part):
    return next((path for path in wheels if part in path.name and path.suffix == ".whl"), None)


def test_tags_and_contents(wheels):
    native = {"any": False, "x86_64": True} | ({} if LACKING else {"aarch64": True})
    for part, has in native.items():
        names = zipfile.ZipFile(named(wheels, part)).namelist()
        assert ("sharpbit/runtime/libsharpbit.so" in names) == has
        assert any(name.endswith("licenses/THIRD_PARTY_NOTICES.md") for name in names)
        assert any(name.startswith("sharpbit/deployment/engine/src/") for name in names)  # for `sharpbit deploy`
        assert "-py3-none-" in named(wheels, part).name
        assert part == "any" or "-manylinux_2_" in named(wheels, part).name
    assert [path for path in wheels if path.name.endswith(".tar.gz")]


@pytest.mark.parametrize("version", PYTHONS)
def test_an_empty_environment(wheels, version, tmp_path):
    output_of(PYTHONS[version], "-m", "venv", tmp_path / "empty")
    bin_of = tmp_path / "empty" / "bin"
    pip = (bin_of / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile")
    output_of(*pip, "--constraint", ROOT / "constraints.txt", named(wheels, "x86_64"))
    environment = {"PATH": f"{bin_of}:/usr/bin:/bin", "SHARPBIT_CACHE": "/dev/null/none"}
    shutil.copy(ROOT / "docs" / "images" / "demo.png", tmp_path / "demo.png")
    told = output_of("sharpbit", "doctor", cwd=tmp_path, env=environment, text=True)
    assert "native" in told
    output_of("sharpbit", "upscale", "demo.png", "-n", "x2-clean-fast", cwd=tmp_path, env=environment)
    result = read(tmp_path / "demo_x2.png").pixels
    sharpbit.upscale(tmp_path / "demo.png", tmp_path / "here.png", model="x2-clean-fast")
    wanted = read(tmp_path / "here.png").pixels
    assert np.array_equal(result, wanted)
    output_of(*pip, "--no-deps", "--force-reinstall", named(wheels, "any"))
    output_of("sharpbit", "upscale", "demo.png", "-n", "x2-clean-fast", "-o", "any.png", cwd=tmp_path, env=environment)
    assert np.array_equal(read(tmp_path / "any.png").pixels, wanted)


@pytest.fixture(scope="module")
def arm(wheels, tmp_path_factory):
    """Compiles a program for the other processor with the engine of its wheel, and says how it is run."""
    if LACKING:
        assert "CI" not in os.environ, f"CI has {', '.join(LACKING)}"
        pytest.skip(f"there is no {', '.join(LACKING)}")
    folder = tmp_path_factory.mktemp("arm")
    with zipfile.ZipFile(named(wheels, "aarch64")) as wheel:
        wheel.extractall(folder)
    library = folder / "sharpbit" / "runtime" / "libsharpbit.so"

    def compiled(source):
        program = folder / source.stem
        options = ("-std=c++17", "-O2", "-pthread", "-I", ROOT / "native/include")
        output_of("aarch64-linux-gnu-g++", *options, source, library, "-o", program)
        root = ("-L", "/usr/aarch64-linux-gnu", "-E", f"LD_LIBRARY_PATH={library.parent}")
        return lambda processor: ("qemu-aarch64", "-cpu", processor, *root, program)

    return compiled


def test_the_other_processor_gives_the_same_bytes(arm, tmp_path):
    (tmp_path / "caller.cpp").write_text(CALLER)
    caller = arm(tmp_path / "caller.cpp")
    model = zoo.path_of("x2-clean-fast")
    (tmp_path / "model").write_bytes(integer_file.payload(read_chain(model)[0]))
    wanted = next(iter(open_engine(model)([image()])))
    for processor, sets in (("max", "neon-dotprod c"), ("cortex-a53", "c")):
        command = [str(part) for part in (*caller(processor), tmp_path / "model")]
        done = subprocess.run(command, input=image().tobytes(), capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr.decode() == sets
        assert done.stdout == wanted.tobytes()


def test_random_chains_on_the_other_processor(arm):
    """Without the test that forks: an emulator may not be able to, where a process has threads."""
    check = arm(ROOT / "native" / "test" / "check.cpp")
    assert "on neon-dotprod c: 0 wrong" in output_of(*check("max"), 12, 3, "nofork", text=True)
    assert "on c: 0 wrong" in output_of(*check("cortex-a53"), 1, 5, "nofork", text=True)


def test_graphs_on_the_other_processor(arm, tmp_path):
    graphs = arm(ROOT / "native" / "test" / "graphs.cpp")
    files = native_graphs.files(tmp_path)
    assert "on neon-dotprod c: 0 wrong" in output_of(*graphs("max"), "check", *files, text=True)
