"""The published counting of RefQSR: residuals of every row, and the rules behind them."""

import sys
from pathlib import Path

import pytest

from loaded_script import script
from sharpbit import recipe
from sharpbit.cost.published import Bits
from sharpbit.cost.two_pass import classifier, count_two_pass
from sharpbit.model import build
from sharpbit.quant.refqsr import published

ROOT = Path(__file__).parents[2]

# BitOPs and FQR, here less published, of 8-5, 8-4, 8-3, 4-3 and 4-2; of PAMS and DDTB alike
RESIDUALS = {
    ("SRResNet", "Urban100"): ((-0.002, -0.002, -0.002, -0.002, -0.001), (-0.004, -0.003, -0.001, 0.002, 0.004)),
    ("SRResNet", "Test2K"): ((0.008, 0.001, -0.002, 0.006, -0.002), (-0.002, 0.001, 0.004, 0.003, -0.004)),
    ("SRResNet", "Test4K"): ((0.030, 0.024, 0.021, 0.011, 0.010), (0.002, -0.001, -0.004, -0.003, 0.004)),
    ("CARN", "Urban100"): ((0.001, -0.007, -0.005, -0.002, 0.000), (0.007, -0.004, 0.004, -0.001, 0.008)),
    ("CARN", "Test2K"): ((-0.005, 0.000, -0.003, -0.005, -0.005), (0.008, 0.001, 0.004, 0.003, -0.004)),
    ("CARN", "Test4K"): ((-0.007, -0.014, -0.008, -0.017, -0.020), (0.0, 0.0, 0.0, 0.0, 0.0)),
    ("ELAN", "Urban100"): ((0.099, 0.002, 0.004, 0.003, 0.004), (0.005, -0.001, 0.004, 0.005, 0.000)),
    ("ELAN", "Test2K"): ((0.007, 0.015, 0.020, -0.003, 0.009), (0.003, 0.004, -0.005, 0.001, 0.002)),
    ("ELAN", "Test4K"): ((0.055, 0.091, 0.115, -0.001, 0.029), (0.003, 0.004, 0.005, 0.001, 0.002)),
}
COLUMNS = ("8-5", "8-4", "8-3", "4-3", "4-2")
SHARES = {"srresnet": 26 / 32, "carn": 14 / 18, "elan": 177 / 204}


@pytest.fixture(scope="module")
def tables():
    return script("refqsr_tables")


@pytest.fixture(scope="module")
def rows(tables):
    return tables.rows()


@pytest.mark.parametrize(("network", "data"), RESIDUALS)
def test_rows_of_fixed_bits(rows, network, data):
    for method in ("PAMS", "DDTB"):
        for column, bits in enumerate(COLUMNS):
            (row,) = (
                row
                for row in rows
                if (row.table in (2, 4), row.network, row.data, row.method, row.bits, row.variant)
                == (True, network, data, method, bits, "")
            )
            bitops, fqr = (values[column] for values in RESIDUALS[network, data])
            assert row.residual == pytest.approx(bitops, abs=0.0006)
            assert row.fqr_found - row.fqr == pytest.approx(fqr, abs=0.0055)


def test_rows_of_chosen_bits(rows):
    worst = {("SRResNet", "delta-4"): 0.13, ("CARN", "delta-4"): 0.44, ("SRResNet", "delta-3"): 2.1}
    worst |= {("CARN", "delta-3"): 1.9, ("ELAN", "delta-4"): 7.5, ("ELAN", "delta-3"): 8.3}
    for row in rows:
        if row.bits.startswith("delta") and row.table in (2, 4):
            assert abs(row.percent) <= worst[row.network, row.bits], row


def test_the_other_tables(rows):
    found = {(row.table, row.variant, row.patch): row.found for row in rows if row.table in (3, 5, 6, 7)}
    assert found[6, "medium 4", 96] == pytest.approx(54.91, abs=0.005)
    assert found[6, "RefERs alone", 96] == pytest.approx(7.84, abs=0.005)
    assert found[3, "SCAN", 72] is None
    assert found[5, "concat", 72] - found[5, "", 72] > 0.13
    sizes = [found[7, "", patch] for patch in (48, 72, 96, 256, 384)]
    assert sizes == pytest.approx([67.91, 58.96, 56.31, 58.94, 66.83], abs=0.03)


def test_the_ablation_without_refer_is_one_thing(tables):
    """Its recipe, the row of the evidence and the count leave many bits to the blocks that RefERs replace elsewhere."""
    counted = tables.counts("SRResNet", refers=False)
    assert counted.refers == 0
    assert counted.low == tables.counts("SRResNet", refers=True).low
    assert counted.whole.selectors - counted.kept.selectors == counted.low.selectors
    recipes = ROOT / "recipes"
    for path in (
        recipes / "refqsr" / "srresnet-cadyq-d-3-no-refer-x4.toml",
        recipes / "evidence" / "refqsr" / "small-refqsr-no-refer-x2.toml",
        recipes / "evidence" / "carn-m" / "carn-m-refqsr-8-4-no-refer-x2.toml",
    ):
        (step,) = (step.settings for step in recipe.read(path).step if step.verb == "refqsr")
        assert (step["form"], "refers" in step) == ("none", False), path.name


def test_the_command_lists_what_it_does_not_explain(tables, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["refqsr_tables.py"])
    assert tables.main() == 0
    text = capsys.readouterr().out
    assert "NO NOTE" not in text
    assert "- table 6, SRResNet DDTB RefERs alone 8-4 Test4K (+86.6 %): cannot be two RefERs" in text
    assert text.count("\n- ") == 37
    monkeypatch.setattr(sys, "argv", ["refqsr_tables.py", "--queries", "Urban100=0.8"])
    assert tables.main() == 1  # other shares are not those of the table


@pytest.mark.parametrize("name", SHARES)
def test_the_share_of_few_bits(name):
    model = build(name, scale=4)
    found = count_two_pass(name, model.net, published(name, model.config, "pams", 8, 4), model.config.width)
    assert found.share == pytest.approx(SHARES[name])
    for high, low, queries in ((8, 4, 0.5), (4, 2, 0.3)):
        fqr = found.fqr(high, low, queries)
        assert fqr == pytest.approx(high - (high - low) * queries * SHARES[name])
        assert found.high(fqr, low, queries) == pytest.approx(high)
    everything = found.kept.macs + found.low.macs
    gone = {"srresnet": 2 * 73_728, "carn": 73_728, "elan": 2 * (14_400 + 1080)}[name]
    assert everything + gone == pytest.approx(found.whole.macs)
    assert found.convs == {"srresnet": 73_728, "carn": 73_728, "elan": 14_400}[name]


def test_no_queries_cost_what_the_network_costs():
    model = build("srresnet", scale=4)
    found = count_two_pass("srresnet", model.net, published("srresnet", model.config, "pams", 8, 4), 64)
    high, low = Bits(8, 8), Bits(6, 4)
    plain = found.whole.bitops(high, 1000)
    assert found.bitops(high, low, 1000, 1, 96, 0.0) == pytest.approx(plain + classifier(1, 96))
    costs = [found.bitops(high, low, 1000, 1, 96, queries) for queries in (0.0, 0.3, 0.6, 1.0)]
    assert costs == sorted(costs, reverse=True)


def test_the_classifier():
    assert [round(classifier(n, p) / 1e9, 4) for n, p in ((8, 72), (10, 96), (55, 96))] == [0.0262, 0.0617, 0.3396]
