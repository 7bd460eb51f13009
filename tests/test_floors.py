"""The declared lowest versions are ones that can be pinned; `make floors` tests them."""

import pytest

from loaded_script import script


def test_every_dependency_of_the_core_has_a_floor():
    found = script("floors", "scripts").floors()
    assert {"click", "isal", "numpy", "onnxruntime", "openimageio", "pillow", "tqdm"} <= set(found)
    assert all(version[0].isdigit() for version in found.values())


def test_so_have_those_of_the_extras():
    assert {"torch", "safetensors", "openvino"} <= set(script("floors", "scripts").floors(("train", "openvino")))


def test_a_dependency_without_one(monkeypatch, tmp_path):
    module = script("floors", "scripts")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["numpy"]\n')
    monkeypatch.setattr(module, "PROJECT", tmp_path / "pyproject.toml")
    with pytest.raises(ValueError, match="'numpy' has no lower bound"):
        module.floors()
