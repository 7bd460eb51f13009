"""What quantizing did to a network: the verbs of a model's history that change its structure, and their companions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sharpbit.modelfile.history import Verb, keyed, read_all, settings_of, spread
from sharpbit.quant import refqsr
from sharpbit.quant.adaptive import Context, Selector
from sharpbit.quant.core import METHODS, insert_quantizers
from sharpbit.quant.freeze import freeze
from sharpbit.quant.plan import Plan
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.ptq.equalize import wrap
from sharpbit.quant.ptq.last_layer import LastLayerSettings
from sharpbit.quant.ptq.pixel_aware import PixelAware
from sharpbit.quant.refqsr import TwoPass


@dataclass(frozen=True)
class Quantize(Verb, verb="quantize"):
    """Quantizers were put into the network.

    Attributes:
        method: name of the method catalog.
        plan: the rules, as `Plan.tables` gives them.
    """

    method: str
    plan: tuple[Mapping[str, Any], ...]

    def apply(self, net: nn.Module) -> nn.Module:
        """The network with these quantizers."""
        return insert_quantizers(net, Plan.read(self.plan), METHODS[self.method])


@dataclass(frozen=True)
class QuantizeLossless(Verb, verb="quantize:lossless"):
    """A chain of convolutions and ReLU became a chain of 8-bit integers, which has its structure by itself.

    Attributes:
        source: name of the architecture that it was before.
        method: `lossless`.
        bits: 8.
        crops: LR images that it was calibrated on.
    """

    source: str = field(default="", metadata=keyed("from"))
    method: str = "lossless"
    bits: int = 8
    crops: int = 0


@dataclass(frozen=True)
class QuantizeSloped(Verb, verb="quantize:sloped"):
    """A chain with PReLU, or with the image added, became a chain of 8-bit integers, which has its structure by itself.

    Attributes:
        source: name of the architecture that it was before.
        method: `sloped`.
        bits: 8.
        crops: LR images that it was calibrated on.
    """

    source: str = field(default="", metadata=keyed("from"))
    method: str = "sloped"
    bits: int = 8
    crops: int = 0


@dataclass(frozen=True)
class QuantizeGraph(Verb, verb="quantize:graph"):
    """A network became a graph of 8-bit integers, which has its structure by itself.

    Attributes:
        source: name of the architecture that it was before.
        method: `graph`.
        bits: 8.
        crops: LR images that it was calibrated on.
    """

    source: str = field(default="", metadata=keyed("from"))
    method: str = "graph"
    bits: int = 8
    crops: int = 0


@dataclass(frozen=True)
class Calibrate(Verb, verb="calibrate"):
    """Clipping ranges were found on images.

    Attributes:
        batches: how many batches of images were shown.
    """

    batches: int = 0


@dataclass(frozen=True)
class Equalize(Verb, verb="equalize", also=("balance",)):
    """The channels of some layers' inputs were scaled before they are rounded.

    Attributes:
        layers: names of these layers.
    """

    layers: tuple[str, ...]

    def apply(self, net: nn.Module) -> nn.Module:
        """The network with room for the scales."""
        return wrap(net, self.layers)


@dataclass(frozen=True)
class CompensateRounding(Verb, verb="compensate"):
    """Weights were rounded one after another, with error compensation.

    Attributes:
        layers: number of layers whose weights were rounded so.
    """

    layers: int = 0


@dataclass(frozen=True)
class Refine(Verb, verb="refine"):
    """Clipping ranges (and weights) learned from the float network.

    Attributes:
        how: the settings.
        losses: the loss of the first and of the last step; empty where there was no step.
    """

    losses: tuple[float, ...] = ()
    how: Refinement = field(default_factory=Refinement, metadata=spread(settings_of(Refinement)))


@dataclass(frozen=True)
class RefinePixelAware(Verb, verb="pixel_aware"):
    """Clipping ranges learned from the float network by the pixel-aware calibration of PTQ4SR.

    Attributes:
        how: the settings.
        losses: the loss of the first and of the last step; empty where there was no step.
    """

    losses: tuple[float, ...] = ()
    how: PixelAware = field(default_factory=PixelAware, metadata=spread(settings_of(PixelAware)))


@dataclass(frozen=True)
class ReconstructLastLayer(Verb, verb="reconstruct_last_layer", also=("finish",)):
    """The last layer learned alone to give what that of the float network gives.

    Attributes:
        layers: name of the layer, where it got scales of channels that it did not have.
        losses: the loss of the first and of the last step; empty where there was no step.
        how: the settings.
    """

    layers: tuple[str, ...]
    losses: tuple[float, ...] = ()
    how: LastLayerSettings = field(default_factory=LastLayerSettings, metadata=spread(settings_of(LastLayerSettings)))

    def apply(self, net: nn.Module) -> nn.Module:
        """The network with room for the scales."""
        return wrap(net, self.layers)


@dataclass(frozen=True)
class TabulateBits(Verb, verb="tabulate"):
    """A CABM network got the table of bits that a trained CADyQ network gives.

    Attributes:
        scores: number of entries of the table.
        limit: mean bits that every entry is under.
        legacy_edge: whether patches are scored as by the published program.
    """

    scores: int = 0
    limit: float = 0.0
    legacy_edge: bool = False

    def apply(self, net: nn.Module) -> nn.Module:
        """The network with a table of this size, whose numbers mean nothing yet."""
        places = sum(isinstance(part, Selector) for part in net.modules())
        for part in net.modules():
            if isinstance(part, Context):
                part.make_room(max(self.scores, 1), places)
        return net


@dataclass(frozen=True)
class InsertTwoPasses(Verb, verb="refqsr"):
    """The network got two passes (RefQSR).

    Attributes:
        how: the passes.
    """

    how: TwoPass = field(metadata=spread(settings_of(TwoPass)))

    @property
    def method(self) -> str:
        """The name of the method catalog whose quantizers both passes have."""
        return self.how.method

    def apply(self, net: nn.Module) -> nn.Module:
        """The network in two passes."""
        return refqsr.build(net, self.how)


@dataclass(frozen=True)
class Freeze(Verb, verb="freeze"):
    """Clipping ranges became numbers, and weights integers."""

    def apply(self, net: nn.Module) -> nn.Module:
        """The frozen network."""
        return freeze(net, check=False)


def replay(net: nn.Module, history: Iterable[Mapping[str, Any] | Verb]) -> nn.Module:
    """The float network with the structure that the verbs of `history` gave it; its numbers mean nothing yet."""
    for entry in read_all(history):
        net = entry.apply(net)
    return net
