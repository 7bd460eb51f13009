"""Any network as an integer graph for the native engine: a method of `sharpbit.verbs.quantize`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from sharpbit.arch.graph import Network, graph_of
from sharpbit.errors import ModelError, QuantizeError
from sharpbit.graph import Graph
from sharpbit.graph.colours import of_rgb
from sharpbit.model import Model
from sharpbit.model.foreign import of_module
from sharpbit.modelfile.integer_graph import Bytes, IntegerGraph
from sharpbit.quant.graph import GraphSettings, quantize_graph
from sharpbit.quant.graph.lowering import lowered
from sharpbit.quant.graph.network import ARCH, Config, IntegerGraphNetwork
from sharpbit.quant.history import QuantizeGraph
from sharpbit.system.progress import Phases


def integer_graph(model: Model, crops: Tensor, settings: GraphSettings, progress: Phases | None, ways: str) -> Model:
    """The model of the integer graph that does what `model` does with images like `crops`; see `quantize_graph`.

    Args:
        model: A float model.
        crops: `(N, 3, h, w)` uint8, LR images such as it will get.
        settings: How much work is done.
        progress: Called with a word, what is done of it, and how much there is.
        ways: What else there is, for errors.

    Raises:
        QuantizeError: The network has an operator that integer graphs lack, or is beyond their limits.
    """
    try:
        made = quantize_graph(_graph(model), model.scale, crops, settings, progress=progress)
    except (QuantizeError, ModelError) as error:
        raise QuantizeError(f"{model.called} does not become integers for the native engine: {error}; {ways}") from None
    net: nn.Module = IntegerGraphNetwork(made, _runner(made))
    entry = QuantizeGraph(model.arch.name, bits=8, crops=len(crops))
    config = Config(made.scale, len(made.nodes), made.multiple)
    about = {**model.about, "precision": "int8"}
    return replace(model, arch=ARCH, config=config, net=net, history=(*model.history, entry), about=about)


def can_be_graph(model: Model) -> bool:
    """Whether integer graphs have all operators of a float model."""
    try:
        lowered(_graph(model))
    except (QuantizeError, ModelError):
        return False
    return True


def _graph(model: Model) -> Graph:
    net = model.net if isinstance(model.net, Network) else of_module(model.net, scale=model.scale, white=1.0).net
    assert isinstance(net, Network)
    return of_rgb(graph_of(net), model.scale)


def _runner(graph: IntegerGraph) -> Callable[[Bytes], Bytes] | None:
    """The native engine, where there is one."""
    native = importlib.import_module("sharpbit.runtime.native")
    if not native.available():
        return None
    run: Callable[[Bytes], Bytes] = native.NativeRuntime(graph).run
    return run
