"""sharpbit makes image super-resolution networks small and fast, proves what that cost, and runs them.

Running needs numpy, Pillow and an engine; nothing here imports torch until something is asked for that makes models.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sharpbit import _moved
from sharpbit._version import __version__
from sharpbit.errors import ResultWarning, SharpbitError

_moved.install()

if TYPE_CHECKING:
    from sharpbit.collection.upscaling import upscale_collection as upscale_collection
    from sharpbit.model import Model as Model
    from sharpbit.model import build as build
    from sharpbit.model import load as load
    from sharpbit.model import reparameterize as reparameterize
    from sharpbit.model import save as save
    from sharpbit.pipeline.size import Size as Size
    from sharpbit.pipeline.upscaler import Upscaler as Upscaler
    from sharpbit.training import Training as Training
    from sharpbit.training import train as train
    from sharpbit.verbs.bench import bench as bench
    from sharpbit.verbs.compare import compare as compare
    from sharpbit.verbs.compress import compress as compress
    from sharpbit.verbs.deploy import deploy as deploy
    from sharpbit.verbs.evaluate import evaluate as evaluate
    from sharpbit.verbs.inspect import inspect as inspect
    from sharpbit.verbs.quantize import quantize as quantize
    from sharpbit.verbs.refine import freeze as freeze
    from sharpbit.verbs.refine import refine as refine
    from sharpbit.verbs.upscale import upscale as upscale
    from sharpbit.verbs.upscale_folder import upscale_folder as upscale_folder
    from sharpbit.verbs.verify import verify as verify
    from sharpbit.verbs.video import upscale_video as upscale_video

_RUNNING = {
    "bench": "verbs.bench",
    "deploy": "verbs.deploy",
    "evaluate": "verbs.evaluate",
    "upscale": "verbs.upscale",
    "verify": "verbs.verify",
    "upscale_folder": "verbs.upscale_folder",
    "upscale_video": "verbs.video",
    "upscale_collection": "collection.upscaling",
    "Upscaler": "pipeline.upscaler",
    "Size": "pipeline.size",
}
_MAKING = {
    "Model": "model",
    "build": "model",
    "load": "model",
    "save": "model",
    "reparameterize": "model",
    "quantize": "verbs.quantize",
    "refine": "verbs.refine",
    "freeze": "verbs.refine",
    "compare": "verbs.compare",
    "compress": "verbs.compress",
    "Training": "training",
    "train": "training",
    "inspect": "verbs.inspect",
    "export": "",  # a package that can be called
}

__all__ = ["ResultWarning", "SharpbitError", "__version__", *sorted(_RUNNING), *sorted(_MAKING)]


def __getattr__(name: str) -> Any:
    """Import the pieces of the public interface when they are first used."""
    module = _RUNNING.get(name, _MAKING.get(name))
    if module is None:
        raise AttributeError(f"module 'sharpbit' has no attribute {name!r}")
    if name in _MAKING:
        from sharpbit.system.extras import LOADED, loaded

        for package in LOADED["train"]:
            loaded(package, f"sharpbit.{name}", "train")
    value = getattr(importlib.import_module(f"sharpbit.{module}"), name) if module else _package(name)
    globals()[name] = value
    return value


def _package(name: str) -> Any:
    return importlib.import_module(f"sharpbit.{name}")


def __dir__() -> list[str]:
    """The public names, those that are not imported yet too."""
    return sorted({*globals(), *__all__})
