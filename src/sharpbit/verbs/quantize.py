"""Quantizing a float model by one of the post-training methods, with a receipt that reports what it cost."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from sharpbit.arch.integer import Integer
from sharpbit.cost import bitops
from sharpbit.data import calibration
from sharpbit.data.calibration import AT_DETAIL, Cut
from sharpbit.data.varied import textures, varied
from sharpbit.errors import ReparameterizeError, UsageError
from sharpbit.model import Model, reparameterize
from sharpbit.model.foreign import of_module
from sharpbit.modelfile.integer_graph import Convolution
from sharpbit.quant import core, order, recorded
from sharpbit.quant.graph.network import IntegerGraphNetwork
from sharpbit.quant.ptq import sensitivity
from sharpbit.system.deprecated import old_names
from sharpbit.system.progress import Phases, counted
from sharpbit.verbs.integer_methods import GRAPH, LOSSLESS, SLOPED, integer_model, lossless, sloped, suited
from sharpbit.verbs.post_training import INTEGER, POST_TRAINING_METHODS, RATES, general, joint_refinement, spread
from sharpbit.verbs.quantization_settings import BATCH, PostTrainingMethod, QuantizationSettings
from sharpbit.verbs.receipt import GATE, QuantizationReceipt, differences, stored

__all__ = [
    "AUTO",
    "GRAPH",
    "INTEGER",
    "POST_TRAINING_METHODS",
    "RATES",
    "SLOPED",
    "SLOPED_CROPS",
    "PostTrainingMethod",
    "QuantizationReceipt",
    "QuantizationSettings",
    "general",
    "integer_model",
    "joint_refinement",
    "lossless",
    "quantize",
    "sloped",
    "suited",
    "with_receipt",
]
AUTO = "auto"
SLOPED_CROPS = 80
TEXTURES, TEXTURE_SEED = 6, 1
DEFAULTS = QuantizationSettings()


def quantize(
    model: Model | nn.Module,
    calibrate: str | Path | Sequence[np.ndarray] | None = None,
    *,
    method: str = AUTO,
    bits: int | Sequence[int] = 8,
    refine: int = 0,
    keep: Sequence[str] = (),
    budget: float | str | None = None,
    gate: float = GATE,
    progress: Phases | None = None,
    images: str | Path | Sequence[np.ndarray] | None = None,
    cut: Cut = AT_DETAIL,
    batch: int = BATCH,
    asymmetric: bool = False,
    frozen: bool = True,
) -> Model:
    """The model in integers, calibrated on ordinary images; the `history` of the result records what was done.

    Args:
        model: a float model. A bare network of an image in `[0, 1]` becomes a plain chain first
            (`reparameterize`), or a graph of its operators where it is none.
        calibrate: a folder of images, or `(H, W, 3)` uint8 arrays, some ten or more. They are HR images: LR crops are
            made from them by bicubic interpolation, as the network will get (`sharpbit.data.calibration`).
        method: one of `POST_TRAINING_METHODS`; `lossless` takes chains of convolutions and ReLU, `sloped` those with
            PReLU or the image added at the end, `tuned` any network. The default `auto` is one of the first two.
        bits: bits of weights and activations, 2 to 16, 8 by default; several, such as `(8, 6, 4)`, are the choice of
            mixed precision, which needs a `budget`.
        refine: steps in which the result learns from the float network, none by default.
        keep: globs over the names of layers that stay in float, none by default.
        budget: what mixed precision may cost: mean bits such as 5, or a share such as `"40%"` of the cost in 8 bits.
        gate: dB from the float network that the methods `sloped` and `graph` are to reach, 45 by default; what needs it
            has 16 bits.
        progress: called with the name of a phase, how much of it is done, and how much there is.
        images: deprecated name of `calibrate`.
        cut: how LR crops are taken from the images; by default about 300 of 64x64 pixels where there is detail. CRAFT
            is published with `Cut(100, 128, "random")`.
        batch: LR crops that are calibrated on at once, 8 by default.
        asymmetric: whether 8-bit weights have a zero point too, as published; by default they have none.
        frozen: whether the result runs in integers or simulates them (default); if not, it keeps its clipping ranges
            as parameters, which `sharpbit.refine` trains and `sharpbit.freeze` turns into numbers.

    Returns:
        A new model that can be saved, evaluated and inspected, and, if it is frozen, exported.

    Raises:
        UsageError: there is no such method, it does not make these bits, or there is nothing to calibrate on.
        QuantizeError: the method cannot do it for this network, or not with these images.
        ModelError: a bare network has operators that sharpbit does not know.

    Examples:
        >>> import numpy as np, sharpbit
        >>> model = sharpbit.build("plain", scale=2, blocks=1, width=4)
        >>> photos = [np.random.default_rng(k).integers(0, 256, (128, 128, 3), np.uint8) for k in range(2)]
        >>> small = sharpbit.quantize(model, photos, method="minmax", bits=8)
        >>> [entry.verb for entry in small.history]
        ['quantize', 'calibrate', 'freeze']

    Source: the methods' own modules name their papers (docs/quantize.md).
    """
    if images is not None:
        warnings.warn("quantize(images=...) is now quantize(calibrate=...)", DeprecationWarning, stacklevel=2)
        calibrate = images if calibrate is None else calibrate
    if calibrate is None:
        raise UsageError("there is nothing to calibrate on; give a folder of ordinary images, or arrays, as calibrate")
    if not isinstance(model, Model):
        model = _described(model)
    widths = bits if isinstance(bits, int) else tuple(bits)
    settings = QuantizationSettings(widths, refine, tuple(keep), budget, batch, asymmetric, gate)
    return with_receipt(model, calibrate, settings, method=method, progress=progress, cut=cut, frozen=frozen)[0]


def _reading_both(net: nn.Module) -> tuple[int, ...]:
    """Convolutions of an integer graph that read 16 bits, all of them, and those that are second parts of others."""
    if not isinstance(net, IntegerGraphNetwork):
        return ()
    convolutions = [node for node in net.graph.nodes if isinstance(node, Convolution)]
    return sum(node.both for node in convolutions), len(convolutions), net.graph.pairs


def _described(net: nn.Module) -> Model:
    """The model of a bare network: a plain chain where it has that form, else a graph of its operators."""
    try:
        return reparameterize(net)
    except ReparameterizeError:
        return of_module(net)


def with_receipt(
    model: Model,
    images: str | Path | Sequence[np.ndarray],
    settings: QuantizationSettings = DEFAULTS,
    *,
    method: str = AUTO,
    progress: Phases | None = None,
    analysis: bool = False,
    blame: bool = False,
    cut: Cut = AT_DETAIL,
    frozen: bool = True,
) -> tuple[Model, QuantizationReceipt]:
    """What `quantize` does, and the receipt.

    Args:
        model: a float model.
        images: a folder or arrays, see `calibrate` of `quantize`.
        settings: bits, refinement and what stays in float.
        method: name of the post-training method, see `quantize`.
        progress: called with the name of a phase, how much of it is done, and how much there is.
        analysis: whether the receipt lists the sensitivity of each layer (`sharpbit.quant.ptq.sensitivity`).
        blame: deprecated name of `analysis`.
        cut: how calibration crops are taken from the images; by default 300 of 64x64 pixels where there is detail.
        frozen: whether clipping ranges become numbers and weights integers (default); if not, the result can be refined
            (`sharpbit.verbs.refine`).

    Raises:
        UsageError: `quantize` would raise it, or the method makes integers at once and the result is not to be frozen.
    """
    if blame:
        warnings.warn("with_receipt(blame=...) is now with_receipt(analysis=...)", DeprecationWarning, stacklevel=2)
    method = checked_method(model, method)
    if not frozen and method in (LOSSLESS, SLOPED, GRAPH):
        raise UsageError(
            f"the method {method} makes integers at once, which are not refined; take another, such as adc"
        )
    if isinstance(images, (str, Path)):
        crops, used = calibration.from_folder(images, model.scale, cut, progress=progress)
    else:
        crops, used = calibration.from_images(images, model.scale, cut)
    report = analysis or blame
    return on_crops(
        model, crops, used, settings, method=method, progress=progress, analysis=report, cut=cut, frozen=frozen
    )


def checked_method(model: Model, method: str, *, portable: bool = False) -> str:
    """The name of the method, that of `auto` found.

    Raises:
        UsageError: there is no such method.
        QuantizeError: the model is in integers, or rounded, already.
    """
    if method not in (AUTO, *POST_TRAINING_METHODS):
        raise UsageError(f"there is no method {method!r}; known are {', '.join((AUTO, *POST_TRAINING_METHODS))}")
    order.check(model.net, "quantizing", model.arch.name)
    return suited(model, portable=portable) if method == AUTO else method


def on_crops(
    model: Model,
    crops: Tensor,
    used: int,
    settings: QuantizationSettings = DEFAULTS,
    *,
    method: str,
    progress: Phases | None = None,
    analysis: bool = False,
    cut: Cut = AT_DETAIL,
    frozen: bool = True,
) -> tuple[Model, QuantizationReceipt]:
    """What `with_receipt` does, on LR crops that were made before.

    Args:
        model: a float model.
        crops: `(N, 3, 64, 64)` uint8, see `sharpbit.data.calibration`.
        used: number of images that they were cut from.
        settings: bits, refinement and what stays in float.
        method: name of the post-training method, not `auto`.
        progress: called with the name of a phase, how much of it is done, and how much there is.
        analysis: whether the receipt lists the sensitivity of each layer.
        cut: how the crops were taken.
        frozen: whether the result is frozen, see `with_receipt`.
    """
    started = time.monotonic()
    if method in (SLOPED, GRAPH):  # calibrated and measured on drawings and compressed images as well
        crops = varied(spread(crops, SLOPED_CROPS))
    crops, held_out, apart = calibration.split(crops, cut)
    after = POST_TRAINING_METHODS[method](model, crops, settings, progress)
    found: tuple[tuple[str, float], ...] = ()
    ranges: tuple[tuple[str, float, float, float, float], ...] = ()
    widths: tuple[tuple[str, int, int], ...] = ()
    if any(True for _ in core.quantizers(after.net)):
        if analysis:
            count = counted(progress, "measuring sensitivity", len(sensitivity.parts(after.net)))
            found = sensitivity.sensitivity(after.net, model.net, held_out[:1].float() / 255, count)
        ranges = sensitivity.ranges(after.net, held_out[:BATCH].float() / 255)
        widths = sensitivity.widths(after.net)
        after = recorded.freeze(after) if frozen else after
    apart_by = differences(model.net, after.net, held_out)
    texture = None
    if method in (SLOPED, GRAPH):
        height, width = held_out.shape[2:]
        drawn = textures(TEXTURES, (width, height), TEXTURE_SEED)
        texture = round(differences(model.net, after.net, drawn).least, 2)
    receipt = QuantizationReceipt(
        method=method,
        bits=settings.bits,
        refined=settings.refine,
        kept=settings.keep,
        crops=len(crops),
        held_out=len(held_out) if apart else 0,
        images=used,
        seconds=round(time.monotonic() - started, 1),
        bytes=(stored(model.net), stored(after.net)),
        psnr=round(apart_by.psnr, 2),
        differing=round(apart_by.differing, 4),
        largest=apart_by.largest,
        least=round(apart_by.least, 2),
        texture=texture,
        sensitivity=found,
        ranges=ranges,
        budget=settings.budget,
        widths=widths,
        bitops=round(bitops.count(after.net).bitops) if widths else None,
        wide=after.net.config.wide if isinstance(after.net, Integer) else (),
        side=max(crops.shape[2:]),
        place=cut.place,
        both=_reading_both(after.net),
        gate=settings.gate,
    )
    return replace(after, about={**after.about, "metrics": ()}), receipt  # what was measured was the float model


__getattr__ = old_names(
    __name__,
    {
        "Settings": "QuantizationSettings",
        "Method": "PostTrainingMethod",
        "METHODS": "POST_TRAINING_METHODS",
        "Receipt": "QuantizationReceipt",
        "together": "joint_refinement",
    },
)
