"""Every key of three recipes with every wrong value: a recipe that can be read, or one sentence that names the file."""

import copy
import math
import tomllib
from pathlib import Path

import pytest

from sharpbit import recipe
from sharpbit.errors import RecipeError

ROOT = Path(__file__).parents[2] / "recipes"
NAMES = ("etds/etds-m-x2", "qat/edsr-ddtb2-x4", "evidence/refqsr/small-refqsr-x2", "x3-clean-balanced")
VALUES = (
    0,
    -1,
    10**20,
    10**400,
    math.nan,
    math.inf,
    1e300,
    "",
    "../../x",
    "a\nb",
    True,
    [],
    ["x"],
    [[1]],
    {},
    {"a": 1},
)


def toml(value):
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return str(value)


def places(value, at=()):
    """Where a value stands, for all of them."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*at, key)
        yield from places(item, (*at, key))


@pytest.mark.parametrize("name", NAMES)
def test_no_wrong_value_ends_in_a_stack_trace(name, tmp_path, monkeypatch):
    for names in ("ARCHITECTURES", "METHODS", "EXPORTS"):  # what is installed is asked once, for speed alone
        own = getattr(recipe.limits, names)
        monkeypatch.setattr(recipe.limits, names, {known: own[known] for known in own})
    whole = tomllib.loads((ROOT / f"{name}.toml").read_text())
    path = tmp_path / "wrong.toml"
    refused = 0
    spots = list(places(whole))
    for number, spot in enumerate(spots):
        for value in VALUES[number % 2 :: 2]:
            wrong = copy.deepcopy(whole)
            here = wrong
            for key in spot[:-1]:
                here = here[key]
            here[spot[-1]] = value
            path.write_text("".join(f"{key} = {toml(item)}\n" for key, item in wrong.items()))
            try:
                recipe.read(path)
            except RecipeError as error:
                refused += 1
                assert str(path) in str(error)
                assert "\n" not in str(error)
    assert refused > 5 * len(spots)
