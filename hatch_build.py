"""Builds the native engine (native/) when sharpbit is installed or packed; without a compiler sharpbit does without."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAMES = {"darwin": "libsharpbit.dylib", "win32": "sharpbit.dll"}
TOOLS = ("cmake", "ninja")
MARK = "sources"  # of the build folder: what the library was built of, where the last build did not fail


class NativeBuildHook(BuildHookInterface):
    """Puts the library beside `runtime/native.py` and tags the wheel for this platform, for any Python.

    The library has a plain C interface and knows nothing of Python, hence `py3-none-PLATFORM`.
    """

    def dependencies(self) -> list[str]:
        """Build tools that are not here already; nothing helps where there is no compiler."""
        if self.target_name != "wheel" or not _compiler():
            return []
        return [tool for tool in TOOLS if shutil.which(tool) is None]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build unless the library is of these very sources; what is built stays in the source tree, git-ignored.

        Where that fails, an installation that works on the tree (`pip install --editable`) keeps the one that is there.
        """
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        if version == "standard":  # what `sharpbit deploy` writes beside a model
            for name in ("native/src", "native/include", "LICENSE"):
                build_data["force_include"][str(root / name)] = f"sharpbit/deployment/engine/{Path(name).name}"
        if os.environ.get("SHARPBIT_PLATFORM") == "any":  # a wheel that runs everywhere, on ONNX Runtime
            return
        library = root / "src" / "sharpbit" / "runtime" / NAMES.get(sys.platform, "libsharpbit.so")
        folder = root / "build" / "native"
        try:
            build(root / "native", folder, library)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            (folder / MARK).unlink(missing_ok=True)
            if version != "editable" or not library.exists():
                library.unlink(missing_ok=True)  # a wheel has the engine of its own sources, or none
                self.app.display_warning(
                    f"sharpbit is built without its native engine ({_reason(error)}); it will run on ONNX Runtime,"
                    " which is slower. A C++ compiler and then the same command again bring it."
                )
                return
            self.app.display_warning(
                f"the native engine could not be built again ({_reason(error)}); {library.name} of an earlier build"
                " stays, which is not of the sources that are there now. Once what failed is mended, the same command"
                " builds it."
            )
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        if version == "standard":
            build_data["force_include"][str(library)] = f"sharpbit/runtime/{library.name}"


def build(source: Path, folder: Path, library: Path) -> None:
    """Compile `source` in `folder` and put the result at `library`, unless one of these very sources is there."""
    mark, state = folder / MARK, _state(source)
    if library.exists() and mark.exists() and mark.read_text() == state:
        return
    if not _compiler():
        raise RuntimeError("no C++ compiler was found")
    shutil.rmtree(folder, ignore_errors=True)  # a cache of another compiler or folder only makes trouble
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    _run("cmake", "-S", source, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *generator)
    _run("cmake", "--build", folder, "--config", "Release", "--target", "sharpbit", "--parallel")
    built = next((path for path in (folder / library.name, folder / "Release" / library.name) if path.exists()), None)
    if built is None:
        raise RuntimeError(f"the build left no {library.name}")
    fresh = library.with_name(f"{library.name}.{os.getpid()}")  # never write into a library that a process has open
    shutil.copy2(built, fresh)
    fresh.replace(library)
    mark.write_text(state)


def _state(source: Path) -> str:
    """What the library depends on: all sources, and the compiler that was asked for."""
    asked = (os.environ.get("CXX", ""), os.environ.get("CMAKE_TOOLCHAIN_FILE", ""))
    digest = hashlib.sha256("\0".join(asked).encode())
    for path in sorted(path for part in (".", "include", "src") for path in (source / part).iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _compiler() -> bool:
    """Whether there may be a compiler; on Windows CMake finds it without the search path."""
    named = os.environ.get("CXX")
    names = [named.split()[0]] if named else ["c++", "g++", "clang++"]
    return sys.platform == "win32" or any(shutil.which(name) for name in names)


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        first = next((i for i, line in enumerate(lines) if "error" in line.lower()), 0)
        raise RuntimeError(f"{command[0]} failed: {' '.join(lines[first : first + 5])[:300]}")


def _reason(error: Exception) -> str:
    return f"{error.filename} was not found" if isinstance(error, FileNotFoundError) else str(error)


def _platform() -> str:
    """The platform tag: that of the interpreter, but on macOS as old as CMakeLists.txt and the processor allow.

    `SHARPBIT_PLATFORM` names another one, for which a toolchain file of CMake compiles (see scripts/build_wheels.py).
    """
    if named := os.environ.get("SHARPBIT_PLATFORM"):
        return named
    if sys.platform == "darwin":
        machine = os.uname().machine
        return f"macosx_{'11_0' if machine == 'arm64' else '10_15'}_{machine}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
