"""The later stages of quantizing after training: refining clipping ranges, and freezing them."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sharpbit.data import calibration
from sharpbit.data.calibration import AT_DETAIL, Cut
from sharpbit.errors import QuantizeError, ResultWarning, UsageError
from sharpbit.model import Model
from sharpbit.quant import core, kernels, recorded
from sharpbit.quant.clipping import ClippingRange
from sharpbit.quant.history import Refine
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.quant.refqsr import in_two_passes
from sharpbit.system.devices import device_error
from sharpbit.system.progress import Phases, counted
from sharpbit.verbs.receipt import differences

__all__ = ["RefinementReceipt", "freeze", "refine", "refine_with_receipt"]


@dataclass(frozen=True)
class RefinementReceipt:
    """What refining did.

    Attributes:
        steps: number of optimizer steps.
        crops: number of LR images that were learned from.
        side: side of such an image in pixels; of oblong ones the longer.
        images: number of images that these were cut from.
        seconds: time that it took, in seconds.
        losses: mean square error in the first and in the last step.
        psnr: PSNR in dB of the quantized result against the float one before and after, on crops that were not learned
            from where there are enough of them.
    """

    steps: int
    crops: int
    side: int
    images: int
    seconds: float
    losses: tuple[float, float]
    psnr: tuple[float, float]


def refine(
    model: Model,
    teacher: Model,
    calibrate: str | Path | Sequence[np.ndarray],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    rate: float = 2e-3,
    batch: int = 2,
    cut: Cut = AT_DETAIL,
    device: str = "cpu",
    compiled: bool = False,
    progress: Phases | None = None,
) -> Model:
    """Train the clipping ranges of a quantized model until it gives what the float one gives; no HR images are needed.

    Args:
        model: quantized and not frozen (`sharpbit.quantize(..., frozen=False)`), by a method with clipping ranges.
        teacher: the float model that it was made from; one with other weights is taken with a warning.
        calibrate: a folder of images, or `(H, W, 3)` uint8 arrays; the same as in `sharpbit.quantize`, as a rule.
        steps: number of optimizer steps; by default what `epochs` gives, and 500 where neither is given.
        epochs: how often all crops are learned from, instead of `steps`; 10 as published for CRAFT.
        rate: learning rate of Adam, 0.002 by default, as published for CRAFT.
        batch: LR crops in a step, 2 by default, as published for CRAFT.
        cut: how LR crops are taken from the images; by default about 300 of 64x64 pixels where there is detail.
        device: `cpu` (default), `cuda` or `cuda:N`.
        compiled: whether rounding on a CPU is compiled first, for which a C++ compiler is needed. Steps take less time,
            and the gradients of clipping ranges are summed in another order. False by default.
        progress: called with the name of a phase, how much of it is done, and how much there is.

    Returns:
        The refined model, on the CPU; it can be refined again, or frozen.

    Raises:
        UsageError: the model is not quantized, is frozen, or has other ranges; steps and epochs are both given; there
            is no such device; or rounding cannot be compiled.
        QuantizeError: the teacher is another network, of other sizes, or quantized itself.
        ModelError: the loss is not a number any more.

    Examples:
        >>> import numpy as np, sharpbit
        >>> model = sharpbit.build("espcn", scale=2)
        >>> photos = [np.random.default_rng(k).integers(0, 256, (128, 128, 3), np.uint8) for k in range(2)]
        >>> begun = sharpbit.quantize(model, photos, method="minmax", bits=4, frozen=False)
        >>> done = sharpbit.freeze(sharpbit.refine(begun, model, photos, steps=2))
        >>> [entry.verb for entry in done.history]
        ['quantize', 'calibrate', 'refine', 'freeze']

    Source: boundary refinement of CRAFT (`sharpbit.quant.ptq.boundary_refinement`).
    """
    how = Refinement(rate=rate, batch=batch)
    return refine_with_receipt(
        model,
        teacher,
        calibrate,
        how,
        steps=steps,
        epochs=epochs,
        cut=cut,
        device=device,
        compiled=compiled,
        progress=progress,
    )[0]


def refine_with_receipt(
    model: Model,
    teacher: Model,
    images: str | Path | Sequence[np.ndarray],
    how: Refinement,
    *,
    steps: int | None = None,
    epochs: float | None = None,
    cut: Cut = AT_DETAIL,
    device: str = "cpu",
    compiled: bool = False,
    keep: Path | None = None,
    progress: Phases | None = None,
) -> tuple[Model, RefinementReceipt]:
    """What `refine` does, and the receipt; `how` has the rate and the batch, its steps count where no others do.

    In the folder `keep` the state is kept, so that a killed run goes on.
    """
    started = time.monotonic()
    _check(model, teacher)
    if steps is not None and epochs is not None:
        raise UsageError("steps and epochs both say how long refining takes; give one of them")
    if wrong := device_error(device):
        raise UsageError(f"{wrong}; leave --device out to refine on the CPU")
    if isinstance(images, (str, Path)):
        crops, used = calibration.from_folder(images, model.scale, cut, progress=progress)
    else:
        crops, used = calibration.from_images(images, model.scale, cut)
    crops, held_out, _ = calibration.split(crops, cut)
    how = replace(how, steps=_steps(steps, epochs, len(crops), how))
    with kernels.compiled(compiled):
        after = _learned(model, teacher, crops.float() / 255, how, device, keep, progress)
    entry = after.history[-1]
    assert isinstance(entry, Refine)
    before, now = (differences(teacher.net, one.net, held_out).psnr for one in (model, after))
    receipt = RefinementReceipt(
        steps=how.steps,
        crops=len(crops),
        side=max(crops.shape[2:]),
        images=used,
        seconds=round(time.monotonic() - started, 1),
        losses=(entry.losses[0], entry.losses[-1]),
        psnr=(round(before, 2), round(now, 2)),
    )
    return replace(after, about={**after.about, "metrics": ()}), receipt


def freeze(model: Model) -> Model:
    """A quantized model whose clipping ranges are numbers and whose weights are integers, as engines run it.

    Args:
        model: quantized, and calibrated or refined or trained.

    Raises:
        UsageError: nothing is quantized, it is frozen already, or it is in two passes.
        ModelError: a range was never calibrated.
    """
    if in_two_passes(model.net):
        raise UsageError(
            f"this {model.arch.name} is in two passes, each of which is frozen when it is exported; 'sharpbit export'"
            " writes it for engines"
        )
    if not any(True for _ in core.quantizers(model.net)):
        raise UsageError(f"this {model.arch.name} has no clipping ranges: it is in float, or frozen already")
    return recorded.freeze(model)


def _learned(
    model: Model,
    teacher: Model,
    images: Tensor,
    how: Refinement,
    device: str,
    keep: Path | None,
    progress: Phases | None,
) -> Model:
    """The model refined on a device, and back on the CPU."""
    count = counted(progress, "refining", how.steps)
    student, large = model.net.to(device), teacher.net.to(device)
    try:
        after = recorded.refine(model, large, images.to(device), how, count, keep)
    finally:
        student.cpu()
        large.cpu()
    after.net.cpu()
    return after


def _steps(steps: int | None, epochs: float | None, crops: int, how: Refinement) -> int:
    if epochs is None:
        return how.steps if steps is None else steps
    return max(1, round(epochs * math.ceil(crops / how.batch)))


def _check(model: Model, teacher: Model) -> None:
    found = [fixed.range for _, fixed in core.quantizers(model.net)]
    if not found or not all(isinstance(own, ClippingRange) for own in found):
        raise UsageError(
            f"refining is for networks that keep their clipping ranges, which this {model.arch.name} does not;"
            " make one with sharpbit quantize --unfrozen, by a method such as adc"
        )
    if any(True for _ in core.quantizers(teacher.net)) or teacher.about.get("precision", "float32") != "float32":
        raise QuantizeError("the teacher is quantized itself; give the float model that it was made from")
    if (model.arch.name, model.scale) != (teacher.arch.name, teacher.scale):
        raise QuantizeError(
            f"the teacher is {teacher.arch.name} x{teacher.scale} and the model {model.arch.name} x{model.scale}; give"
            " the float model that it was made from"
        )
    if _shapes(model.arch.build(model.config)) != _shapes(teacher.net):
        raise QuantizeError(
            f"the teacher is a {teacher.arch.name} of other sizes than the model; give the float model that it was made"
            " from"
        )
    weights = model.net.state_dict()
    if not all(torch.equal(value, weights[key]) for key, value in teacher.net.state_dict().items() if key in weights):
        warnings.warn(
            f"the teacher is a {teacher.arch.name} with other weights than the model; refining changes clipping ranges"
            " alone, so give the float model that it was made from, unless its weights were trained since",
            ResultWarning,
            stacklevel=4,
        )


def _shapes(net: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in net.state_dict().items()}
