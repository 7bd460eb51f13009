"""The post-training methods of the native engine, chains and graphs in integers, and which of them suits a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise

from torch import Tensor

from sharpbit.arch import ARCHITECTURES
from sharpbit.arch.integer import Integer, of_chain
from sharpbit.cost import macs
from sharpbit.errors import QuantizeError, ReparameterizeError, UsageError
from sharpbit.model import Model
from sharpbit.modelfile.history import Verb
from sharpbit.modelfile.integer_chain import MAX_CHANNELS, MAX_LAYERS, MAX_SCALE
from sharpbit.quant.graph import GraphSettings
from sharpbit.quant.history import QuantizeLossless, QuantizeSloped
from sharpbit.quant.lossless import quantize_chain
from sharpbit.quant.sloped import SlopedSettings, quantize_sloped
from sharpbit.reparam.chain import Chain, chain, relu_chain
from sharpbit.system.progress import Phases
from sharpbit.verbs.quantization_settings import QuantizationSettings
from sharpbit.verbs.quantize_graph import can_be_graph, integer_graph

OTHERS = "the float network runs as it is, and --method tuned takes any network (-o NAME.onnx)"
LOSSLESS, SLOPED, GRAPH = "lossless", "sloped", "graph"
CHAIN_KERNEL = 3  # the side of a kernel of an integer chain
MORE = 1.5  # times the operations that another form of the network does
COUNTED = (32, 32)  # height and width of the image for which operations are counted


@contextmanager
def _naming_others(model: Model, activation: str, method: str) -> Iterator[None]:
    """Errors of a network that a method for chains does not take, with the methods that take others."""
    try:
        yield
    except ReparameterizeError as error:
        raise QuantizeError(
            f"{model.called} is no chain of convolutions and {activation}, which the method {method} takes: {error};"
            f" {OTHERS}"
        ) from None
    except QuantizeError as error:
        raise QuantizeError(f"{error}; {OTHERS}") from None


def lossless(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A chain of convolutions and ReLU in 8-bit integers. See `sharpbit.quant.lossless`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network is no such chain.
    """
    _check_chain(settings, LOSSLESS)
    with _naming_others(model, "ReLU", LOSSLESS):
        net = of_chain(quantize_chain(relu_chain(model.net), crops, progress=progress))
    return integer_model(model, net, QuantizeLossless(model.arch.name, bits=8, crops=len(crops)))


def sloped(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A chain of convolutions and PReLU, perhaps with the image added, in 8-bit integers. See `sharpbit.quant.sloped`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network is no such chain.
    """
    _check_chain(settings, "sloped")
    with _naming_others(model, "PReLU", "sloped"):
        gate = SlopedSettings(gate=settings.gate)
        net = of_chain(quantize_sloped(chain(model.net, "plain"), crops, gate, progress=progress))
    return integer_model(model, net, QuantizeSloped(model.arch.name, bits=8, crops=len(crops)))


def graph(model: Model, crops: Tensor, settings: QuantizationSettings, progress: Phases | None) -> Model:
    """A network with skips, concatenations, gates and pools in integers. See `sharpbit.quant.graph`.

    Raises:
        UsageError: not 8 bits, or something to refine or to keep.
        QuantizeError: the network has an operator that has no form in integers.
    """
    _check_chain(settings, GRAPH)
    return integer_graph(model, crops, GraphSettings(gate=settings.gate, keep=settings.work), progress, OTHERS)


def suited(model: Model, *, portable: bool = False) -> str:
    """The name of the method that `auto` is for a model: `lossless` or `sloped` where it is a chain, else `graph`.

    A chain in which PReLU and skips became channels may do many times the operations of the network. Of the forms that
    are possible the first is taken that does not do `MORE` times the operations of one that follows.

    Args:
        model: A float model.
        portable: Whether its result is to run in other engines than the native one, as that of `lossless` does.
    """
    found = []
    for method, form in ((LOSSLESS, relu_chain), (SLOPED, partial(chain, form="plain"))):
        try:
            one = form(model.net)
        except ReparameterizeError:
            continue
        if _narrow(one):
            found.append((method, float(_operations(one))))
    if not found or (portable and found[0][0] == LOSSLESS):
        return found[0][0] if found else GRAPH
    least = min(operations for _, operations in found)
    own = macs.count(model.net, COUNTED).macs / (COUNTED[0] * COUNTED[1])
    if least > MORE * own and can_be_graph(model):
        return GRAPH
    return next(method for method, operations in found if operations <= MORE * least)


def _operations(found: Chain) -> int:
    """Multiply-accumulate operations of an integer chain for a pixel, whose kernels are all of 3x3."""
    outputs = [len(stage.kernel.bias) for stage in found.stages]
    return CHAIN_KERNEL**2 * sum(a * b for a, b in pairwise([3, *outputs]))


def _narrow(found: Chain) -> bool:
    """Whether an integer chain can be so wide, so deep and upscale so much."""
    layers = [stage.kernel for stage in found.stages]
    small = all(len(kernel.bias) <= MAX_CHANNELS and kernel.side <= CHAIN_KERNEL for kernel in layers)
    return small and len(layers) <= MAX_LAYERS and found.scale <= MAX_SCALE


def _check_chain(settings: QuantizationSettings, method: str) -> None:
    if settings.bits != 8:
        asked = ", ".join(map(str, settings.widths))
        raise UsageError(f"the method {method} makes 8 bits, not {asked}; leave --bits out, or take --method tuned")
    if settings.asymmetric:
        raise UsageError(f"the method {method} has weights without a zero point; leave --asymmetric out")
    if settings.refine or settings.keep:
        raise UsageError(
            f"the method {method} takes the whole network and refines nothing; leave --refine and --keep out"
        )


def integer_model(model: Model, net: Integer, entry: Verb) -> Model:
    """The model `net`, an integer chain that was made of `model`; `entry` says how."""
    about = {**model.about, "precision": "int8"}
    arch, history = ARCHITECTURES["integer"], (*model.history, entry)
    return replace(model, arch=arch, config=net.config, net=net, history=history, about=about)
