"""The order in which verbs follow each other: one in a wrong place is refused, with the right order in a sentence."""

from __future__ import annotations

from torch import nn

from sharpbit.arch.integer import Integer
from sharpbit.errors import QuantizeError
from sharpbit.quant.core import quantizers
from sharpbit.quant.frozen import QDQ, Integers
from sharpbit.quant.graph.network import IntegerGraphNetwork

FLOAT, ROUNDED, FROZEN, INTEGERS = "in float", "quantized", "frozen", "in integers"
ORDER = "train, reparameterize, quantize (calibrate, refine), freeze, export"
REFUSED = {
    "reparameterizing": (ROUNDED, FROZEN, INTEGERS),
    "quantizing": (ROUNDED, FROZEN, INTEGERS),
    "making two passes": (ROUNDED, FROZEN, INTEGERS),
    "compressing": (ROUNDED, FROZEN, INTEGERS),
    "training": (FROZEN, INTEGERS),
    "calibrating": (FROZEN, INTEGERS),
    "equalizing": (FLOAT, FROZEN, INTEGERS),
    "rounding with error compensation": (FLOAT, FROZEN, INTEGERS),
    "refining": (FROZEN, INTEGERS),
    "reconstructing the last layer": (FROZEN, INTEGERS),
    "freezing": (FROZEN, INTEGERS),
}


def stage(net: nn.Module) -> str:
    """How far a network is: in float, quantized (as in training), frozen, or in integers."""
    if isinstance(net, Integer | IntegerGraphNetwork):
        return INTEGERS
    if any(isinstance(part, QDQ | Integers) for part in net.modules()):
        return FROZEN
    return ROUNDED if any(True for _ in quantizers(net)) else FLOAT


def check(net: nn.Module, doing: str, name: str = "") -> None:
    """See whether a verb may follow on what was done to a network.

    Args:
        net: the network.
        doing: what is about to be done, a key of `REFUSED`.
        name: what the network is called, by default its class.

    Raises:
        QuantizeError: it may not; the sentence has the right order.
    """
    found = stage(net)
    if found not in REFUSED[doing]:
        return
    name = name or type(net).__name__
    way = "quantize it first" if found == FLOAT else "begin with the float network that it was made from"
    state = f"is {found}" if found == FLOAT else f"is {found} already"
    raise QuantizeError(f"{doing} comes too {_when(found)}: this {name} {state}; {way}; the order is {ORDER}")


def _when(found: str) -> str:
    return "early" if found == FLOAT else "late"


def check_base(net: nn.Module, doing: str) -> None:
    """See whether a network can be the base that two passes begin with: trained, in float or with quantizers.

    Raises:
        QuantizeError: it is frozen or in integers.
    """
    found = stage(net)
    if found in (FROZEN, INTEGERS):
        raise QuantizeError(
            f"{doing} needs a base that can still be trained, and this {type(net).__name__} is {found}; give the"
            f" network from before it was frozen; the order is {ORDER}"
        )


def check_calibrated(net: nn.Module, doing: str) -> None:
    """See whether the clipping ranges of a quantized network have seen images.

    Raises:
        QuantizeError: they have not.
    """
    missing = next((name for name, own in net.named_parameters() if not bool(own.isfinite().all())), None)
    if missing is not None:
        raise QuantizeError(
            f"{doing} comes too early: the range {missing} was never calibrated; calibrate first; the order is {ORDER}"
        )
