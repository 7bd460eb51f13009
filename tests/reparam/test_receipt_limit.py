"""How far a plain form may be apart: 1e-5, or what rounding does to the network itself."""

import pytest

from sharpbit import model as models
from sharpbit.errors import ReparameterizeError
from sharpbit.reparam.receipt import EquivalenceReceipt, receipt


def proof(**given):
    return EquivalenceReceipt((8, 8), (1, 1), **{"difference": 3e-5, "border": 0.0, "double": 1e-14, **given})


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_released_fsrcnn_becomes_a_chain(shared, scale):
    """At x2 the two are 1.2e-5 apart in float32, the network from itself in float64 twice as far."""
    model = models.load(shared / "weights" / "etds" / "FSRCNN" / f"FSRCNN_x{scale}.pth")
    found = receipt(model.net, models.reparameterize(model).net, scale)
    found.check()
    assert found.double < 1e-12


def test_rounding_explains_no_more_than_twice_itself():
    proof(rounding=2e-5).check()
    for worse in (
        {"rounding": 1e-5},
        {"rounding": 0.0},
        {"rounding": 1.0, "double": 1e-6},
        {"difference": float("nan")},
    ):
        with pytest.raises(ReparameterizeError, match="differs by"):
            proof(**worse).check()
