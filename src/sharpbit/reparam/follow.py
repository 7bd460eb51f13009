"""Follows the forward of a network, piece by piece, and says what it computes in terms of `signals`.

The network is traced symbolically, so it may be written in any way: as `nn.Sequential`, with streams, shortcuts and
concatenations, with modules or functions. In place of a module that has a plain form of its own (`Reparameterizable`)
stands that form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from sharpbit.errors import ReparameterizeError
from sharpbit.reparam import kernels
from sharpbit.reparam import signals as sig
from sharpbit.reparam.base import traced
from sharpbit.reparam.kernels import Kernel
from sharpbit.reparam.signals import Value

MOST = 1 << 26  # numbers that the kernels of all pieces have, at most: 512 MiB; chains have a tenth of that


def follow(net: nn.Module, channels: int = 3) -> Value:
    """What `net` computes of an image with `channels` channels.

    Raises:
        ReparameterizeError: names the first piece that the algebra does not know, and where it is; or the network is
            no chain by far, such as one of dense blocks, of which each reads all that came before.
    """
    name, numbers = type(net).__name__, 0
    graph = traced(net).cpu().double()
    known: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        arguments, options = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        if node.op == "placeholder":
            if known:
                raise ReparameterizeError(f"{name} has more than one input; {node.name} is the second")
            known[node] = sig.image(channels)
        elif node.op == "output":
            if not isinstance(arguments[0], Value):
                raise ReparameterizeError(f"{name} gives {type(arguments[0]).__name__}, not one image")
            return arguments[0]
        else:
            known[node] = _applied(graph, name, node, arguments, options)
            if isinstance(known[node], Value):
                numbers += sum(weight.numel() for weight in known[node].terms.values())
            if numbers > MOST:
                raise ReparameterizeError(f"{name} joins so many pieces with so many others that it is no chain")
    raise AssertionError("a graph ends with its output")


def _applied(graph: nn.Module, name: str, node: fx.Node, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The result of one piece, or an error that says which it is and where."""
    if node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        where, what = f"'{node.target}'", type(module).__name__
        rule = _MODULES.get(type(module))
        arguments = (module, *arguments)
    else:
        inside = list(node.meta.get("nn_module_stack") or [""])[-1]
        where = f"the forward of '{inside}'" if inside else f"the forward of {name}"
        what = str(node.target) if isinstance(node.target, str) else str(getattr(node.target, "__name__", node.target))
        rule = _FUNCTIONS.get(_IN_PLACE.get(what, what)) if node.op != "get_attr" else None
    try:
        if rule is not None:
            return rule(*arguments, **options)
        known = ", ".join([kind.__name__ for kind in _MODULES] + [f"{function}()" for function in _FUNCTIONS])
        reason = f"is not known to the kernel algebra; known are {known}"
    except ReparameterizeError as error:
        reason = f"has no exact form: {error}"
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):
        reason = "is used in a way that the kernel algebra does not know"
    raise ReparameterizeError(f"{what} in {where} {reason}")


def _batch_norm(norm: nn.Module, x: Value) -> Value:
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.running_mean is None or norm.running_var is None:
        raise ReparameterizeError("it has no running statistics, so it depends on the whole batch")
    factor = (norm.running_var + norm.eps).rsqrt()
    offset = -norm.running_mean * factor
    if norm.affine:
        factor, offset = factor * norm.weight.detach(), offset * norm.weight.detach() + norm.bias.detach()
    return sig.convolved(x, Kernel(torch.diag(factor)[:, :, None, None], offset))


def _prelu(module: nn.Module, x: Value) -> Value:
    assert isinstance(module, nn.PReLU)
    return sig.activated(x, module.weight.detach())


