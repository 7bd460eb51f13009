"""Reading ahead and writing behind really happen while the network runs; seen by events, not by the clock."""

import threading
from pathlib import Path

import numpy as np
import pytest

from sharpbit.image import ImageData, Metadata
from sharpbit.pipeline import batch as batches
from sharpbit.pipeline import making, reading
from sharpbit.pipeline.batch import Batch
from sharpbit.pipeline.chain import Chain
from sharpbit.pipeline.jobs import Job
from sharpbit.pipeline.writing import Target, Written

PATIENCE = 10  # seconds, after which a test fails


class Upscaler:
    """Two strips an image; says when it begins, and waits for what the test says."""

    def __init__(self, number):
        self.began = [threading.Event() for _ in range(number)]
        self.wait_for = [None] * number
        self.count = -1

    def chosen(self, image):
        return image

    def plan(self, height, width, dtype):
        return "model", 2 * height, 2 * width

    def chain_of(self, image):
        height, width = image.pixels.shape[:2]
        return Chain(("model",), (2,), 2 * height, 2 * width, False)

    def strips(self, image, name, progress):
        self.count += 1
        self.began[self.count].set()
        if self.wait_for[self.count] is not None:
            assert self.wait_for[self.count].wait(PATIENCE), "nothing happened meanwhile"
        for _ in range(2):
            progress(0.5)
            yield np.zeros((1, 1, 3), np.uint8), None


@pytest.fixture
def jobs(tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(b"")
    return [Job(tmp_path / f"{k}.png", tmp_path / f"{k}_x2.png") for k in range(3)]


@pytest.fixture
def images(monkeypatch):
    read = [threading.Event() for _ in range(3)]

    def open_one(path, **more):
        read[int(Path(path).stem)].set()
        return ImageData(np.zeros((4, 4, 3), np.uint8), None, Metadata(), (), "PNG")

    monkeypatch.setattr(batches.image_io, "read", open_one)
    monkeypatch.setattr(batches.image_io, "probe", lambda path, most: (4, 4))
    monkeypatch.setattr(making, "write", lambda strips, *rest: Written((), 0.5 * len(list(strips))))
    return read


def test_the_next_image_is_read_while_the_network_runs(jobs, images):
    upscaler = Upscaler(3)
    upscaler.wait_for[0] = images[1]
    upscaler.wait_for[1] = images[2]
    assert [o.status for o in Batch(upscaler, Target()).run(jobs, lambda share: None)] == ["done"] * 3


def test_a_image_is_written_while_the_network_runs_on_the_next(jobs, images, monkeypatch):
    upscaler = Upscaler(3)
    order = []

    def write(strips, upscaler_, image, target, how):
        number = int(Path(target).stem[0])
        assert len(list(strips)) == 2
        if number < 2:
            assert upscaler.began[number + 1].wait(PATIENCE), "the network waited"
        order.append(number)
        return Written((f"note {number}",), 1.0)

    monkeypatch.setattr(making, "write", write)
    batch = Batch(upscaler, Target())
    outcomes = list(batch.run(jobs, lambda share: None))
    assert [o.status for o in outcomes] == ["done"] * 3
    assert [o.notes for o in outcomes] == [("note 0",), ("note 1",), ("note 2",)]
    assert order == [0, 1, 2]
    assert batch.spent.encode == pytest.approx(3)


def test_large_images_go_through_one_at_a_time(jobs, images, monkeypatch):
    for module in (batches, reading):
        monkeypatch.setattr(module, "READ_AHEAD", 15)
    upscaler = Upscaler(3)
    begun = []

    def write(strips, upscaler_, image, target, how):
        list(strips)
        begun.append([event.is_set() for event in upscaler.began])
        return Written((), 0.0)

    monkeypatch.setattr(making, "write", write)
    assert [o.status for o in Batch(upscaler, Target()).run(jobs, lambda share: None)] == ["done"] * 3
    assert begun == [[True, False, False], [True, True, False], [True, True, True]]


def test_what_goes_wrong_in_writing_ends_that_image_alone(jobs, images, monkeypatch):
    def write(strips, upscaler_, image, target, how):
        if Path(target).stem.startswith("1"):
            raise OSError(28, "No space left on device")
        list(strips)
        return Written((), 0.0)

    monkeypatch.setattr(making, "write", write)
    shares = []
    outcomes = list(Batch(Upscaler(3), Target()).run(jobs, shares.append))
    assert [o.status for o in outcomes] == ["done", "failed", "done"]
    assert "No space left" in outcomes[1].error
    assert sum(shares) == pytest.approx(3)


def test_an_interruption_ends_the_writing_too(jobs, images, monkeypatch):
    ended = threading.Event()

    def write(strips, upscaler_, image, target, how):
        try:
            list(strips)
        except KeyboardInterrupt:
            ended.set()
            raise
        return Written((), 0.0)

    class Interrupted(Upscaler):
        def strips(self, image, name, progress):
            yield from super().strips(image, name, progress)
            if self.count == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(making, "write", write)
    run = Batch(Interrupted(3), Target()).run(jobs, lambda share: None)
    assert next(run).status == "done"  # the first is complete, and told
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert ended.is_set()
