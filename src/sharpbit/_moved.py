"""Old module names, kept for those who import them: each leads to its new place, with a `DeprecationWarning`."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "app.bars": "report.bars",
    "app.batch": "pipeline.batch",
    "app.handover": "pipeline.strip_queue",
    "app.plan": "pipeline.jobs",
    "app.plot": "report.scatter",
    "app.receipt": "report.receipt",
    "atomic": "system.atomic",
    "benching": "verbs.bench",
    "catalog": "system.catalog",
    "check": "pipeline.sanity",
    "clustblock": "quant.refqsr.clustblock",
    "clusters": "twopass",
    "clusters.classifier": "twopass.classifier",
    "clusters.detail": "twopass.detail",
    "clusters.picture": "twopass.clustering",
    "cost.spending": "cost.per_patch",
    "evaluation": "verbs.evaluate",
    "extras": "system.extras",
    "image.guard": "image.muted_decoder",
    "image.picture": "image.data",
    "inspection": "verbs.inspect",
    "integer": "modelfile.integer_chain",
    "measure.enlarge": "measure.upscaling",
    "measure.fresh": "measure.cold_start",
    "pairing": "verbs.pair",
    "parallel": "system.parallel",
    "passes": "twopass.schedule",
    "patches": "twopass.patches",
    "progress": "system.progress",
    "qat": "verbs.qat",
    "quant.balance": "quant.ptq.equalize",
    "quant.blame": "quant.ptq.sensitivity",
    "quant.bounds": "quant.clipping",
    "quant.budget": "quant.ptq.bit_allocation",
    "quant.compensate": "quant.ptq.compensated_rounding",
    "quant.finish": "quant.ptq.last_layer",
    "quant.official": "quant.qat.published_names",
    "quant.pixel_aware": "quant.ptq.pixel_aware",
    "quant.placement": "quant.qat.placement",
    "quant.prefix": "quant.prefix_sums",
    "quant.refer": "quant.refqsr.refer",
    "quant.refine": "quant.ptq.boundary_refinement",
    "quant.refqsr.passes": "quant.refqsr.switch",
    "quant.verbs": "quant.recorded",
    "quant.widen": "quant.ptq.input_range",
    "quantization": "verbs.quantize",
    "receipt": "verbs.receipt",
    "recipe.kitchen": "recipe.runner",
    "reproduction": "recipe.reproduce",
    "samples": "pipeline.samples",
    "size": "pipeline.size",
    "tiles": "pipeline.tiles",
    "upscaler": "pipeline.upscaler",
    "upscaling": "verbs.upscale",
}


class MovedModules:
    """Finds modules of version 0.1 under the names that they have now, a finder and a loader of `importlib`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a module that moved; None for all others."""
        if name.removeprefix("sharpbit.") not in MOVED:
            return None
        return ModuleSpec(name, self)  # type: ignore[arg-type]  # importlib.abc would load much that nobody needs

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module under its new name."""
        new = f"sharpbit.{MOVED[spec.name.removeprefix('sharpbit.')]}"
        warnings.warn(f"{spec.name} has moved to {new}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Only give the module its own specification back: it ran under its new name."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Make old names importable, once."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
