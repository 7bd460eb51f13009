"""How far constant images are from staying constant."""

import numpy as np

from sharpbit.measure.flatness import Flatness, colours, flatness


def nearest(image):
    return image.repeat(2, 0).repeat(2, 1)


def test_the_grid_has_black_white_and_every_hue():
    grid = colours(17)
    assert len(np.unique(grid, axis=0)) == 17**3
    assert grid.min() == 0
    assert grid.max() == 255


def test_nearest_neighbours_keep_everything():
    assert flatness(nearest, levels=3) == Flatness(0, 0, 0)


def test_errors_inside_and_at_the_border_are_told_apart():
    def dark_border(image):
        large = nearest(image).copy()
        large[0] = np.maximum(large[0], 7) - 7
        return large

    def tinted(image):
        return np.minimum(nearest(image), 252)

    assert flatness(dark_border, levels=3) == Flatness(0, 7, 7)
    assert flatness(tinted, levels=3) == Flatness(3, 3, 3)
