"""Small recipes, and a folder of noise that they train on."""

import re

import numpy as np
from PIL import Image


def small(arch, config, steps):
    """The text of a recipe: a network and its sizes, then its steps, both as TOML."""
    return f"""
title = "a small one"
source = "none"
data = "noise"
licence = "CC0-1.0"
[start]
arch = "{arch}"
config = {{ {config} }}
{steps}
"""


def written(folder, text, name="small"):
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def thin(text, **settings):
    """The text of a recipe of the evidence: two steps of a thin network, and settings of other values."""
    text = text.replace("blocks = 4, width = 32", "blocks = 4, width = 8").replace("gate = 32", "gate = 8")
    for key, value in {"steps": 2, "batch": 2, "batches": 2, **settings}.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.M)
    return text


def images(folder, *sizes, seed=0):
    """The folder, with an image of each `(height, width)` in it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for k, size in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{k}.png")
    return str(folder)
