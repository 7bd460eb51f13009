"""A package that is installed and cannot be loaded is one sentence: its name, the reason, and the way out."""

import os
import subprocess
import sys

import pytest

from loaded_script import ROOT
from sharpbit.errors import BrokenPackage, MissingExtra
from sharpbit.system.extras import loaded

BROKEN = {
    "OSError": "raise OSError('libtorch_cpu.so: cannot open shared object file:\\nNo such file or directory')",
    "RuntimeError": "raise RuntimeError('operator torchvision::nms does not exist')",
    "ModuleNotFoundError": "import a_package_that_is_nowhere",
    "AttributeError": "import sys; sys.no_such_thing",
}
WHOLE = ""


@pytest.fixture
def stand_ins(tmp_path):
    """Makes packages that are found before those that are installed."""

    def make(**packages):
        for name, text in packages.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(text)
        return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT / "src")))}

    return make


@pytest.mark.parametrize("error", BROKEN)
def test_a_package_that_fails_as_it_is_imported(error, stand_ins, tmp_path, monkeypatch):
    name = f"stand_in_{error.lower()}"
    stand_ins(**{name: BROKEN[error]})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        BrokenPackage, match=rf"training needs the package {name}.*\({error}: .*\); install it"
    ) as found:
        loaded(name, "training", "train")
    assert "\n" not in str(found.value)
    assert f"pip install --force-reinstall {name}" in str(found.value)


def test_a_package_that_is_not_installed():
    with pytest.raises(MissingExtra, match=r"training needs .*pip install 'sharpbit\[train\]'"):
        loaded("a_package_that_is_nowhere", "training", "train")
    with pytest.raises(BrokenPackage, match="a_package_that_is_nowhere"):  # one of the core has no extra
        loaded("a_package_that_is_nowhere", "upscaling")


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("torch", ["inspect", "x2-clean-fast"]),
        ("torch", ["quantize", "net.pth", "--calibrate", ".", "-o", "out.safetensors"]),
        ("torch", ["upscale", "image.png", "--model", "net.safetensors"]),
        ("safetensors", ["reparameterize", "net.pth", "out.safetensors"]),
        ("onnx", ["export", "net.safetensors"]),
        ("onnxruntime", ["upscale", "image.png", "-n", "x2-clean-float", "--engine", "onnx"]),
        ("imagecodecs", ["upscale", "image.png", "-o", "image.avif"]),
        ("pi_heif", ["upscale", "image.heic"]),
        ("openvino", ["upscale", "image.png", "-n", "x2-clean-float", "--engine", "openvino"]),
    ],
)
def test_commands_say_which_package_is_broken(package, arguments, stand_ins, tmp_path):
    whole = {name: WHOLE for name in ("torch", "safetensors") if package == "onnx" or name == "torch"}
    env = stand_ins(**{**whole, package: BROKEN["OSError"]})
    (tmp_path / "net.safetensors").write_bytes(b"")
    (tmp_path / "image.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    (tmp_path / "image.png").symlink_to(ROOT / "docs" / "images" / "demo.png")
    command = [sys.executable, "-m", "sharpbit", *arguments]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "OSError" in line]
    assert len(lines) == 1, done.stderr
    assert f"the package {package}, which is installed but cannot be loaded" in lines[0]
    assert f"pip install --force-reinstall {package}" in lines[0]


def test_public_names_say_which_package_is_broken(stand_ins):
    code = "import sharpbit\ntry:\n    sharpbit.load\nexcept sharpbit.SharpbitError as error:\n    print(error)"
    env = stand_ins(torch=BROKEN["OSError"])
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("sharpbit.load needs the package torch, which is installed but cannot be loaded"), (
        done
    )
