"""What PyTorch's exporter works out anew for each file and each size is remembered: files are the same to the byte."""

import copy
import functools
import sys


def remember():
    """Once the exporter is loaded; nothing is loaded for it.

    For each file it reads the source of 500 operators, a third of the time of a small network; and sympy looks through
    all of an expression, again and again, for whether it is a number, a fifth of the time of a large one.
    """
    registry = getattr(sys.modules.get("torch.onnx._internal.exporter._registration"), "ONNXRegistry", None)
    if registry is None or hasattr(registry, "read_once"):
        return
    registry.read_once = staticmethod(functools.cache(registry.from_torchlib))
    registry.from_torchlib = staticmethod(lambda *given, **named: copied(registry.read_once(*given, **named)))
    expression = sys.modules["sympy.core.expr"].Expr
    expression.is_number = property(functools.lru_cache(1 << 17)(expression.is_number.fget))


def copied(registry):
    """A table of operators to which an export adds its own."""
    own = copy.copy(registry)
    own.functions = {name: list(ways) for name, ways in registry.functions.items()}
    return own
