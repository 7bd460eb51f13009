"""Recipes: a TOML file that says how a model was made, read into checked dataclasses and carried out in order."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from sharpbit.data.pairs import Pairs
from sharpbit.errors import RecipeError
from sharpbit.recipe.runner import SHARED, VERBS, Kitchen, Result
from sharpbit.recipe.schema import Expected, FakeQuantize, Form, Recipe, RefQSR, Start, Step, checked, fits
from sharpbit.system import parallel
from sharpbit.training import Training

__all__ = ["Expected", "FakeQuantize", "Form", "Recipe", "RefQSR", "Start", "Step", "read", "run"]


def read(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: unreadable, not TOML, or a key that is unknown, missing or of the wrong type.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {path} is not TOML: {error}") from None
    steps = []
    for number, step in enumerate(table.get("step", ()), 1):
        settings = dict(step)
        verb = settings.pop("verb", None)
        if verb not in VERBS:
            raise RecipeError(f"{path}: step {number} has the verb {verb!r}; known are {', '.join(VERBS)}")
        if verb == "train":
            checked(Training, {key: settings[key] for key in settings if key != "teacher"}, f"{path}: step {number}")
        if verb == "fake_quantize":
            checked(FakeQuantize, settings, f"{path}: step {number}")
        if verb == "refqsr":
            checked(RefQSR, settings, f"{path}: step {number}")
        steps.append(Step(verb, settings))
    start = checked(Start, table.get("start", {}), f"{path}: [start]")
    expect = {name: _expected(item, f"{path}: [expect] {name}") for name, item in table.get("expect", {}).items()}
    forms = table.get("evaluate", [])
    forms = [forms] if isinstance(forms, dict) else forms  # [evaluate] is as good as [[evaluate]] where there is one
    forms = tuple(checked(Form, form, f"{path}: [[evaluate]]") for form in forms)
    parts = {"name": path.stem, "start": start, "step": tuple(steps), "expect": expect, "evaluate": forms}
    return checked(Recipe, {**table, **parts}, str(path))


def run(
    path: str | Path,
    *,
    data: str | Pairs | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    device: str = "cpu",
    stop_after: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Result]:
    """Carry out a recipe; going on from a checkpoint where there is one.

    Args:
        path: of the TOML file.
        data: folder of training images, or the images themselves.
        out: folder of what comes out; by default `runs/NAME`.
        seed: of everything, instead of the recipe's own.
        device: `cpu`, `cuda` or `cuda:N`.
        stop_after: stop, with a checkpoint, after this many steps of training.
        overwrite: replace results of an earlier run.
        quiet: show no progress.

    Returns:
        what was done: verb, file or folder, facts. Of several processes that `torchrun` has started, the first one
        tells; the others give an empty list.

    Raises:
        SharpbitError: a recipe that cannot be carried out; nothing is lost of what was done before.
    """
    recipe = read(path) if seed is None else _seeded(read(path), seed)
    folder = Path(out) if out else Path("runs") / recipe.name
    results: list[Result] = []
    with parallel.joined(device) as own:
        kitchen = Kitchen(recipe, folder, data, own, stop_after, overwrite, quiet or not parallel.first())
        model = kitchen.start()
        for step in recipe.step:
            if step.verb not in SHARED and not parallel.first():
                break  # what comes after training is done by one process
            model, result = VERBS[step.verb](kitchen, model, step.settings)
            results.append(result)
            if result[2].get("stopped"):
                break
        return results if parallel.first() else []


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    steps = (
        replace(one, settings={**one.settings, "seed": seed}) if one.verb == "train" else one for one in recipe.step
    )
    return replace(recipe, start=replace(recipe.start, seed=seed), step=tuple(steps))


def _expected(item: Any, where: str) -> float | Expected:
    if isinstance(item, dict):
        return checked(Expected, item, where)
    if not fits(item, float):
        raise RecipeError(f"{where} is {item!r}; expected is a PSNR to reach, or {{ psnr = ..., ssim = ... }}")
    return float(item)
