"""The published counting of BitOPs, every row of the tables."""

import sys

import pytest

from loaded_script import script
from sharpbit.cost.published import Bits, counted
from sharpbit.errors import UsageError
from sharpbit.model import build

MACS = {"srresnet": 1_179_648, "carn": 663_552, "elan": 829_440}  # a small pixel
SELECTORS = {"srresnet": 32, "carn": 18, "elan": 204}


@pytest.fixture(scope="module")
def tables():
    return script("bitops_tables")


@pytest.mark.parametrize("name", MACS)
def test_operations_are_counted_from_the_network(name):
    found = counted(name, build(name, scale=4).net)
    assert found.macs == MACS[name]
    assert found.selectors == SELECTORS[name]
    half = counted(name, build(name, scale=2, **({} if name == "carn" else {"blocks": 4})).net)
    assert half.macs == MACS[name] * {"srresnet": 4 / 16, "carn": 1, "elan": 4 / 12}[name]


def test_every_row_of_the_tables(tables):
    rows = tables.rows()
    own = [row for row in rows if row.table in (2, 4)]
    assert sum(row.bits != "delta" for row in own) == 45
    assert sum(row.bits == "delta" for row in own) == 18
    off = [row for row in rows if not row.holds]
    assert [(row.network, row.method, row.data) for row in off] == [("ELAN", "CADyQ", "Urban100")]
    assert off[0].residual == pytest.approx(-0.102, abs=0.001)
    assert max(abs(row.residual) for row in rows if row.method == "CABM") < 0.0051


def test_the_command(tables, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bitops_tables.py"])
    assert tables.main() == 0
    assert "70 of 71 rows" in capsys.readouterr().out


def test_bits_of_a_rule():
    found = counted("elan", build("elan", scale=2, blocks=1).net)
    assert found.bitops(Bits(32, 32), 10) == 2 * 10 * found.macs
    apart = found.bitops(Bits(8, 4), 1) - found.bitops(Bits(8, 3), 1)
    local, project = 4 * 7200 + 1080 * 2, 60 * (120 + 60 + 60 + 60)
    scores, mixes = 20 * (16 + 64 + 256), 2 * 20 * (16 + 64 + 256)
    assert apart == pytest.approx(2 / 1024 * ((local + project) * 8 + scores * (16 - 9) + mixes * 32))
    free = found.bitops(Bits(8, 4), 7)
    assert found.bitops(Bits(8, 4), 7, selectors=True) == pytest.approx(free + 2 * 4.5 * 17 * 7)


def test_networks_without_a_rule():
    with pytest.raises(UsageError, match="no paper says how BitOPs of edsr"):
        counted("edsr", build("edsr", scale=2, blocks=1, width=8).net)
    with pytest.raises(UsageError, match="names no layer"):
        counted("carn", build("edsr", scale=2, blocks=1, width=8).net)
