"""What `inspect` finds out about a model file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Inspection:
    """Facts of a model file. What a kind of file does not tell is None.

    Attributes:
        file: its path.
        bytes: its size.
        architecture: a name of the architecture catalog.
        config: the architecture's sizes.
        scale: upscaling factor.
        scales: all upscaling factors that its weights hold, of which `scale` is counted.
        parameters: number of stored values.
        macs: multiply-accumulate operations for an image of `input_size` (rules: `sharpbit.cost.macs`).
        input_size: height and width.
        output_size: height and width.
        receptive_field: side in input pixels of what one output pixel sees; None also where it sees everything.
        operators: number of nodes by operator, of an ONNX file.
        patches: how many patches the image is cut into; 1 where it is left whole.
        peak_bytes: memory of activations at the worst moment of the image, or of its largest patch
            (`sharpbit.cost.memory`).
        bitops: sum of MACs x bits x bits over all layers of a quantized network (rules: `sharpbit.cost.bitops`). Where
            patches choose their bits, this and the four that follow are the most that it can be.
        published_bitops: BitOPs by the papers' rule (`sharpbit.cost.published`), where there is one.
        fqr: mean bits of the activations that a quantized network rounds.
        feature_bits: mean bits of all values that a quantized network multiplies.
        bytes_at_width: size in bytes of a quantized network's numbers at their bit widths.
        adaptive: whether patches choose their bits.
        layers: each operator that multiplies: name, operator, parameters, macs, act and weight (bits), bitops.
        uncounted_operators: calls of each operator that no rule counts.
        uncounted_tensors: stored tensors that no counted operator reads.
        name: name of the model; this and all that follow come from the header.
        precision: number format of weights and arithmetic.
        licence: SPDX identifier of the licence of the weights.
        data: images that it was trained on.
        history: what was done to the weights.
        metrics: measured numbers.
        two_passes: The costs of a network in two passes, whose first pass is counted above: `patch`, `step` and
            `threshold` in use; `passes`, what a patch costs as a reference and as a query (`name`, `macs`, `bitops`,
            `published_bitops`, `fqr`, `feature_bits` and `layers`; finding its role is part of the first three); and
            `refers`, what each RefER costs for a query (`name` of the block that it stands for, `channels`,
            `parameters`, `macs`, `bitops`).
        notes: what was found out about an ONNX file of somebody else.
        small: the small network of a pair, whose large one is counted above: its name, architecture, config,
            parameters and macs.
    """

    file: str
    bytes: int
    architecture: str | None = None
    config: dict[str, Any] | None = None
    scale: int | None = None
    scales: tuple[int, ...] = ()
    parameters: int | None = None
    macs: int | None = None
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    receptive_field: int | None = None
    operators: dict[str, int] = field(default_factory=dict)
    patches: int | None = None
    peak_bytes: int | None = None
    bitops: float | None = None
    published_bitops: float | None = None
    fqr: float | None = None
    feature_bits: float | None = None
    bytes_at_width: int | None = None
    adaptive: bool = False
    layers: tuple[dict[str, Any], ...] = ()
    uncounted_operators: dict[str, int] = field(default_factory=dict)
    uncounted_tensors: tuple[str, ...] = ()
    name: str | None = None
    precision: str | None = None
    licence: str | None = None
    data: str | None = None
    history: tuple[dict[str, Any], ...] = ()
    metrics: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    two_passes: dict[str, Any] | None = None
    small: dict[str, Any] | None = None

    @property
    def cheap(self) -> dict[str, Any] | None:
        """Deprecated name of `small`."""
        warnings.warn("Inspection.cheap is now small", DeprecationWarning, stacklevel=2)
        return self.small
