"""Timing: what counts as a sample, what is left out, and when it is enough."""

from types import SimpleNamespace

import pytest

from sharpbit.errors import SharpbitError
from sharpbit.measure import latency
from sharpbit.measure.cold_start import Task, cold_start
from sharpbit.measure.latency import interleaved, single_stream


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only sleeping moves."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    found = SimpleNamespace(sleep=sleep, perf_counter=lambda: now[0])
    monkeypatch.setattr(latency, "time", found)
    monkeypatch.setattr(latency, "_others", lambda: 0.0)
    return found


def sleeper(clock, seconds, calls):
    def call():
        calls.append(seconds)
        clock.sleep(seconds)

    return call


def test_in_turn(clock):
    calls, shares = [], []
    found = interleaved(
        {"a": sleeper(clock, 0.002, calls), "b": sleeper(clock, 0.006, calls)}, seconds=0, progress=shares.append
    )
    assert calls[:4] == [0.002, 0.002, 0.006, 0.006]  # one that is not timed, one that is
    assert [result.samples for result in found.values()] == [latency.LEAST] * 2
    assert [found[name].median_ms for name in "ab"] == pytest.approx([2, 6])
    assert found["a"].min_ms <= found["a"].p10_ms <= found["a"].median_ms <= found["a"].p90_ms
    assert found["a"].spread == pytest.approx((found["a"].p90_ms - found["a"].p10_ms) / found["a"].median_ms)
    assert sum(shares) == pytest.approx(1)


def test_something_beside_each_sample():
    order = []
    interleaved({"a": lambda: order.append("call")}, seconds=0, beside=order.append)
    assert order == ["a", "call", "call"] * latency.LEAST


def test_as_long_as_asked(clock):
    assert interleaved({"a": sleeper(clock, 0.001, [])}, seconds=0.05)["a"].seconds >= 0.05


@pytest.mark.parametrize(("every", "dropped"), [(4, True), (1, False)])
def test_disturbed_samples_are_left_out_where_others_remain(monkeypatch, clock, every, dropped):
    """Each `every`th sample is slow, and the system says that another process was at work."""
    work = [0.0]
    count = [0]

    def call():
        count[0] += 1
        if count[0] % (2 * every) == 0:  # timed calls are the even ones
            work[0] += 1.0
            clock.sleep(0.01)

    monkeypatch.setattr(latency, "_others", lambda: work[0])
    found = interleaved({"a": call}, seconds=0)["a"]
    assert (found.dropped > 0) == dropped
    assert (found.disturbed > 0) == (not dropped)
    assert (found.p90_ms < 5) == dropped
    assert found.samples + found.dropped >= latency.LEAST


def test_single_stream_is_at_least_both(clock):
    calls = []
    found = single_stream(sleeper(clock, 0, calls), frames=50, seconds=0)
    assert (found.samples, len(calls)) == (50, 50)
    assert single_stream(sleeper(clock, 0.001, []), frames=1, seconds=0.03).seconds >= 0.03
    assert (latency.FRAMES, latency.SECONDS) == (1024, 60)


def test_a_fresh_process():
    from sharpbit import zoo

    path = str(zoo.path_of("x2-clean-balanced"))
    found = cold_start(Task(path, "onnx", 1, None, (16, 16)))
    assert found.first_s > 0
    if found.memory_mib is not None:
        assert 10 < found.engine_mib < found.memory_mib < 1000
    with pytest.raises(SharpbitError, match=r"in a process of its own: .*missing\.onnx"):
        cold_start(Task("missing.onnx", "onnx", 1, None, (16, 16)))
