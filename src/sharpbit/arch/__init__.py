"""Float networks, one file each: RGB in `[0, 1]`, `(N, 3, H, W)` in, `(N, 3, H * scale, W * scale)` out.

An `Architecture` also declares what others need of its network: training, quantization, networks in two passes, cost
and the contract test. Everything that it leaves out is found in the network itself (`sharpbit.arch._structure`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sharpbit.arch import _structure
from sharpbit.errors import UsageError
from sharpbit.nn import Rounding, State
from sharpbit.system.catalog import Catalog


class Config(Protocol):
    """What a network's frozen config dataclass has in any case."""

    scale: int


def same(state: State) -> State:
    """The state as it is: published names are ours."""
    return state


@dataclass(frozen=True)
class Rounded:
    """Modules that quantization-aware training rounds alike.

    Attributes:
        match: The glob of their names, as in `sharpbit.quant.plan.Rule`.
        act: Whose bits their input has: `chosen` those of activations, `fixed` those that adaptive methods leave no
            choice, `float` none.
        weight: Whether their weight is rounded; of a `Site` False.
        share: The part of the network's width that a site has as channels: 3 for a third; 0 where the layer has them.
    """

    match: str
    act: str = "chosen"
    weight: bool = True
    share: int = 0


@dataclass(frozen=True)
class Aware:
    """Where quantization-aware training puts its quantizers.

    Attributes:
        sites: What is rounded.
        legacy: What is rounded in the older published form, in which the input of a block's first convolution stays in
            float; empty if there is none.
        selector: Options of what chooses bits (`selector_options` of `sharpbit.quant.plan.Rule`).
    """

    sites: tuple[Rounded, ...]
    legacy: tuple[Rounded, ...] = ()
    selector: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refinable:
    """Blocks for which a RefER can stand in the second of two passes.

    Attributes:
        blocks: Globs of their names, component by component. Of several globs the names are taken in turn and belong to
            one block; a RefER stands for the first of them.
        count: For how many blocks RefERs stand, counted from the end.
        rectified: Whether a ReLU comes last in a block.
        parts: Names in a block of its first convolution, of the activation after it (empty: a ReLU), and of the
            convolution that gives the channels of the block again.
    """

    blocks: tuple[str, ...]
    count: int = 2
    rectified: bool = False
    parts: _structure.Parts = ("conv1", "act", "conv2")


@dataclass(frozen=True)
class Blocks:
    """The blocks of one network for which a RefER can stand.

    Attributes:
        names: For each block, in order, the names of its modules; a RefER stands for the first.
        count: The number of blocks for which RefERs stand, counted from the end.
        rectified: Whether a ReLU comes last in a block.
        parts: The names of its parts, as in `Refinable`.
    """

    names: tuple[tuple[str, ...], ...]
    count: int
    rectified: bool
    parts: _structure.Parts


@dataclass(frozen=True)
class Term:
    """Layers whose operations are counted alike.

    Attributes:
        layers: The glob of their names.
        left: Whose bits the one operand has: `weight`, `act`, or `full` (32).
        right: Whose bits the other operand has.
    """

    layers: str
    left: str = "weight"
    right: str = "act"


@dataclass(frozen=True)
class Counting:
    """What BitOPs are counted of, as the papers on adaptive quantization do (`sharpbit.cost.published`).

    Attributes:
        terms: The layers that are counted.
        selectors: Globs of the modules in front of which a bit selector stands.
    """

    terms: tuple[Term, ...]
    selectors: tuple[str, ...]


