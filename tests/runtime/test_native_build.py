"""The engine comes with an installation where there is a compiler, and sharpbit installs without one."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = "sharpbit/runtime/libsharpbit.so"
TOOLS = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]

pytest.importorskip("hatchling")
needs_compiler = pytest.mark.skipif(bool(TOOLS), reason=f"there is no {' and no '.join(TOOLS)}")


@pytest.fixture
def copy(tmp_path):
    """A clone without anything that was built in it."""
    skip = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.so", "__pycache__", "models", "*_cache", "tests")
    return Path(shutil.copytree(ROOT, tmp_path / "clone", ignore=skip))


def wheel(root, **environment):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out"]
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True)
    (path,) = (root / "out").glob("*.whl")
    with zipfile.ZipFile(path) as file:
        return path.name, file.namelist(), done.stdout + done.stderr


@pytest.mark.parametrize("how", ["no compiler", "no cmake", "a broken compiler"])
def test_without_a_compiler(copy, tmp_path, how):
    (copy / "src" / LIBRARY).write_bytes(b"of another time")  # a stale library must not be packed
    empty = tmp_path / "bin"
    empty.mkdir()
    if how == "no cmake":
        (empty / "g++").symlink_to(shutil.which("true"))
    broken = how == "a broken compiler" and not TOOLS
    name, names, said = wheel(copy, **({"CXX": "/bin/false"} if broken else {"PATH": str(empty), "CXX": ""}))
    assert name.endswith("-py3-none-any.whl")
    assert LIBRARY not in names
    assert "sharpbit/runtime/native.py" in names
    assert said.count("without its native engine") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("version", ["editable", "standard"])
@pytest.mark.parametrize("there", [True, False])
def test_only_an_editable_install_keeps_what_was_built_before(tmp_path, monkeypatch, version, there):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    monkeypatch.setattr(sys, "platform", "linux")
    library = tmp_path / "src" / LIBRARY
    (tmp_path / "native" / "src").mkdir(parents=True)
    (tmp_path / "native" / "include").mkdir()
    library.parent.mkdir(parents=True)
    if there:
        library.write_bytes(b"of another time")
    mark = tmp_path / "build" / "native" / "sources"  # for which `make native` looks, as pip hides what is said
    mark.parent.mkdir(parents=True)
    mark.write_text("sources of another time")
    said, data = [], {"force_include": {}}
    app = SimpleNamespace(display_warning=said.append)
    hook().NativeBuildHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel", app).initialize(version, data)
    kept = there and version == "editable"
    assert library.exists() == kept
    assert not mark.exists()
    assert len(said) == 1
    word = "libsharpbit.so of an earlier build stays" if kept else "is built without its native engine"
    assert word in said[0] and "(no C++ compiler was found)" in said[0]
    assert ("tag" in data) == kept


def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def built(copy):
    """A clone with what was built here, if anything was; nothing is built where other tests and the user run it."""
    marks = Path("build", "native", "sources"), Path("src", LIBRARY)
    if all((ROOT / mark).exists() for mark in marks):
        for mark in marks:
            (copy / mark).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / mark, copy / mark)
    before = identity(ROOT / "src" / LIBRARY)
    yield copy
    assert identity(ROOT / "src" / LIBRARY) == before


def identity(path):
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


@needs_compiler
def test_the_wheel_has_the_engine_and_no_rubbish(built, tmp_path):
    wheel(built)
    (path,) = (built / "out").glob("*.whl")
    assert "-py3-none-linux_" in path.name
    with zipfile.ZipFile(path) as file:
        assert LIBRARY in file.namelist()
        own = [name for name in file.namelist() if not name.startswith("sharpbit/deployment/")]  # which has sources
        assert not [name for name in own if "native/" in name or name.endswith((".cpp", ".o", ".txt.user"))]
        assert not [name for name in file.namelist() if name.endswith((".o", ".so.1", ".txt.user"))]
        wheel_file = next(name for name in file.namelist() if name.endswith("/WHEEL"))
        assert "Root-Is-Purelib: false" in file.read(wheel_file).decode()
        library = tmp_path / "lib.so"
        library.write_bytes(file.read(LIBRARY))
    code = "from sharpbit.runtime import native; print(native.why_not(), native.instruction_sets()[-1])"
    env = {**os.environ, "SHARPBIT_NATIVE": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == " c\n"


@needs_compiler
def test_it_is_built_again_only_when_it_must(tmp_path):
    build = hook().build
    source, library = tmp_path / "native", tmp_path / "libsharpbit.so"
    (source / "src").mkdir(parents=True)
    (source / "include").mkdir()
    (source / "src" / "a.cpp").write_text("int a() { return 1; }")
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(x CXX)\nadd_library(sharpbit SHARED src/a.cpp)\n"
    )
    build(source, tmp_path / "build", library)
    first = library.stat().st_ino
    build(source, tmp_path / "build", library)
    assert library.stat().st_ino == first
    (source / "src" / "a.cpp").write_text("int a() { return 2; }")
    build(source, tmp_path / "build", library)
    assert library.stat().st_ino != first
    (source / "src" / "a.cpp").write_text("int a( {")
    with pytest.raises(RuntimeError, match=r"cmake failed: .*error"):
        build(source, tmp_path / "build", library)
