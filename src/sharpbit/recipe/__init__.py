"""Recipes: a TOML file that says how a model was made, read into checked dataclasses and carried out in order."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sharpbit.data.pairs import Pairs
from sharpbit.errors import RecipeError, SharpbitError, UsageError
from sharpbit.recipe.checking import (
    check_config,
    check_name,
    check_options,
    checked,
    known_keys,
    listed,
    nearest,
    shortened,
    tabled,
)
from sharpbit.recipe.limits import PSNR, SETTINGS
from sharpbit.recipe.runner import SHARED, VERBS, Result, Runner
from sharpbit.recipe.schema import Expected, FakeQuantize, Form, Recipe, RefQSR, Start, Step
from sharpbit.recipe.validation import EVERY, Validation
from sharpbit.system import parallel
from sharpbit.system.atomic import check_folder

__all__ = ["Expected", "FakeQuantize", "Form", "Recipe", "RefQSR", "Start", "Step", "read", "run"]


def read(path: str | Path) -> Recipe:
    """Read and check a recipe, without carrying anything out.

    Args:
        path: TOML file of the recipe.

    Raises:
        RecipeError: a file that is unreadable or not TOML, or a key or value that cannot be.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise RecipeError(f"the recipe {path} is not TOML: {error}") from None
    known_keys(set(Recipe.__dataclass_fields__) - {"name"}, table, str(path))
    start = checked(Start, tabled(table.get("start", {}), f"{path}: [start]"), f"{path}: [start]")
    check_config(start, f"{path}: [start] config")
    steps = tuple(
        _step(step, f"{path}: [[step]] {number}")
        for number, step in enumerate(listed(table.get("step", []), f"{path}: [[step]]"), 1)
    )
    claims = tabled(table.get("expect", {}), f"{path}: [expect]")
    expect = {name: _expected(item, name, f"{path}: [expect]") for name, item in claims.items()}
    forms = table.get("evaluate", [])
    forms = [forms] if isinstance(forms, dict) else forms  # [evaluate] is as good as [[evaluate]] where there is one
    forms = tuple(checked(Form, form, f"{path}: [[evaluate]]") for form in listed(forms, f"{path}: [[evaluate]]"))
    parts = {"name": path.stem, "start": start, "step": steps, "expect": expect, "evaluate": forms}
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
    weights: str | Path | None = None,
    validate: Sequence[str | Path] = (),
    validate_every: int = EVERY,
) -> list[Result]:
    """Carry out a recipe; going on from a checkpoint where there is one.

    Args:
        path: TOML file of the recipe.
        data: folder of training images, or the images themselves.
        out: folder of results, log and checkpoint; default: `runs/NAME`.
        seed: number that decides all random numbers; default: the recipe's own.
        device: `cpu` (default), `cuda` or `cuda:N`.
        stop_after: number of training steps after which the run stops with a checkpoint; default: never.
        overwrite: whether results of an earlier run are replaced; default: false.
        quiet: whether progress is hidden; default: false.
        weights: folder below which published weights lie, for recipes that begin with some; default: none.
        validate: folders of test images, on which the averaged weights are measured while they are trained; the PSNR in
            dB goes into `log.jsonl`. The result is the same with and without; default: none.
        validate_every: number of training steps from one such measurement to the next; default: 5000.

    Returns:
        For each step that was carried out its verb, its file or folder, and facts. Where `torchrun` has started several
        processes, the first one returns them and the others an empty list.

    Raises:
        SharpbitError: a recipe that cannot be carried out; nothing is lost of what was done before.
    """
    recipe = read(path) if seed is None else _seeded(read(path), seed)
    folder = Path(out) if out else Path("runs") / recipe.name
    check_folder(folder, "--out")
    if isinstance(data, str) and not Path(data).is_dir():
        raise UsageError(f"there is no folder {data}; give one of training images with --data")
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", device):
        raise UsageError(f"--device {device} is not known; give cpu, cuda or cuda:N")
    if validate_every < 1:
        raise UsageError(f"--validate-every is a number of steps, at least 1, and not {validate_every}")
    results: list[Result] = []
    with parallel.joined(device) as own:
        hidden = quiet or not parallel.first()
        validation = Validation.on(validate, validate_every, own)
        runner = Runner(recipe, folder, data, own, stop_after, overwrite, hidden, weights, validation)
        model = runner.start()
        for step in recipe.step:
            if step.verb not in SHARED and not parallel.first():
                break  # what comes after training is done by one process
            try:
                model, result = VERBS[step.verb](runner, model, step.settings)
            except OSError as error:  # a full disk, mostly; what was written before is whole
                where = error.filename or folder
                raise SharpbitError(f"{where} cannot be written: {error.strerror or error}") from None
            results.append(result)
            if result[2].get("stopped"):
                break
        return results if parallel.first() else []


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    steps = (
        replace(one, settings={**one.settings, "seed": seed}) if one.verb == "train" else one for one in recipe.step
    )
    return replace(recipe, start=replace(recipe.start, seed=seed), step=tuple(steps))


def _step(table: Any, where: str) -> Step:
    settings = dict(tabled(table, where))
    if "verb" not in settings:
        raise RecipeError(f"{where} has no verb; known are {', '.join(VERBS)}")
    verb = settings.pop("verb")
    if not isinstance(verb, str) or verb not in VERBS:
        raise RecipeError(f"{where} has the verb {shortened(verb)}; known are {', '.join(VERBS)}{nearest(verb, VERBS)}")
    where += f" ({verb})"
    own = dict(settings)
    if verb == "train" and "teacher" in own:
        check_name(own.pop("teacher"), "teacher", where)
    made: Any = checked(SETTINGS[verb], own, where)
    if isinstance(made, FakeQuantize | RefQSR):
        check_options(made.method, made.options, where)
    return Step(verb, settings)


def _expected(item: Any, name: str, where: str) -> float | Expected:
    if isinstance(item, dict):
        return checked(Expected, item, f"{where} {name}")
    if problem := PSNR.problem(item):
        raise RecipeError(
            f"{where} has {name} = {shortened(item)}, which should be {problem}: the PSNR to reach in dB, or"
            " { psnr = ..., ssim = ... }"
        )
    return float(item)