@dataclass(frozen=True)
class Quantized:
    """How published weights of the quantized network are called, in all methods that have published some.

    Attributes:
        mark: The pattern of a convolution's name, which float weights do not have.
        names: Patterns of names, each with what replaces it: quantizers by ours, and convolutions that they have moved
            by what those are called in published float weights. `{first}` stands for what the first quantizer of a
            block rounds, `{1}` for a group of the pattern that counts from 1.
        legacy: Methods whose published networks have the older form (`Aware.legacy`).
        legacy_unnamed: Methods that have it unless the name of the file has bits such as `w8a8`.
    """

    mark: str
    names: Mapping[str, str]
    legacy: tuple[str, ...] = ()
    legacy_unnamed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clipped:
    """How a published network that was quantized after training is called: one with a clipping range each.

    A name is a place, which is a pattern, and a rest: their rest, and ours of what is rounded.

    Attributes:
        activations: Places, and names of quantizers there and of what they round here.
        idle: The pattern of quantizers that never act, which have no counterpart here.
        moved: Places, and names of float layers there that the quantized network calls otherwise than the float one.
    """

    activations: tuple[tuple[str, str, str], ...]
    idle: str
    moved: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Architecture:
    """A network family: how to build it, how to recognise it from weights alone, and what others need of it.

    All but the first four have defaults that an ordinary network need not change.

    Attributes:
        name: As in the catalog and in the headers of model files.
        config: The frozen dataclass of hyper-parameters; it has a `scale`.
        build: Config to network with fresh weights.
        infer: State dict, with our keys or published ones, to config; None if these are not weights of this family.
        rename: Published state dict to ours; the identity where the keys are ours already.
        sites: Globs of the modules that quantizing "the body" of this network means; by default the layers in repeated
            blocks.
        rounding: What quantizing all of it after training rounds, and how.
        frozen_first: Globs of the parameters that training freezes in its first steps (`frozen_steps`).
        aware: Sites of quantization-aware training; by default the layers of the body.
        quantized: Names of tensors in published quantized weights, if there are any.
        clipped: Names of quantizers in a published network that was quantized after training, if there is one.
        authors: State dict, config and the name of the architecture it was made of (or nothing) to the tensors under
            the authors' names, where these are not ours.
        wrapper: Key under which the authors' files hold the tensors; empty where they lie at the top.
        refinable: Blocks that a RefER can replace; by default the repeated blocks.
        counting: The published rule of BitOPs, if a paper has one.
        small: Sizes of a small network of this family, for tests and examples; by default all sizes have defaults.
        exceptions: Cases of the contract test (`tests/arch/test_contract.py`) that do not apply, each with the reason.
    """

    name: str
    config: type[Any]
    build: Callable[[Any], nn.Module]
    infer: Callable[[State], Any | None]
    rename: Callable[[State], State] = same
    sites: tuple[str, ...] = ()
    rounding: Rounding = field(default_factory=Rounding)
    frozen_first: tuple[str, ...] = ()
    aware: Aware | None = None
    quantized: Quantized | None = None
    clipped: Clipped | None = None
    authors: Callable[[State, Any, str], Mapping[str, Tensor]] | None = None
    wrapper: str = ""
    refinable: Refinable | None = None
    counting: Counting | None = None
    small: Mapping[str, Any] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def weightless(self, config: Any) -> nn.Module:
        """A network of these sizes without numbers: quickly made, and good for whatever asks names and shapes."""
        with torch.device("meta"):
            return self.build(config)

    def body(self, net: nn.Module) -> tuple[str, ...]:
        """Globs of the layers of the body of a float network."""
        names = _structure.layers(net)
        inner = _structure.body(net) if not self.sites else [name for name in names if _any(name, self.sites)]
        return tuple(_structure.globs([name for name in inner if not _any(name, self.rounding.left)], names))

    def aware_of(self, net: nn.Module) -> Aware:
        """The sites of quantization-aware training of a float network, declared or found.

        Raises:
            UsageError: The network has no layers that could be rounded.
        """
        if self.aware is not None:
            return self.aware
        body = self.body(net)
        if not body:
            raise UsageError(f"{self.name} has no convolution and no linear layer between its first and its last one")
        return Aware(tuple(map(Rounded, body)))

    def counting_of(self, net: nn.Module) -> Counting:
        """The rule of BitOPs for a float network, declared or, of its body, found."""
        body = self.body(net) if self.counting is None else ()
        return self.counting or Counting(tuple(map(Term, body)), body)

    def blocks_of(self, net: nn.Module) -> Blocks:
        """The blocks of a float network for which a RefER can stand, declared or found.

        Raises:
            UsageError: There are none, or they do not run once for an image.
        """
        if self.refinable is None:
            found = _structure.replaceable(net)
            parts = _structure.parts(net.get_submodule(found[0])) if found else None
            if parts is None:
                raise UsageError(
                    f"a RefER stands for a repeated block with two convolutions, which {self.name} does not have"
                )
            return Blocks(tuple((name,) for name in found), Refinable.count, Refinable.rectified, parts)
        own = self.refinable
        names = tuple(zip(*(_structure.named(net, glob) for glob in own.blocks), strict=True))
        steady = _structure.steady(net)
        for first, *_ in names:
            if first not in steady:
                known = "unrolled" in self.config.__dataclass_fields__
                raise UsageError(
                    f"a RefER stands for a block that runs once for an image, and {first} of this {self.name} runs"
                    f" several times{'; read it with unrolled=true (--config unrolled=true)' if known else ''}"
                )
        return Blocks(names, own.count, own.rectified, own.parts)


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in patterns)


ARCHITECTURES: Mapping[str, Architecture] = Catalog("sharpbit.arch", "ARCH")
