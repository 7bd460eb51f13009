"""Builds the engine as a module of WebAssembly for `sharpbit deploy --to web`: the same bytes on every machine.

    make wasm

The compiler is Zig's clang with its libc++, pinned; it takes a minute the first time, as it builds that library.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

COMPILER = "0.17.1"
NATIVE = Path(__file__).parents[1] / "native"
TARGET = NATIVE.parent / "src" / "sharpbit" / "deployment" / "web" / "engine.wasm"
# Threads, instruction sets and other sizes.
LEFT_OUT = {"api.cpp", "cpu.cpp", "graph_phases.cpp", "isas.cpp", "pool.cpp", "resize.cpp"}
FLAGS = [
    *("-target", "wasm32-wasi", "-mexec-model=reactor", "-mcpu=generic+simd128+bulk_memory", "-std=c++17"),
    *("-fexceptions", "-fno-rtti", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-s", "-Wl,--gc-sections"),
]


def sources() -> list[Path]:
    """What is compiled."""
    own = (path for path in (NATIVE / "src").glob("*.cpp") if path.name not in LEFT_OUT)
    return sorted([*(path for path in own if not path.name.startswith("isa_")), *(NATIVE / "wasm").glob("*.cpp")])


def used() -> list[Path]:
    """What is compiled, and the headers that it includes."""
    found, left = set(sources()), sources()
    while left:
        names = re.findall(r'^#include "(.+)"', left.pop().read_text(), re.MULTILINE)
        fresh = {path for name in names if (path := NATIVE / "src" / name).exists()} - found
        found |= fresh
        left += fresh
    return sorted(found)


def state() -> str:
    """A hash of all that the module depends on, without carriage returns."""
    digest = hashlib.sha256(f"{COMPILER} {FLAGS}".encode())
    for path in used():
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def build(target: Path, cache: Path | None = None) -> None:
    """Compile.

    Args:
        target: The file to write.
        cache: Where the compiler keeps the library that it has built; None: where it always does.
    """
    env = dict(os.environ)
    if cache:
        env |= {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    # Relative names, so that no path of this machine gets into the module.
    names = [os.path.relpath(path, NATIVE) for path in sources()]
    command = [sys.executable, "-m", "ziglang", "c++", *FLAGS, "-O2", "-Isrc", "-o", str(target.resolve()), *names]
    subprocess.run(command, cwd=NATIVE, env=env, check=True)
    target.chmod(0o644)


def main() -> None:
    """Build the module, or say whether it is that of the sources."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare, and exit with 1 where the bytes differ")
    arguments = parser.parse_args()
    try:
        found = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != COMPILER:
        sys.exit(f"this needs ziglang {COMPILER}, not {found}: pip install ziglang=={COMPILER}")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "engine.wasm"
        build(made)
        data = made.read_bytes()
    if arguments.check:
        sys.exit(0 if data == TARGET.read_bytes() else f"{TARGET.name} is not that of the sources; build it again")
    TARGET.write_bytes(data)
    about = {"compiler": f"ziglang {COMPILER}", "sources": state(), "sha256": hashlib.sha256(data).hexdigest()}
    TARGET.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{TARGET.name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
