"""Carry out the last steps of a recipe, from a model on which the first ones were carried out already.

    python research/training/finish.py RECIPE.toml MODEL OUT --data PHOTOS

The steps that the model's history holds are left out; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from sharpbit import model as models
from sharpbit import recipe, zoo
from sharpbit.recipe.runner import VERBS, Runner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found, model = recipe.read(args.recipe), models.load(zoo.path_of(args.model))
    kitchen = Runner(found, args.out, args.data, "cpu", None, True, True)
    verbs = [entry.verb for entry in model.history if entry.verb != "start"]
    done = len(verbs)
    assert verbs == [step.verb for step in found.step[:done]]
    for step in found.step[done:]:
        model, result = VERBS[step.verb](kitchen, model, step.settings)
        print(*result, flush=True)


if __name__ == "__main__":
    main()
