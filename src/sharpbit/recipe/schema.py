"""What a recipe may say: dataclasses, and how a table of TOML is checked against them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sharpbit.errors import RecipeError

T = TypeVar("T")


@dataclass(frozen=True)
class Start:
    """Where a recipe begins: fresh weights of a network, perhaps with what fits of another recipe's result.

    Attributes:
        arch: name of the architecture.
        config: its sizes.
        seed: of the fresh weights.
        after: name of a recipe of the same folder whose trained weights are taken over where name and shape fit.
    """

    arch: str
    config: dict[str, Any]
    seed: int = 10
    after: str | None = None


@dataclass(frozen=True)
class Step:
    """One verb and its settings; the verbs are the functions in `VERBS`."""

    verb: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeQuantize:
    """Settings of the verb that puts quantizers into a network which is then trained.

    Attributes:
        method: of the catalog of methods.
        act: bits of activations, or those to choose from.
        weight: bits of weights.
        legacy_conv1_float: see `sharpbit.quant.qat.placement`.
        fixed: see there; 0 is its default.
        options: of the ranges of activations.
        batches: random crops from the training images on which ranges begin, so many batches.
        batch: crops in each.
        patch: side of a crop in small pixels.
        limit: of a table of CABM, made from the recipe's start on these crops: mean bits of an entry, see `tabulate`.
        legacy_edge: of such a table, see there.
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
    """Settings of the verb that makes a network of two passes, see `sharpbit.quant.refqsr.published`.

    Attributes:
        method: of the catalog of methods.
        high: bits of the first pass, or those to choose from.
        low: bits of activations in the second.
        medium: bits of weights there; 0 is halfway.
        refers: how many RefERs; -1 is as published.
        form: `difference`, `concat` or `self`.
        pooled: whether RefERs normalize and pool.
        threshold: cosine of patches that are alike; 2 takes any pair in training.
        patch: side of a patch in use.
        options: of the ranges of activations.
        batches: random crops from the training images on which ranges begin, so many batches.
        batch: crops in each.
        crop: side of one in small pixels.
        limit: of a table of CABM, see `FakeQuantize`.
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


@dataclass(frozen=True)
class Form:
    """Weights that a recipe's numbers are about; one network may be published in more than one form.

    Attributes:
        weights: name of the published file, or `bicubic`.
        parameters: stored values, in thousands.
        macs: multiply-accumulate operations for an image of 640x360, in 1e9.
    """

    weights: str
    parameters: float | None = None
    macs: float | None = None


@dataclass(frozen=True)
class Expected:
    """Published numbers for a set of test images, and how near a measured one must be to be the same.

    Attributes:
        psnr: in dB.
        ssim: of 1.
        psnr_within: tolerance in dB.
        ssim_within: tolerance.
        note: what is known of a number that is off.
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
        name: of the file, without its ending.
        title: one line for people.
        source: the paper, or what else the recipe follows.
        data: what it was trained on, with the licence; goes into the header of the model.
        licence: of the resulting weights.
        start: the network.
        step: what is done to it, in order.
        expect: by the name of the benchmark, the numbers that are claimed, or a PSNR that the result should reach.
        evaluate: published weights of which they are claimed; none where there are only those that the recipe makes.
        published: where those weights are found.
        took: how long the published training took.
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


def checked(kind: type[T], table: dict[str, Any], where: str) -> T:
    """A table of TOML as the dataclass `kind`; `where` names the table in errors.

    Raises:
        RecipeError: a key that is unknown, missing or of the wrong type.
    """
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)
            raise RecipeError(f"{where} has a key {key!r} that is not known; nearest: {near[0]!r}")
    hints = get_type_hints(kind)
    for key, value in table.items():
        if not fits(value, hints[key]):
            expected = getattr(hints[key], "__name__", hints[key])
            raise RecipeError(f"{where} has {key} = {value!r}, which should be of the type {expected}")
    try:
        return kind(**table)
    except TypeError as error:
        raise RecipeError(f"{where} lacks something: {str(error).split('__init__() ')[-1]}") from None


def fits(value: Any, hint: Any) -> bool:
    """Whether a TOML value suits a dataclass field: a whole number is a float too, a list is a tuple too."""
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if isinstance(value, bool) and origin is not bool:
        return False
    return isinstance(value, {float: (int, float), tuple: (tuple, list)}.get(origin, origin))
