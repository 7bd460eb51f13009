"""The verbs of a recipe that quantize after training, in one go or in stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sharpbit import model as models
from sharpbit.data.calibration import Cut
from sharpbit.errors import RecipeError
from sharpbit.model import Model
from sharpbit.quant.ptq.boundary_refinement import Refinement
from sharpbit.recipe import schema
from sharpbit.recipe.checking import checked
from sharpbit.system.progress import shown
from sharpbit.verbs import refine as stages
from sharpbit.verbs.quantize import QuantizationSettings, with_receipt

if TYPE_CHECKING:
    from sharpbit.recipe.runner import Runner

Result = tuple[str, Path, dict[str, Any]]


def quantize(runner: Runner, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
    """Turn the network into integers, calibrated on the training images."""
    if not isinstance(runner.data, str):
        raise RecipeError(f"{runner.recipe.name} calibrates on {runner.recipe.data}; give their folder with --data")
    how = checked(schema.Quantize, settings, f"{runner.recipe.name}: quantize")
    bits = how.bits if isinstance(how.bits, int) else tuple(how.bits)
    given = QuantizationSettings(bits, how.refine, tuple(how.keep), how.budget, how.batch, how.asymmetric)
    with tqdm(disable=runner.quiet, delay=1, leave=False) as bar:
        model, receipt = with_receipt(
            model,
            runner.data,
            given,
            method=how.method,
            progress=shown(bar),
            cut=_cut(runner, how),
            frozen=how.frozen,
        )
    path = runner.folder / "quantized.safetensors"
    models.save(model, path, overwrite=True)
    return model, ("quantize", path, {"against float": f"{receipt.psnr:.2f} dB"})


def refine(runner: Runner, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
    """Train the clipping ranges on the results of the float network that the recipe began with."""
    if not isinstance(runner.data, str):
        raise RecipeError(f"{runner.recipe.name} refines on {runner.recipe.data}; give their folder with --data")
    how = checked(schema.Refine, settings, f"{runner.recipe.name}: refine")
    teacher = models.reconfigured(runner.start(), **how.teacher)
    with tqdm(disable=runner.quiet, delay=1, leave=False) as bar:
        model, receipt = stages.refine_with_receipt(
            model,
            teacher,
            runner.data,
            Refinement(rate=how.rate, batch=how.batch),
            steps=how.steps or None,
            epochs=None if how.steps else how.epochs,
            cut=_cut(runner, how),
            device=runner.device,
            progress=shown(bar),
        )
    path = runner.folder / "refined.safetensors"
    models.save(model, path, overwrite=True)
    return model, ("refine", path, {"against float": "{:.2f} -> {:.2f} dB".format(*receipt.psnr)})


def freeze(runner: Runner, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
    """Turn clipping ranges into numbers and weights into integers."""
    made = stages.freeze(model)
    path = runner.folder / "frozen.safetensors"
    models.save(made, path, overwrite=True)
    return made, ("freeze", path, {"precision": made.about["precision"]})


def _cut(runner: Runner, how: schema.Quantize | schema.Refine) -> Cut:
    return Cut(how.crops, how.side, how.place, runner.recipe.start.seed)
