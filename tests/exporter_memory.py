"""What PyTorch's exporter works out anew for each file is remembered: files are the same to the byte."""

import copy
import functools
import importlib
import sys
import warnings


def remember():
    """Where tests export; nothing is loaded for it where none does.

    For each file it reads the source of 500 operators, half of the time of a small network.
    """
    if "sharpbit.export._trace" not in sys.modules:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
    if hasattr(registry, "read_once"):
        return
    registry.read_once = staticmethod(functools.cache(registry.from_torchlib))
    registry.from_torchlib = staticmethod(lambda *given, **named: copied(registry.read_once(*given, **named)))


def copied(registry):
    """A table of operators to which an export adds its own."""
    own = copy.copy(registry)
    own.functions = {name: list(ways) for name, ways in registry.functions.items()}
    return own
