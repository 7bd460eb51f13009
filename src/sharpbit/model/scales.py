"""Weights that hold the last layers for several upscaling factors, of which one runs."""

from __future__ import annotations

from typing import Any

from sharpbit.model.core import Model, reconfigured


def scales_of(config: Any) -> tuple[int, ...]:
    """The upscaling factors that the weights of a network of these sizes hold, the smallest first."""
    return tuple(sorted(getattr(config, "scales", (config.scale,))))


def of_factor(model: Model, factor: float | None) -> Model:
    """The network that upscales as often as it is asked for, where its weights hold several factors.

    Args:
        model: the network; one that was trained or quantized for one of its factors stays as it is.
        factor: the upscaling factor that is asked for; the smallest that is enough is taken, or the largest. None, and
            a factor of 1, leave the network as it is.
    """
    scales = scales_of(model.config)
    if factor is None or factor <= 1 or len(scales) == 1 or model.history:
        return model
    scale = next((one for one in scales if one >= factor), scales[-1])
    return reconfigured(model, scale=scale)
