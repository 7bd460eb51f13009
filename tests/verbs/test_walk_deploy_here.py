"""`sharpbit deploy` into the working folder, or one that holds it: refused with a sentence, and nothing is lost."""

import pytest

import sharpbit
from sharpbit.errors import UsageError


@pytest.mark.parametrize("where", [".", "..", "../sub"])
def test_the_working_folder_is_not_replaced(tmp_path, monkeypatch, where):
    here = tmp_path / "sub"
    here.mkdir()
    (here / "mine.txt").write_text("mine")
    monkeypatch.chdir(here)
    with pytest.raises(UsageError, match="holds the working folder, which cannot be replaced; choose another"):
        sharpbit.deploy("x2-clean-balanced", "onnx", where, overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["sub", "mine.txt"]
