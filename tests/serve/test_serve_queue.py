"""The queue without HTTP: fair turns, cancelling at every moment, and files that are gone when nobody needs them."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import picture

from sharpbit.pipeline.upscaler import Upscaler
from sharpbit.runtime import EngineOptions
from sharpbit.serve.job import Asked, Job
from sharpbit.serve.limits import Limits, Refused
from sharpbit.serve.queue import Queue
from sharpbit.serve.stored import Stored
from sharpbit.serve.work import OPEN, Upscalers, Work


def job(address="a", data=b"", **asked):
    source = Stored()
    source.file.write(data)
    source.file.flush()
    return Job("photo.png", source, Asked(**asked), address=address)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def loose():
    """Jobs that no queue lets go."""
    jobs = []
    yield lambda *given, **more: jobs.append(job(*given, **more)) or jobs[-1]
    for one in jobs:
        one.let_go()


class Held:
    """Work that waits for a permission, and notes the order."""

    def __init__(self):
        self.order, self.go, self.began = [], threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, job):
        self.order.append(job)
        self.began.release()
        self.go.acquire(timeout=20)
        job.ends("cancelled" if job.stopping.is_set() else "done")


def test_clients_have_their_turns():
    work = Held()
    queue = Queue(work, Limits(), 1)
    many = [queue.add(job("many")) for _ in range(4)]
    work.began.acquire(timeout=20)
    few = [queue.add(job("few")) for _ in range(2)]
    assert [queue.place(other) for other in (*many, *few)] == [None, 1, 2, 3, 4, 5]
    for _ in range(6):
        work.go.release()
    for other in (*many, *few):
        other.over.result(20)
    assert work.order == [many[0], few[0], many[1], few[1], many[2], many[3]]
    queue.close()


def test_cancelling_frees_files_whatever_the_state():
    before = open_files()
    work = Held()
    queue = Queue(work, Limits(), 1)
    running, waiting, third = (queue.add(job(data=b"1234")) for _ in range(3))
    work.began.acquire(timeout=20)
    assert queue.stored == 12
    queue.remove(waiting)
    assert waiting.state == "cancelled"
    queue.remove(running)
    assert running.stopping.is_set()
    with pytest.raises(Refused):
        queue.get(running.id)
    work.go.release()
    work.go.release()
    third.over.result(20)
    queue.close()
    assert work.order == [running, third]
    assert queue.ended == {"done": 1, "failed": 0, "cancelled": 2}
    assert open_files() == before


def test_each_limit_has_its_sentence(loose):
    queue = Queue(Held(), Limits(queue=2, per_client=2, kept=4, stored=100), 1)
    with pytest.raises(Refused, match="of your images"):
        [queue.add(loose("a")) for _ in range(3)]
    with pytest.raises(Refused, match="wait already"):
        [queue.add(loose(f"b{number}")) for number in range(3)]
    queue._work.go.release(9)
    queue.close()
    full = Queue(Held(), Limits(stored=100), 1)
    full.add(loose(data=bytes(100)))
    with pytest.raises(Refused, match="keeps 1 images"):
        full.add(loose())
    full._work.go.release(9)
    full.close()


def test_a_running_image_is_cancelled_between_two_strips(monkeypatch, loose):
    strips, seen = Upscaler.strips, []
    work = Work(Upscalers(EngineOptions(threads=1)), Limits(), 1)
    mine = loose(data=picture(64, 1000), scale=2.0)

    def watched(self, *args):
        for strip in strips(self, *args):
            seen.append(strip)
            mine.stopping.set()
            yield strip

    monkeypatch.setattr(Upscaler, "strips", watched)
    work(mine)
    assert mine.state == "cancelled"
    assert len(seen) == 1
    assert mine.result is None


def test_a_fault_of_ours_ends_the_job_and_not_the_server(monkeypatch, loose):
    monkeypatch.setattr(Upscaler, "chosen", lambda *args: 1 / 0)
    work = Work(Upscalers(EngineOptions()), Limits(), 1)
    mine = loose(data=picture())
    with pytest.raises(ZeroDivisionError):
        work(mine)
    assert mine.state == "failed"
    assert "a fault in sharpbit" in mine.error


def test_only_so_many_models_stay_open():
    upscalers = Upscalers(EngineOptions())
    first = upscalers.of(Asked(scale=2.0))
    assert upscalers.of(Asked(scale=2.0)) is first
    for number in range(OPEN):
        upscalers.of(Asked(scale=3 + number / 10))
    assert upscalers.of(Asked(scale=2.0)) is not first


def test_stored_files_have_no_name_and_several_readers():
    stored = Stored()
    stored.file.write(bytes(range(200)) * 1000)
    stored.file.flush()
    link = Path(f"/proc/self/fd/{stored.file.fileno()}").readlink()
    assert not link.exists()
    one, two = stored.reader(), stored.reader()
    assert one.read(150_000) == (bytes(range(200)) * 1000)[:150_000]
    assert two.read(3) == b"\0\1\2"
    two.seek(-1, os.SEEK_END)
    assert two.read() == b"\xc7"
    with pytest.raises(OSError, match="before the start"):
        one.seek(-5)
    stored.drop()
    assert one.read(1) == bytes([150_000 % 200])
    one.close()
    two.close()
    assert stored.file.closed
    with pytest.raises(FileNotFoundError):
        stored.use()


def test_a_reader_is_an_image_file(tmp_path):
    stored = Stored()
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(stored.file, "TIFF")
    stored.file.flush()
    with stored.reader() as file:
        assert Image.open(file).size == (8, 9)
    stored.drop()
