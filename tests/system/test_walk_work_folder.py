"""What is removed of a work folder when the result is there."""

import pytest

from sharpbit.quant.digest import digest
from sharpbit.quant.ptq.refinement_state import NAME
from sharpbit.system.work_folder import remove_work


@pytest.mark.parametrize("others", [(), ("notes.txt", "scan.npy", "weights.pt")])
def test_files_of_the_user_stay(tmp_path, others):
    folder = tmp_path / "a.onnx.work"
    folder.mkdir()
    kept = (NAME, f"extremes-{digest(['x'])}.npy", ".refining.pt.12.ab_1.part")
    for name in (*kept, *others):
        (folder / name).write_bytes(b"x")
    remove_work(folder)
    assert folder.exists() == bool(others)
    assert sorted(path.name for path in tmp_path.rglob("*.*") if path.is_file()) == sorted(others)
    remove_work(tmp_path / "none.work")
