"""Models of networks that their authors quantized after training, with the authors' clipping ranges."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from sharpbit.arch import ARCHITECTURES, Clipped
from sharpbit.errors import ModelError, UsageError
from sharpbit.model.core import Model, filled
from sharpbit.nn import State
from sharpbit.quant import recorded
from sharpbit.quant.core import METHODS
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq.published_clipping import fill, float_state
from sharpbit.quant.qat.published_names import bits_in_name
from sharpbit.quant.qat.published_plans import EIGHT, AssumedBits

METHOD = "adc"


def of_clipped(state: State, arch: str, known: Clipped, source: str, given: Mapping[str, Any]) -> Model:
    """The quantized model of a published state; it can be refined, frozen and written back.

    Args:
        state: weights and clipping ranges under the authors' names.
        arch: name of the architecture.
        known: what its quantizers are called.
        source: path of the file, for errors, and for the bits in its name.
        given: `bits`, and sizes of the architecture that override what the weights tell.

    Raises:
        ModelError: the weights or the clipping ranges do not fit.
        UsageError: there is no such size, or the bits are several.
    """
    architecture, sizes = ARCHITECTURES[arch], dict(given)
    bits = _bits(sizes.pop("bits", None), arch, source)
    weights = float_state(state, known)
    config = architecture.infer(weights)
    if config is None:
        raise ModelError(f"{source} looks like a quantized {arch}, but its sizes cannot be told from its weights")
    if unknown := [key for key in sizes if key not in architecture.config.__dataclass_fields__]:
        raise UsageError(f"{arch} has no size {', '.join(unknown)}; of its quantizers, bits may be given")
    model = filled(architecture, type(config)(**{**vars(config), **sizes}), architecture.rename(weights), source)
    plan = Plan.after_training(architecture.rounding, bits, METHODS[METHOD].maps)
    model = recorded.insert_quantizers(model, plan, METHOD)
    try:
        fill(model.net, state, known)
    except ModelError as error:
        raise ModelError(f"{source} looks like a quantized {arch}, but {error}") from None
    return model


def _bits(given: Any, arch: str, source: str) -> int:
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, int):
            raise UsageError(f"{source} has one width for all images; give one as bits, not {given!r}")
        return given
    if (named := bits_in_name(source)) is not None:
        return named[0]
    warnings.warn(
        f"{source} holds {arch} with clipping ranges, but neither its weights nor its name tells how many bits they"
        " have; 8 are taken. Put 4bit into the name, or give bits=4 (--config bits=4)",
        AssumedBits,
        stacklevel=4,
    )
    return EIGHT
