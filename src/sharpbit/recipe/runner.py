"""The verbs of a recipe, carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sharpbit import model as models
from sharpbit.data.matched import Matched, small_images
from sharpbit.data.pairs import Pairs
from sharpbit.errors import RecipeError
from sharpbit.export import AUTHORS, EXPORTS, SUFFIXES
from sharpbit.model import Model
from sharpbit.modelfile.history import Start, Train
from sharpbit.quant.qat.placement import placement
from sharpbit.quant.refqsr import TwoPass, published
from sharpbit.quant.refqsr.clustblock import ClustBlock
from sharpbit.recipe import after_training
from sharpbit.recipe.checking import checked, possible
from sharpbit.recipe.schema import Export, FakeQuantize, Recipe, RefQSR, Reparameterize
from sharpbit.recipe.validation import Validation
from sharpbit.reparam.receipt import receipt
from sharpbit.system import parallel
from sharpbit.system.devices import device_error
from sharpbit.training import Training, train
from sharpbit.twopass.classifier import embedded
from sharpbit.twopass.clustering import calibrated
from sharpbit.verbs.carry import carry
from sharpbit.verbs.qat import fake_quantize, for_engines, tabulate, two_pass

JUDGED = 48  # training images on which a threshold is found
Result = tuple[str, Path, dict[str, Any]]


@dataclass(frozen=True)
class Runner:
    """One run of a recipe: what its verbs share.

    Attributes:
        recipe: the recipe, read and checked.
        folder: folder of its results; those of other recipes lie beside it.
        data: folder of training images, or the images themselves; None where none were given.
        device: `cpu`, `cuda` or `cuda:N`.
        stop_after: number of training steps after which the run stops; None runs to the end.
        overwrite: whether an exported file of an earlier run is replaced.
        quiet: whether progress is hidden.
        weights: folder below which published weights lie; None where none was given.
        validation: what is measured while training; None measures nothing.
    """

    recipe: Recipe
    folder: Path
    data: str | Pairs | None
    device: str
    stop_after: int | None
    overwrite: bool
    quiet: bool
    weights: str | Path | None = None
    validation: Validation | None = None

    def start(self) -> Model:
        """The network that the recipe begins with: random weights, or those of another recipe where they fit."""
        begin = self.recipe.start
        torch.manual_seed(begin.seed)
        with possible(f"{self.recipe.name}: {begin.arch} cannot be built with config = {begin.config}"):
            model = models.build(begin.arch, **begin.config)
            self._try(model)
        about = {"name": self.recipe.name, "data": self.recipe.data, "licence": self.recipe.licence}
        model = replace(model, about=about)
        if begin.weights is not None:
            return replace(self._published(begin.weights, begin.config), about=about)
        if begin.after is None:
            return model
        before = self.other(begin.after).net.state_dict()
        own = model.net.state_dict()
        fitting = {key: value for key, value in before.items() if key in own and own[key].shape == value.shape}
        model.net.load_state_dict({**own, **fitting})
        return replace(model, history=(Start(begin.after, len(fitting), len(own)),))

    def _published(self, name: str, config: dict[str, Any]) -> Model:
        """The network with published weights."""
        found = sorted(Path(self.weights).rglob(name)) if self.weights is not None else []
        if not found:
            where = f"below {self.weights}" if self.weights is not None else "known"
            raise RecipeError(
                f"{self.recipe.name} begins with {name}, which is not {where}; say where it lies with --weights"
            )
        return models.load(found[0], arch=self.recipe.start.arch, **config)

    def _try(self, model: Model) -> None:
        """Run one crop of the size that training takes: some hyper-parameters are built and do not go together."""
        crops = [step.settings.get("patch", Training.patch) for step in self.recipe.step if step.verb == "train"]
        side = min([*crops, 64])
        with torch.no_grad():
            model.net(torch.zeros(1, 3, side, side))

    def other(self, name: str) -> Model:
        """What another recipe of the same folder has trained; `NAME/trained2` is the result of its second training."""
        path = self.folder.parent / (f"{name}.safetensors" if "/" in name else f"{name}/trained.safetensors")
        if not path.exists():
            raise RecipeError(f"{self.recipe.name} goes on from {path}, which is not there; run {name} first")
        return models.load(path)

    def pairs(self, model: Model) -> Pairs:
        """The training images."""
        if self.data is None:
            raise RecipeError(f"{self.recipe.name} trains on {self.recipe.data}; give their folder with --data")
        if isinstance(self.data, Pairs):
            return self.data
        with parallel.first_alone():
            return Pairs.from_folder(
                Path(self.data),
                model.scale,
                device=self.device,
                cache=self.folder.parent / "images",
                copies=parallel.count(),
                quiet=self.quiet,
            )

    def save(self, model: Model, path: Path) -> None:
        """Write a result; of several processes the first one does."""
        if parallel.first():
            path.parent.mkdir(parents=True, exist_ok=True)
            models.save(model, path, overwrite=True)

    def fake_quantize(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Put quantizers into the network; clipping ranges come from the recipe's start or from training images."""
        how = checked(FakeQuantize, settings, self.recipe.name)
        act = how.act if isinstance(how.act, int) else tuple(how.act)
        plan = placement(
            model.arch.name,
            act,
            how.weight,
            width=getattr(model.config, "width", 0),
            net=model.net,
            legacy_conv1_float=how.legacy_conv1_float,
            fixed=how.fixed or None,
            options=how.options,
        )
        source = self.other(self.recipe.start.after) if self.recipe.start.after else model
        if source.scale != model.scale:
            raise RecipeError(
                f"{self.recipe.name} is an x{model.scale} network and begins with {self.recipe.start.after}, which is"
                f" x{source.scale}; quantizers go into a network that was trained for its scale"
            )
        pairs, generator = self.pairs(model), torch.Generator().manual_seed(self.recipe.start.seed)
        crops = (pairs.batch(how.batch, how.patch, generator, colours=False)[0].cpu() for _ in range(how.batches))
        shown = tqdm(crops, "calibrating", total=how.batches, disable=self.quiet, delay=2, leave=False)
        with possible(f"{self.recipe.name}: fake_quantize cannot be done with these settings"):
            model = fake_quantize(model, plan, how.method, () if how.method == "cabm" else shown, source=source)
            if how.method == "cabm":
                model = tabulate(model, source, shown, how.limit, legacy_edge=how.legacy_edge)
        path = self.folder / "fake_quantized.safetensors"
        self.save(model, path)
        return model, ("fake_quantize", path, {"method": how.method})

    def refqsr(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Make a network of two passes, with the numbers of the recipe's start."""
        how = checked(RefQSR, settings, self.recipe.name)
        if how.queries and "threshold" in settings:
            raise RecipeError(f"{self.recipe.name}: queries finds a threshold and threshold sets one; leave out one")
        threshold = self._threshold(model, how)
        plan = published(
            model.arch.name,
            model.config,
            how.method,
            how.high if isinstance(how.high, int) else tuple(how.high),
            how.low,
            medium=how.medium or None,
            refers=None if how.refers < 0 else how.refers,
            form=how.form,
            pooled=how.pooled,
            threshold=threshold,
            patch=how.patch,
            options=how.options,
            matching=how.matching,
            neutral=how.neutral,
            keep_block=how.keep_block,
        )
        source = self.other(self.recipe.start.after) if self.recipe.start.after else model
        pairs, generator = self.matched(model, threshold), torch.Generator().manual_seed(self.recipe.start.seed)
        crops = (pairs.batch(how.batch, how.crop, generator, colours=False)[0].cpu() for _ in range(how.batches))
        shown = tqdm(crops, "calibrating", total=how.batches, disable=self.quiet, delay=2, leave=False)
        with possible(f"{self.recipe.name}: refqsr cannot be done with these settings"):
            model = two_pass(model, plan, () if how.method == "cabm" else shown, source=source)
            if how.method == "cabm":
                model = tabulate(model, source, shown, how.limit)
        path = self.folder / "two_pass.safetensors"
        self.save(model, path)
        facts = {"method": how.method, "blocks of few bits": len(plan.few), "threshold": threshold}
        return model, ("refqsr", path, facts)

    def _threshold(self, model: Model, how: RefQSR) -> float:
        """The cosine from which on patches are alike: as given, or found for a share of queries of training images."""
        if not how.queries:
            return how.threshold
        images = (small.numpy() for small in small_images(self.pairs(model), JUDGED))
        return calibrated(images, how.queries, how.patch)[0]

    def matched(self, model: Model, threshold: float) -> Matched:
        """The training images in pairs of crops that are alike."""
        judge = ClustBlock.of(embedded()).to(self.device)
        return Matched(self.pairs(model), judge, threshold)

    def train(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Train, or go on training; `teacher` is the name of a recipe of the same folder."""
        settings = dict(settings)
        name = settings.pop("teacher", None)
        how = checked(Training, settings, self.recipe.name)
        if wrong := device_error(self.device):
            raise RecipeError(f"{wrong}; leave --device out to train on the CPU")
        two = TwoPass.of(model.history)
        pairs = self.matched(model, two.threshold) if two else self.pairs(model)
        teacher = self.other(name) if name else None
        before = sum(isinstance(entry, Train) for entry in model.history)  # of this recipe; each keeps checkpoints
        sizes = f"batch = {how.batch} and patch = {how.patch}"
        with possible(f"{self.recipe.name}: training cannot go on with {sizes}", MemoryError, RuntimeError, ValueError):
            model = train(
                model,
                pairs,
                how,
                out=self.folder / f"train{before + 1}" if before else self.folder,
                teacher=teacher,
                device=self.device,
                stop_after=self.stop_after,
                quiet=self.quiet,
                **self._validating(),
            )
        if parallel.first():
            model = replace(model, about={**model.about, "data": _read(pairs)})
        trained = model.history[-1]
        assert isinstance(trained, Train)
        done = trained.steps
        if done < how.steps:
            return model, ("train", self.folder, {"stopped": f"after {done} of {how.steps} steps"})
        path = self.folder / (f"trained{before + 1}.safetensors" if before else "trained.safetensors")
        self.save(model, path)
        return model, ("train", path, {"steps": done})

    def _validating(self) -> dict[str, Any]:
        """What a training is told about measuring on the way."""
        if self.validation is None:
            return {}
        measured = partial(self.validation.measured, path=self.folder / "validated.safetensors")
        return {"validate": measured, "validate_every": self.validation.every}

    def carry(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Turn an integer chain into the float network that keeps constant images constant."""
        made = carry(model)
        path = self.folder / "carry.safetensors"
        self.save(made, path)
        return made, ("carry", path, {})

    def reparameterize(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Turn the network into its plain form, and say how far the two are apart."""
        how = checked(Reparameterize, settings, self.recipe.name)
        plain = models.reparameterize(model, how.form)
        proof = receipt(model.net, plain.net, model.scale)
        proof.check()
        path = self.folder / "plain.safetensors"
        models.save(plain, path, overwrite=True)
        return plain, ("reparameterize", path, {"largest difference": f"{proof.difference:.2g}"})

    def export(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Write the model for an engine, under the name of the recipe or another one; quantizers become numbers."""
        how = checked(Export, settings, self.recipe.name)
        name = how.name or self.recipe.name
        path = self.folder / f"{name}{SUFFIXES.get(how.format, f'.{how.format}')}"
        named = replace(model, about={**model.about, "name": name})
        named = named if how.format == AUTHORS else for_engines(named)
        header = EXPORTS[how.format](named, path, overwrite=self.overwrite)
        return model, ("export", path, {"sha256": header.sha256})


def _read(images: Pairs | Matched) -> str:
    """What was trained on, for the header of a file: what was read, not what the recipe names."""
    pairs = images.pairs if isinstance(images, Matched) else images
    return f"{pairs.origin or f'{len(pairs.sizes)} images in memory'}; sha256 of the pixels {pairs.digest()}"


VERBS: dict[str, Callable[[Runner, Model, dict[str, Any]], tuple[Model, Result]]] = {
    "train": Runner.train,
    "carry": Runner.carry,
    "reparameterize": Runner.reparameterize,
    "fake_quantize": Runner.fake_quantize,
    "refqsr": Runner.refqsr,
    "quantize": after_training.quantize,
    "refine": after_training.refine,
    "freeze": after_training.freeze,
    "export": Runner.export,
}

SHARED = ("train", "fake_quantize", "refqsr")
"""Verbs that all processes carry out where `torchrun` has started several."""
