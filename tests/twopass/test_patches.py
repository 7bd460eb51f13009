"""The published patch grid, and putting patches together."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from sharpbit.errors import UsageError
from sharpbit.twopass.patches import grid, merge


def test_the_published_grids(golden_path):
    with safe_open(golden_path("patch_grid"), "np") as file:
        cases = json.loads(file.metadata()["args"])["grids"]
        for width, height, patch, step, scale in cases:
            name = f"output/{width}x{height}_p{patch}_s{step}_x{scale}"
            patches = grid(height, width, patch, step)
            boxes = [(p.rows.start, p.rows.stop, p.columns.start, p.columns.stop) for p in patches]
            assert boxes == [tuple(box) for box in file.get_tensor(f"{name}/boxes_y0_y1_x0_x1").tolist()]
            rows, columns = file.get_tensor(f"{name}/rows_cols").tolist()
            numbers = [np.full((*p.cut(np.zeros((height, width))).shape, 2), divmod(k, columns), int)
                       for k, p in enumerate(patches)]  # fmt: skip
            owners = merge(patches, (np.kron(n, np.ones((scale, scale, 1), int)) for n in numbers), scale)
            assert rows * columns == len(patches)
            assert (owners[:, 0, 0] == file.get_tensor(f"{name}/row_owner")).all()
            assert (owners[0, :, 1] == file.get_tensor(f"{name}/col_owner")).all()
    assert len(cases) == 8


def test_the_sizes_of_the_description():
    widths = {p.columns.stop - p.columns.start for p in grid(180, 320, 72, 66)}
    heights = {p.rows.stop - p.rows.start for p in grid(180, 320, 72, 66)}
    assert (widths, heights) == ({72, 122}, {72, 114})
    assert sum(p.pixels for p in grid(180, 320, 72, 66)) == 62_868
    assert sum(p.pixels for p in grid(540, 1024, 96, 90)) == 611_376


@pytest.mark.parametrize(("height", "width", "patch", "step"), [(1, 1, 8, 3), (40, 37, 8, 5), (17, 64, 9, 9)])
def test_pieces_of_a_image_are_the_image(height, width, patch, step):
    large = np.random.default_rng(0).random((height * 2, width * 2, 3))
    patches = grid(height, width, patch, step)
    parts = [large[p.rows.start * 2 : p.rows.stop * 2, p.columns.start * 2 : p.columns.stop * 2] for p in patches]
    assert np.array_equal(merge(patches, parts, 2), large)


@pytest.mark.parametrize("case", [(0, 5, 8, 8), (5, 5, 8, 9), (5, 5, 8, 0)])
def test_grids_that_cannot_be(case):
    with pytest.raises(UsageError, match="cannot be cut into patches"):
        grid(*case)
