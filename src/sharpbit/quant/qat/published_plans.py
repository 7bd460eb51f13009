"""Where published quantized networks have their quantizers, and how many bits: what their authors' options said."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sharpbit.arch import ARCHITECTURES
from sharpbit.errors import ModelError, UsageError
from sharpbit.quant.method.cabm import OFF, Table, TableContext
from sharpbit.quant.plan import Plan
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.qat.published_names import Published, bits_in_name

EIGHT = 8  # bits of weights of CADyQ and CABM, and those that are assumed
CHOICE = (4, 6, 8)  # the widths of CADyQ and CABM, as published


class AssumedBits(UserWarning):
    """How many bits a published network has could not be found out, and was assumed."""


def plan_of(
    found: Published,
    source: str,
    *,
    width: int,
    bits: int | Sequence[int] | None = None,
    weight_bits: int | None = None,
    legacy_conv1_float: bool | None = None,
    table: str | Path | None = None,
) -> tuple[str, Plan]:
    """The name of the method and the plan of a published quantized network.

    Args:
        found: what the names of its tensors tell.
        source: the path of its file.
        width: channels of the network's blocks.
        bits: bits of activations, or the widths to choose from; by default those in `source`, else 8 with a warning.
        weight_bits: bits of weights; by default those in `source`, else as many as activations have, and 8 for CADyQ
            and CABM.
        legacy_conv1_float: whether the input of each block's first convolution stays in float; by default as the
            authors of the method have it. The EDSR with PAMS of CADyQ's repository, whose name has `w8a8`, rounds it;
            that of PAMS does not.
        table: a path makes the network of CADyQ one of CABM.

    Raises:
        UsageError: bits that the network cannot have.
    """
    published = ARCHITECTURES[found.arch].quantized
    assert published is not None
    if found.options > 1:
        choice = tuple(bits) if isinstance(bits, Sequence) else CHOICE[: found.options]
        if isinstance(bits, int) or len(choice) != found.options:
            raise UsageError(f"{source} chooses from {found.options} widths; give so many as bits, not {bits!r}")
        legacy = "cadyq" in published.legacy if legacy_conv1_float is None else legacy_conv1_float
        plan = placement(found.arch, choice, weight_bits or EIGHT, width=width, fixed=EIGHT, legacy_conv1_float=legacy)
        return "cadyq" if table is None else "cabm", plan
    if table is not None:
        raise UsageError(f"{source} has one width for all patches, and so no table of bits; leave table out")
    if bits is not None and not isinstance(bits, int):
        raise UsageError(f"{source} has one width for all patches; give one as bits, not {bits!r}")
    known = bits_in_name(source) or (EIGHT, EIGHT)
    if bits is None and bits_in_name(source) is None:
        warnings.warn(
            f"{source} holds {found.arch} with the quantizers of {found.method.upper()}, but neither its weights nor"
            " its name tells how many bits they have; 8 are taken. Put 4bit or w4a4 into the name, or give bits=4",
            AssumedBits,
            stacklevel=5,
        )
    act = known[0] if bits is None else bits
    weight = weight_bits or (known[1] if bits is None else bits)
    options: dict[str, Any] = {} if found.gate is None else {"options": {"gate": found.gate}}
    if legacy_conv1_float is None:
        unnamed = re.search(r"w\d+a\d+", Path(source).name.lower()) is None
        legacy_conv1_float = found.method in (*published.legacy, *(published.legacy_unnamed if unnamed else ()))
    return found.method, placement(
        found.arch, act, weight, width=width, legacy_conv1_float=legacy_conv1_float, **options
    )


def fill_table(net: Any, path: str | Path, limit: float = OFF) -> int:
    """Give a CABM network its table of bits from the JSON file that the published program writes, in place.

    Patches are then scored as by that program (`legacy_edge` of `sharpbit.quant.method.cabm.TableContext`).

    Args:
        net: quantized by the method `cabm`.
        path: the file.
        limit: mean bits that every entry is under, see `Table.cheap`.

    Returns:
        How many scores the table has.

    Raises:
        ModelError: the file cannot be read.
        UsageError: it holds no such table.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"the table {path} cannot be read: {error}") from None
    assert isinstance(net.context, TableContext)
    net.context.fill(Table.from_json(text), limit, legacy_edge=True)
    return len(net.context.scores)
