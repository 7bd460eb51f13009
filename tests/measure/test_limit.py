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
    assert limits.of("") == limits.of("avx512_amx of another engine") == ("AMX", 2000, 1000)


@pytest.mark.parametrize(
    ("kept", "said", "counts"),
    [
        ("", "avx512_amx", "AMX"),
        ("AVX512_CORE_VNNI", "avx512", "AVX-512 VNNI"),
        ("AVX2_VNNI", "avx2", "AVX-VNNI"),
        ("AVX2", "avx2", "AVX2"),
        ("AVX2", "AVX-VNNI", "AVX-VNNI"),  # the native engine's own, which no variable of another keeps
        ("AVX2", "", "AMX"),
    ],
)
def test_of_what_another_engine_was_kept_to(monkeypatch, kept, said, counts):
    monkeypatch.setattr(native, "available", lambda: True)
    monkeypatch.setattr(native, "instruction_sets", lambda: ("amx-int8", "avx512-vnni", "avx-vnni", "avx2"))
    monkeypatch.setattr(native, "peak", lambda threads, seconds, name: 1.0)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", kept)
    limits = Limits(1)
    limits.measure(said, 0.01)
    assert limits.of(said) == (counts, 1, 1)


def test_no_instruction_set_that_the_processor_lacks(peaks, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2_VNNI")
    limits = Limits(1)
    limits.measure("avx2", 0.01)
    assert limits.of("avx2") == ("AVX2", 50, 50)


def test_without_the_native_engine(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    limits = Limits(1)
    limits.measure("AVX2", 0.01)
    assert limits.of("AVX2") is None
