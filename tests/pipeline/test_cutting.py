"""Images through engines, cut as suits both: the same pixels, one tile at a time, and shares that add up to one."""

import numpy as np
import pytest

from sharpbit.pipeline import cutting

SCALE = 2


class Nearest:
    """Repeats every pixel; takes tiles, of one side only where `tile` says so."""

    scale, wide, samples, tile, halo = SCALE, False, np.uint8, None, 3

    def __init__(self, **other):
        vars(self).update(other)
        self.seen = []

    def __call__(self, tiles):
        for tile in tiles:
            self.seen.append(tile.shape[:2])
            yield tile.repeat(SCALE, 0).repeat(SCALE, 1)


class Patchwise(Nearest):
    """Takes whole images, and reports each half of one."""

    halo, cuts_itself = None, True

    def __init__(self):
        super().__init__()
        self.sides = set()

    def run(self, image, *, side=None, progress=None):
        self.sides.add(side)
        for _ in range(2):
            progress(0.5)
        return next(iter(self([image])))


def image(height=61, width=83):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def joined(parts, shape):
    out = np.zeros((shape[0] * SCALE, shape[1] * SCALE, 3), np.uint8)
    for part in parts:
        rows, columns = (
            slice(first * SCALE, last * SCALE)
            for first, last in ((part.tile.top, part.tile.bottom), (part.tile.left, part.tile.right))
        )
        out[rows, columns] = part.after
    return out


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("engine", [Nearest(), Nearest(wide=True), Nearest(halo=None), Nearest(tile=24), Patchwise()])
def test_parts_make_up_the_image(engine, ensemble):
    source, shares = image(), []
    parts = cutting.run(engine, source, side=20, ensemble=ensemble, progress=shares.append)
    assert np.array_equal(joined(parts, source.shape), source.repeat(SCALE, 0).repeat(SCALE, 1))
    assert sum(shares) == pytest.approx(1)


def test_who_cuts():
    tiles, patches = Nearest(), Patchwise()
    for engine in (tiles, patches):
        list(cutting.run(engine, image(), side=20))
    assert max(max(size) for size in tiles.seen) == 17 + 2 * 3  # 83 pixels in 5 tiles, and the halo
    assert (patches.seen, patches.sides) == ([(61, 83)], {20})


def test_one_tile_at_a_time():
    engine = Nearest()
    parts = cutting.run(engine, image(), side=20)
    assert engine.seen == []
    next(parts)
    assert len(engine.seen) == 1


@pytest.mark.parametrize(
    ("engine", "side", "exact"),
    [
        (Nearest(), 20, True),
        (Nearest(halo=None), None, True),
        (Nearest(halo=cutting.DEEP), 20, True),
        (Nearest(halo=351), None, True),
        (Nearest(halo=351), 20, False),
        (Nearest(halo=None), 20, False),
        (Nearest(halo=None, tile=32), None, False),
        (Patchwise(), 20, True),
    ],
)
def test_whether_tiles_are_exact(engine, side, exact):
    assert cutting.cutting_of(engine, 61, 83, side).exact is exact


def test_rows_that_are_wider_than_engines_take_come_in_parts(monkeypatch):
    monkeypatch.setattr(cutting, "WIDEST", 40)
    engine, source = Nearest(wide=True), image(9, 131)
    assert np.array_equal(joined(cutting.run(engine, source), source.shape), source.repeat(SCALE, 0).repeat(SCALE, 1))
    assert max(width for _, width in engine.seen) <= 40 + 2 * 3


def test_one_that_sees_far_gets_a_small_image_as_it_is():
    """RRDBNet of 23 blocks sees 351 pixels around each: with them around an image of 20 pixels it took minutes."""
    small, large = (cutting.cutting_of(Nearest(halo=351), side, side) for side in (20, 2000))
    assert (small.halo, small.exact) == (0, True)
    assert (large.height, large.halo, large.exact) == (cutting.TILE, cutting.DEEP_HALO, False)
