"""What a recipe may say, as dataclasses; which values they may have stands in `sharpbit.recipe.limits`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Start:
    """Where a recipe begins: a network with random weights, or with those of another recipe where they fit.

    Attributes:
        arch: name of the architecture.
        config: hyper-parameters of the network; each has to have a `scale`.
        seed: number that decides the random weights.
        after: name of a recipe of the same folder whose trained weights are taken over where name and shape fit.
        weights: name of the file of published weights that it begins with, below the folder that `--weights` names.
    """

    arch: str
    config: dict[str, Any]
    seed: int = 10
    after: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Step:
    """One verb and its settings; the verbs are the functions in `VERBS`."""

    verb: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeQuantize:
    """Settings of the verb that puts quantizers into a network which is then trained.

    Attributes:
        method: name of a quantization method, such as `pams`.
        act: bits of activations; a list gives those that each patch chooses from.
        weight: bits of weights.
        legacy_conv1_float: whether the shortcut of a block is rounded instead of the input of its first convolution,
            as EDSR and SRResNet were published (`sharpbit.quant.qat.placement`).
        fixed: bits of the sites that CADyQ leaves no choice; 0 takes those of `act`, or 8 where these are chosen.
        options: keyword arguments of the method's clipping range of activations, such as `{ gate = 64 }`.
        batches: number of batches of random training crops on which clipping ranges are initialized.
        batch: crops in each of these batches.
        patch: side of such a crop in LR pixels.
        limit: upper end of the mean bits of an entry of CABM's table, which is made on these crops.
        legacy_edge: whether CABM scores edges as the published program does (`sharpbit.quant.context.edge_score`).
    """

    method: str
    act: int | tuple[int, ...] = 8
    weight: int = 8
    legacy_conv1_float: bool = False
    fixed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    batches: int = 1
    batch: int = 16
    patch: int = 48
    limit: float = 100.0
    legacy_edge: bool = False


@dataclass(frozen=True)
class RefQSR:
    """Settings of the verb that makes a network of two passes (`sharpbit.quant.refqsr.published`).

    Attributes:
        method: name of a quantization method, such as `ddtb`.
        high: bits of the reference pass; a list gives those that each patch chooses from.
        low: bits of activations in the query pass.
        medium: bits of weights in the query pass; 0 takes the mean of both passes.
        refers: number of blocks that a RefER replaces; -1 takes the published number.
        form: form of a RefER: `difference`, `concat` or `self`; `none` leaves many bits to the blocks instead.
        pooled: whether RefERs normalize and pool.
        threshold: least cosine of two patches that count as alike; 2 takes any pair in training.
        patch: side of a patch in use, in LR pixels.
        options: keyword arguments of the method's clipping range of activations.
        batches: number of batches of random training crops on which clipping ranges are initialized.
        batch: crops in each of these batches.
        crop: side of such a crop in LR pixels.
        limit: upper end of the mean bits of an entry of CABM's table, which is made on these crops.
        matching: how RefERs compare: `normalize-then-pool` as printed, `pool-then-normalize` or `centred`.
        neutral: whether RefERs begin by correcting nothing.
        keep_block: whether the block follows its RefER, with few bits, instead of giving way to it.
        queries: share of the pixels of training images that are to lie in queries, by which the threshold is found; 0
            takes `threshold`.
    """

    method: str
    high: int | tuple[int, ...] = 8
    low: int = 4
    medium: int = 0
    refers: int = -1
    form: str = "difference"
    pooled: bool = True
    threshold: float = 0.5
    patch: int = 96
    options: dict[str, Any] = field(default_factory=dict)
    batches: int = 1
    batch: int = 16
    crop: int = 48
    limit: float = 100.0
    matching: str = "normalize-then-pool"
    neutral: bool = False
    keep_block: bool = False
    queries: float = 0.0


@dataclass(frozen=True)
class Carry:
    """A chain of integers becomes a float network that keeps constant images constant; there is nothing to set."""


@dataclass(frozen=True)
class Reparameterize:
    """Settings of the verb that turns a network into a plain chain of convolutions.

    Attributes:
        form: `plain` clips with a clamp and keeps the addition of the image; `et` is convolution and ReLU alone.
    """

    form: str = "plain"


@dataclass(frozen=True)
class Quantize:
    """Settings of the verb that turns a trained network into integers.

    Attributes:
        method: name of a method of post-training quantization.
        bits: bits of weights and activations; a list gives those that each layer may have.
        refine: steps of learning from the float network.
        keep: globs of layers that stay in float.
        budget: mean bits, or a share of the cost in 8 bits such as "40%", where `bits` is a list.
        batch: LR crops that are calibrated on at once.
        asymmetric: whether 8-bit weights have a zero point too.
        frozen: whether clipping ranges become numbers; if not, the verbs `refine` and `freeze` follow.
        crops: number of calibration crops.
        side: side of a crop in LR pixels; 0 takes prepared crops whole.
        place: where crops are taken: `detail`, `random`, or `prepared` (`sharpbit.data.calibration.Cut`).
    """

    method: str = "lossless"
    bits: int | tuple[int, ...] = 8
    refine: int = 0
    keep: tuple[str, ...] = ()
    budget: float | str | None = None
    batch: int = 8
    asymmetric: bool = False
    frozen: bool = True
    crops: int = 300
    side: int = 64
    place: str = "detail"


@dataclass(frozen=True)
class Refine:
    """Settings of the verb that trains clipping ranges on the results of the float network that the recipe begins with.

    Attributes:
        steps: number of optimizer steps; 0 takes `epochs`.
        epochs: how often all crops are learned from, where `steps` is 0.
        batch: LR crops in a step.
        rate: learning rate of Adam.
        crops: number of crops.
        side: side of a crop in LR pixels; 0 takes prepared crops whole.
        place: where crops are taken, as in `Quantize`.
        teacher: options of the float network that leave its weights as they are, such as `{ mask = true }`.
    """

    steps: int = 0
    epochs: int = 10
    batch: int = 2
    rate: float = 2e-3
    crops: int = 300
    side: int = 64
    place: str = "detail"
    teacher: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Freeze:
    """Clipping ranges become numbers and weights integers; there is nothing to set."""


@dataclass(frozen=True)
class Export:
    """Settings of the verb that writes a model for an engine.

    Attributes:
        format: `onnx`, or `native` for integer models.
        name: name of the file without its ending; None takes the recipe's.
    """

    format: str = "onnx"
    name: str | None = None


@dataclass(frozen=True)
class Form:
    """Weights that a recipe's numbers are about; one network may be published in more than one form.

    Attributes:
        weights: name of the published file, or `bicubic`.
        parameters: number of stored values, in thousands.
        macs: multiply-accumulate operations for an image of 640x360, in 1e9.
    """

    weights: str
    parameters: float | None = None
    macs: float | None = None


@dataclass(frozen=True)
class Expected:
    """Published numbers for a set of test images, and how near a measured one must be to be the same.

    Attributes:
        psnr: published PSNR in dB.
        ssim: published SSIM, 1 at most.
        psnr_within: largest difference in dB that counts as the same.
        ssim_within: largest difference of SSIM that counts as the same.
        note: reason of a known difference.
    """

    psnr: float
    ssim: float
    psnr_within: float = 0.01
    ssim_within: float = 0.0002
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """How a model is made, and what is claimed of it.

    Attributes:
        name: name of the file without its ending.
        title: one line for people.
        source: the paper, or what else the recipe follows.
        data: training images with their licence; the header of the model holds it.
        licence: SPDX expression of the resulting weights.
        start: the network that it begins with.
        step: verbs in their order.
        expect: claimed numbers, or a PSNR to reach in dB, by the name of the benchmark.
        evaluate: published weights that have these numbers; none where there are only those that the recipe makes.
        published: place where those weights are found.
        took: time that the published training took.
    """

    name: str
    title: str
    source: str
    data: str
    licence: str
    start: Start
    step: tuple[Step, ...]
    expect: dict[str, float | Expected] = field(default_factory=dict)
    evaluate: tuple[Form, ...] = ()
    published: str = ""
    took: str = ""
