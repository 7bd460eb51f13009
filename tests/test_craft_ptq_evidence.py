"""The evidence scripts that measure on sets of test images need one."""

import sys

import pytest

from loaded_script import script


@pytest.mark.parametrize("name", ["craft_ptq", "craft_spectra", "craft_tiles", "psnr"])
def test_no_set_is_a_sentence_before_the_work(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--sets"])
    with pytest.raises(SystemExit) as ended:
        script(name).main()
    assert ended.value.code == 2
    assert "argument --sets: expected at least one argument" in capsys.readouterr().err
