"""Clients that send or take too slowly, with a clock of the test's own."""

import asyncio
from collections import Counter

import pytest

from sharpbit.serve import guard
from sharpbit.serve.guard import SLOWEST, _Reader, _Sender
from sharpbit.serve.limits import Limits, Refused


async def for_ever(*given):
    await asyncio.sleep(100)


def test_an_upload_that_trickles(monkeypatch):
    """It sends a byte a second, in time each, and is far too slow in all."""
    now = [0.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])

    async def trickle():
        now[0] += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read():
        reader = _Reader(trickle, Limits(patience=20))
        for _ in range(1000):
            await reader()

    with pytest.raises(Refused, match=f"slower than {SLOWEST:,} bytes a second"):
        asyncio.run(read())
    assert now[0] == 21


def test_an_upload_that_is_fast_enough_takes_its_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])

    async def steady():
        now[0] += 1
        return {"type": "http.request", "body": bytes(SLOWEST), "more_body": now[0] < 500}

    async def read():
        reader = _Reader(steady, Limits())
        while (await reader())["more_body"]:
            pass

    asyncio.run(read())
    assert now[0] == 500


def test_silence_while_sending():
    async def read():
        await _Reader(for_ever, Limits(patience=0.01))()

    with pytest.raises(Refused, match="nothing came"):
        asyncio.run(read())


def test_after_the_body_one_may_wait_for_the_client_to_leave():
    async def receive():
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def read():
        reader = _Reader(receive, Limits(patience=0.01))
        reader._ended = True
        return await reader()

    assert asyncio.run(read())["type"] == "http.disconnect"


def test_a_client_that_takes_nothing_is_left():
    with pytest.raises(ConnectionError, match="does not take"):
        asyncio.run(_Sender(for_ever, 0.01, Counter())({"type": "http.response.body", "body": b"x"}))
