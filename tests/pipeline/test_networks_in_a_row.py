"""Which networks run in a row."""

from math import prod

import pytest

from sharpbit.pipeline.chain import scales_for


@pytest.mark.parametrize(
    ("factor", "scales", "row"),
    [
        *((1.01, (2, 3, 4), (2,)), (1.5, (2, 3, 4), (2,)), (2.5, (2, 3, 4), (3,)), (4, (2, 3, 4), (4,))),
        *((5, (2, 3, 4), (2, 3)), (7, (2, 3, 4), (2, 4)), (8, (2, 3, 4), (2, 4)), (11, (4, 3, 2), (3, 4))),
        *((16, (2, 3, 4), (4, 4)), (16, (2,), (2, 2, 2, 2)), (7, (5,), (5, 5)), (1, (4,), (4,))),
    ],
)
def test_few_networks_and_little_too_much(factor, scales, row):
    assert scales_for(factor, scales) == row


def test_every_factor_is_reached():
    for tenths in range(10, 161):
        assert prod(scales_for(tenths / 10, (2, 3, 4))) >= tenths / 10
