"""A network with what is known about it, in memory and in one safetensors file."""

from sharpbit.arch import ARCHITECTURES
from sharpbit.model.core import Model, build, described, reconfigured, reparameterize, save
from sharpbit.model.reading import from_state, load
from sharpbit.model.scales import of_factor, scales_of

__all__ = [
    "ARCHITECTURES",
    "Model",
    "build",
    "described",
    "from_state",
    "load",
    "of_factor",
    "reconfigured",
    "reparameterize",
    "save",
    "scales_of",
]
