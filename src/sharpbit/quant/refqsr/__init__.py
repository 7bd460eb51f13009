"""RefQSR: two passes over shared weights, first of references with many bits, then of queries with few.

A block late in the network gives way to a `RefER` in the second pass, which compares what it gets with what the block
got in the first. No network knows of it: blocks are wrapped by name, and quantizers have an option for each pass.

Source: "Reference-based Quantization for Image Super-Resolution", arXiv 2404.01690. Two things that it leaves
open are choices here: a RefER takes the reference's feature of its own depth, and low bits are never chosen.
"""

from sharpbit.quant.refqsr.network import Refined, begin, build
from sharpbit.quant.refqsr.plan import TwoPass, published
from sharpbit.quant.refqsr.switch import (
    QUERY,
    REFERENCE,
    QueryPass,
    ReferencePass,
    Switch,
    by_role,
    choices,
    in_two_passes,
    query,
    reference,
)

__all__ = [
    "QUERY",
    "REFERENCE",
    "QueryPass",
    "ReferencePass",
    "Refined",
    "Switch",
    "TwoPass",
    "begin",
    "build",
    "by_role",
    "choices",
    "in_two_passes",
    "published",
    "query",
    "reference",
]
