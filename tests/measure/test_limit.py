"""The limit of the processor: of which instruction set, and what there is without the native engine."""

import pytest

from sharpbit.measure.limit import Limits
from sharpbit.runtime import native


@pytest.fixture
def peaks(monkeypatch):
    """A processor whose limits are made up."""
    values = {"amx-int8": [900.0, 2000.0, 1000.0], "avx2": [50.0, 40.0]}
    monkeypatch.setattr(native, "available", lambda: True)
    monkeypatch.setattr(native, "instruction_sets", lambda: ("amx-int8", "avx2"))
    monkeypatch.setattr(native, "peak", lambda threads, seconds, name: values[name or "amx-int8"].pop(0))


def test_of_the_instruction_set_that_runs(peaks):
    limits = Limits(2)
    assert limits.of("AMX") is None
    for name in ("AMX", "AVX2", "avx512 of another engine", "AVX2", ""):
        limits.measure(name, 0.01)
    assert limits.of("AMX") == ("AMX", 2000, 1000)
    assert limits.of("AVX2") == ("AVX2", 50, 45)
    assert limits.of("") == limits.of("avx512 of another engine") == ("AMX", 2000, 1000)


def test_without_the_native_engine(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    limits = Limits(1)
    limits.measure("AVX2", 0.01)
    assert limits.of("AVX2") is None
