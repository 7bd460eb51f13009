"""What the authors of ETDS, ECBSR and ABPN call the tensors of their plain and converted networks.

Source: `core/archs/ir` of ECNUSR/ETDS. The other direction is in `sharpbit.arch.plain`, which reads these names.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sharpbit.nn import State

ABPN, ECBSR = "abpn", "ecbsr"
_SPARE = (3, 4)  # channels beyond those of the pixel shuffle in the last but two layers of a converted ABPN


def authors(state: State, config: Any, source: str) -> dict[str, Tensor]:
    """The tensors under the names of the class that the authors have for such a chain.

    Args:
        state: tensors under our names.
        config: the sizes of the chain (`sharpbit.arch.plain.Config`).
        source: name of the architecture that the chain was made of; empty where that is not known.
    """
    named = {}
    for number, name in enumerate(_convolutions(config, source or _guessed(config))):
        for kind in ("weight", "bias"):
            named[f"{name}.{kind}"] = state[f"layers.{number}.{kind}"]
        if (slope := f"acts.{number}.weight") in state:
            named[f"{name.removesuffix('.0')}.1.weight"] = state[slope]
    return named


def _convolutions(config: Any, source: str) -> list[str]:
    depth, clipped = len(config.chain), config.chain[-1].side == 1
    if any(layer.act == "prelu" for layer in config.chain) or source == ECBSR:
        return [f"backbone.{number}.0" for number in range(depth)]
    if source == ABPN:
        inner = [f"backbone.{number + 1}.0" for number in range(1, depth - 3)]
        return ["backbone.0", *inner, *(f"backbone.{depth + number}" for number in (-2, 0, 2))]
    ends = ["conv_last", "conv_clip"] if clipped else ["conv_last"]
    return ["conv_first", *(f"backbone_convs.{number}" for number in range(depth - 1 - len(ends))), *ends]


def _guessed(config: Any) -> str:
    """What a converted chain was made of, by its widths."""
    rows = 3 * config.scale**2
    wide = config.layers and len(config.chain) > 3 and config.chain[-3].outputs - rows in _SPARE
    return ABPN if wide and config.chain[-1].side == 1 else ""
