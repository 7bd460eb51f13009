"""What an installed sharpbit consists of."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from sharpbit import zoo

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_models_licences_and_types(wheel):
    names = wheel.namelist()
    assert "sharpbit/py.typed" in names
    for name in zoo.models():
        assert f"sharpbit/zoo/models/{name}.onnx" in names
    for name in ("LICENSE", "NOTICE", "THIRD_PARTY_NOTICES.md"):
        assert any(entry.endswith(f"licenses/{name}") for entry in names), name
    assert not [
        entry for entry in names if entry.startswith(("tests", "bench", "evidence", "research", "scratch", "runs"))
    ]
    embedded = sum(item.file_size for item in wheel.infolist() if item.filename.endswith(".onnx"))
    assert embedded < 8_000_000  # the budget of all embedded models together
    assert Path(wheel.filename).stat().st_size < 12_000_000
    assert (
        sum(item.file_size for item in wheel.infolist()) - embedded < 5_000_000
    )  # everything else, unpacked: 4.0 MB of code, the engine, and its sources for folders that are deployed


def test_the_wheel_needs_no_torch(wheel):
    (name,) = (entry for entry in wheel.namelist() if entry.endswith("METADATA"))
    needs = [line for line in wheel.read(name).decode().splitlines() if line.startswith("Requires-Dist")]
    core = {re.match(r"Requires-Dist: ([\w-]+)", line)[1].lower() for line in needs if "extra ==" not in line}
    assert core == {"click", "isal", "numpy", "onnxruntime", "openimageio", "pillow", "tqdm"}


def test_every_dependency_is_in_the_notices_and_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text().lower().replace(" ", "")
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    for requirement in [*project["dependencies"], *extras]:
        name = re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-")
        if name != "sharpbit":
            assert re.search(rf"^{name}==", pins, re.MULTILINE), f"{name} is not pinned"
    for requirement in project["dependencies"]:
        assert re.match(r"[\w-]+", requirement)[0].lower() in notices


def test_nothing_loads_torch_or_numpy_needlessly():
    code = "import sys, sharpbit; print(sorted({'torch', 'numpy', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_first_image_loads_only_what_it_needs(tmp_path):
    """Each of these takes a twentieth of a cold start or more, and a JPEG that becomes a PNG needs none of them."""
    Image.new("RGB", (16, 9), "red").save(tmp_path / "a.jpg")
    code = """if True:
        import contextlib, sys
        from sharpbit.app.cli import main
        with contextlib.suppress(SystemExit):
            main(["upscale", sys.argv[1], "-o", sys.argv[2], "--quiet"])
        print(*sys.modules)
    """
    command = [sys.executable, "-c", code, str(tmp_path / "a.jpg"), str(tmp_path / "b.png")]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert (tmp_path / "b.png").exists()
    needless = {"OpenImageIO", "PIL.ImageCms", "PIL.TgaImagePlugin", "importlib.metadata", "importlib.resources"}
    needless |= {"numpy.ma", "onnxruntime", "secrets", "sharpbit.modelfile.history", "tempfile", "tqdm"}
    assert not needless & loaded