def _leaky(x: Value, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return sig.activated(x, torch.tensor([float(negative_slope)]))


def _relu(x: Value, inplace: bool = False) -> Value:
    return sig.activated(x, torch.zeros(1))


def _clamp(x: Value, low: float | None = None, high: float | None = None, **bounds: float) -> Value:
    low, high = bounds.get("min", low), bounds.get("max", high)
    if low == 0 and high is None:
        return _relu(x)
    if (low, high) != (0, 1):
        raise ReparameterizeError(f"bounds {low} and {high} instead of 0 and 1")
    return sig.clipped(x)


def _add(x: Any, y: Any, alpha: float = 1.0) -> Any:
    if isinstance(x, Value) and isinstance(y, Value):
        return sig.added(x, sig.scaled(y, alpha) if alpha != 1 else y)
    value, number = (x, y) if isinstance(x, Value) else (y, x)
    return sig.scaled(value, 1.0, alpha * float(number))


def _sub(x: Any, y: Any) -> Any:
    return _add(x, sig.scaled(y, -1.0) if isinstance(y, Value) else -y)


def _mul(x: Any, y: Any) -> Any:
    value, number = (x, y) if isinstance(x, Value) else (y, x)
    return sig.scaled(value, float(number))


def _repeat(x: Value, repeats: int, dim: int) -> Value:
    if dim not in (1, -3):
        raise ReparameterizeError("a repetition of something else than channels")
    return sig.selected(x, torch.arange(len(x.bias)).repeat_interleave(repeats))


def _cat(values: Any, dim: int = 0, axis: int | None = None) -> Value:
    if (dim if axis is None else axis) not in (1, -3):
        raise ReparameterizeError("a concatenation of something else than channels")
    return sig.concatenated(list(values))


def _item(x: Any, key: Any) -> Any:
    if not isinstance(x, Value):
        return x[key]
    everything = slice(None)
    pieces = key if isinstance(key, tuple) else (key,)
    if len(pieces) < 2 or pieces[0] != everything or any(piece not in (everything, Ellipsis) for piece in pieces[2:]):
        raise ReparameterizeError("a choice of something else than channels")
    if not isinstance(pieces[1], slice):
        raise ReparameterizeError("a choice of channels that is no range")
    return sig.selected(x, torch.arange(len(x.bias))[pieces[1]])


def _nearest(x: Value, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **rest: Any) -> Value:
    factor = scale_factor[0] if isinstance(scale_factor, tuple) else scale_factor
    if mode not in ("nearest", "nearest-exact") or size is not None or int(factor) != factor:
        raise ReparameterizeError(f"an interpolation that is {mode!r} and not 'nearest' by a whole factor")
    return sig.shuffled(_repeat(x, int(factor) ** 2, 1), int(factor))


def _transposed(module: nn.Module, x: Value) -> Value:
    assert isinstance(module, nn.ConvTranspose2d)
    return sig.shuffled(sig.convolved(x, kernels.of_transposed(module)), module.stride[0])


_MODULES: dict[type[nn.Module], Callable[..., Any]] = {
    nn.BatchNorm2d: _batch_norm,
    nn.Conv2d: lambda module, x: sig.convolved(x, kernels.of(module)),
    nn.ConvTranspose2d: _transposed,
    nn.Dropout: lambda module, x: x,
    nn.Dropout2d: lambda module, x: x,
    nn.Hardtanh: lambda module, x: _clamp(x, module.min_val, module.max_val),
    nn.Identity: lambda module, x: x,
    nn.LeakyReLU: lambda module, x: _leaky(x, module.negative_slope),
    nn.PReLU: _prelu,
    nn.PixelShuffle: lambda module, x: sig.shuffled(x, module.upscale_factor),
    nn.ReLU: lambda module, x: _relu(x),
    nn.Upsample: lambda module, x: _nearest(x, module.size, module.scale_factor, module.mode),
}
_IN_PLACE = {"iadd": "add", "imul": "mul", "isub": "sub", "relu_": "relu", "clamp_": "clamp", "concat": "cat"}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": _add,
    "cat": _cat,
    "clamp": _clamp,
    "getitem": _item,
    "interpolate": _nearest,
    "leaky_relu": _leaky,
    "mul": _mul,
    "neg": lambda x: sig.scaled(x, -1.0),
    "pixel_shuffle": sig.shuffled,
    "relu": _relu,
    "repeat_interleave": _repeat,
    "sub": _sub,
    "truediv": lambda x, number: sig.scaled(x, 1 / number),
}
