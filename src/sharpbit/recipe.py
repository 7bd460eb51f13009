"""Recipes: a TOML file that says how a model was made, read into checked dataclasses and carried out in order."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from tqdm import tqdm

from sharpbit import model as models
from sharpbit import parallel
from sharpbit.clustblock import ClustBlock
from sharpbit.clusters.classifier import embedded
from sharpbit.data.matched import Matched
from sharpbit.data.pairs import Pairs
from sharpbit.errors import RecipeError
from sharpbit.export import EXPORTS, SUFFIXES
from sharpbit.model import Model
from sharpbit.progress import shown
from sharpbit.qat import fake_quantize, for_engines, tabulate, two_pass
from sharpbit.quant.placement import placement
from sharpbit.quant.refqsr import TwoPass, published
from sharpbit.quantization import Settings, with_receipt
from sharpbit.reparam.receipt import receipt
from sharpbit.training import Training, train

T = TypeVar("T")
Result = tuple[str, Path, dict[str, Any]]


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
        legacy_conv1_float: see `sharpbit.quant.placement`.
        fixed: see there; 0 is its default.
        options: of the ranges of activations.
        batches: random crops from the training pictures on which ranges begin, so many batches.
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
        batches: random crops from the training pictures on which ranges begin, so many batches.
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
        macs: multiply-accumulate operations for a picture of 640x360, in 1e9.
    """

    weights: str
    parameters: float | None = None
    macs: float | None = None


@dataclass(frozen=True)
class Expected:
    """Published numbers for a set of test pictures, and how near a measured one must be to be the same.

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
            _checked(Training, {key: settings[key] for key in settings if key != "teacher"}, f"{path}: step {number}")
        if verb == "fake_quantize":
            _checked(FakeQuantize, settings, f"{path}: step {number}")
        if verb == "refqsr":
            _checked(RefQSR, settings, f"{path}: step {number}")
        steps.append(Step(verb, settings))
    start = _checked(Start, table.get("start", {}), f"{path}: [start]")
    expect = {name: _expected(item, f"{path}: [expect] {name}") for name, item in table.get("expect", {}).items()}
    forms = table.get("evaluate", [])
    forms = [forms] if isinstance(forms, dict) else forms  # [evaluate] is as good as [[evaluate]] where there is one
    forms = tuple(_checked(Form, form, f"{path}: [[evaluate]]") for form in forms)
    parts = {"name": path.stem, "start": start, "step": tuple(steps), "expect": expect, "evaluate": forms}
    return _checked(Recipe, {**table, **parts}, str(path))


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
        data: folder of training pictures, or the pictures themselves.
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


@dataclass(frozen=True)
class Kitchen:
    """What the verbs of one run share."""

    recipe: Recipe
    folder: Path
    data: str | Pairs | None
    device: str
    stop_after: int | None
    overwrite: bool
    quiet: bool

    def start(self) -> Model:
        """The network that the recipe begins with."""
        begin = self.recipe.start
        torch.manual_seed(begin.seed)
        model = models.build(begin.arch, **begin.config)
        about = {"name": self.recipe.name, "data": self.recipe.data, "licence": self.recipe.licence}
        model = replace(model, about=about)
        if begin.after is None:
            return model
        before = self.other(begin.after).net.state_dict()
        own = model.net.state_dict()
        fitting = {key: value for key, value in before.items() if key in own and own[key].shape == value.shape}
        model.net.load_state_dict({**own, **fitting})
        entry = {"verb": "start", "after": begin.after, "tensors": len(fitting), "of": len(own)}
        return replace(model, history=(entry,))

    def other(self, name: str) -> Model:
        """What another recipe of the same folder has trained."""
        path = self.folder.parent / name / "trained.safetensors"
        if not path.exists():
            raise RecipeError(f"{self.recipe.name} goes on from {path}, which is not there; run {name} first")
        return models.load(path)

    def pairs(self, model: Model) -> Pairs:
        """The training pictures."""
        if self.data is None:
            raise RecipeError(f"{self.recipe.name} trains on {self.recipe.data}; give their folder with --data")
        if isinstance(self.data, Pairs):
            return self.data
        with parallel.first_alone():
            return Pairs.from_folder(
                Path(self.data),
                model.scale,
                device=self.device,
                cache=self.folder.parent / "pictures",
                copies=parallel.count(),
                quiet=self.quiet,
            )

    def save(self, model: Model, path: Path) -> None:
        """Write a result; of several processes the first one does."""
        if parallel.first():
            path.parent.mkdir(parents=True, exist_ok=True)
            models.save(model, path, overwrite=True)

    def fake_quantize(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Put quantizers into the network, with the ranges of the recipe's start or begun on training pictures."""
        how = _checked(FakeQuantize, settings, self.recipe.name)
        act = how.act if isinstance(how.act, int) else tuple(how.act)
        plan = placement(
            model.arch.name,
            act,
            how.weight,
            width=model.config.width,
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
        shown = tqdm(crops, "beginning", total=how.batches, disable=self.quiet, delay=2, leave=False)
        model = fake_quantize(model, plan, how.method, () if how.method == "cabm" else shown, source=source)
        if how.method == "cabm":
            model = tabulate(model, source, shown, how.limit, legacy_edge=how.legacy_edge)
        path = self.folder / "fake_quantized.safetensors"
        self.save(model, path)
        return model, ("fake_quantize", path, {"method": how.method})

    def refqsr(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Make a network of two passes, with the numbers of the recipe's start."""
        how = _checked(RefQSR, settings, self.recipe.name)
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
            threshold=how.threshold,
            patch=how.patch,
            options=how.options,
        )
        source = self.other(self.recipe.start.after) if self.recipe.start.after else model
        pairs, generator = self.matched(model, how.threshold), torch.Generator().manual_seed(self.recipe.start.seed)
        crops = (pairs.batch(how.batch, how.crop, generator, colours=False)[0].cpu() for _ in range(how.batches))
        shown = tqdm(crops, "beginning", total=how.batches, disable=self.quiet, delay=2, leave=False)
        model = two_pass(model, plan, () if how.method == "cabm" else shown, source=source)
        if how.method == "cabm":
            model = tabulate(model, source, shown, how.limit)
        path = self.folder / "two_pass.safetensors"
        self.save(model, path)
        return model, ("refqsr", path, {"method": how.method, "blocks of few bits": len(plan.queries)})

    def matched(self, model: Model, threshold: float) -> Matched:
        """The training pictures in pairs of crops that are alike."""
        judge = ClustBlock.of(embedded()).to(self.device)
        return Matched(self.pairs(model), judge, threshold)

    def train(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Train, or go on training; `teacher` is the name of a recipe of the same folder."""
        settings = dict(settings)
        name = settings.pop("teacher", None)
        how = _checked(Training, settings, self.recipe.name)
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise RecipeError("there is no CUDA device here; leave --device out to train on the CPU")
        two = TwoPass.of(model.history)
        model = train(
            model,
            self.matched(model, two.threshold) if two else self.pairs(model),
            how,
            out=self.folder,
            teacher=self.other(name) if name else None,
            device=self.device,
            stop_after=self.stop_after,
            quiet=self.quiet,
        )
        done = int(model.history[-1]["steps"])
        if done < how.steps:
            return model, ("train", self.folder, {"stopped": f"after {done} of {how.steps} steps"})
        path = self.folder / "trained.safetensors"
        self.save(model, path)
        return model, ("train", path, {"steps": done})

    def reparameterize(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Turn the network into its plain form, and say how far the two are apart."""
        plain = models.reparameterize(model, settings.get("form", "plain"))
        proof = receipt(model.net, plain.net, model.scale)
        proof.check()
        path = self.folder / "plain.safetensors"
        models.save(plain, path, overwrite=True)
        return plain, ("reparameterize", path, {"largest difference": f"{proof.difference:.2g}"})

    def quantize(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Turn the network into integers, calibrated on the training pictures."""
        if not isinstance(self.data, str):
            raise RecipeError(f"{self.recipe.name} calibrates on {self.recipe.data}; give their folder with --data")
        settings = dict(settings)
        method = settings.pop("method", "lossless")
        how = _checked(Settings, settings, f"{self.recipe.name}: quantize")
        with tqdm(disable=self.quiet, delay=1, leave=False) as bar:
            model, receipt = with_receipt(model, self.data, how, method=method, progress=shown(bar))
        path = self.folder / "quantized.safetensors"
        models.save(model, path, overwrite=True)
        return model, ("quantize", path, {"against float": f"{receipt.psnr:.2f} dB"})

    def export(self, model: Model, settings: dict[str, Any]) -> tuple[Model, Result]:
        """Write the model for an engine, under the name of the recipe or another one; quantizers become numbers."""
        format, name = settings.get("format", "onnx"), settings.get("name", self.recipe.name)  # noqa: A001
        path = self.folder / f"{name}{SUFFIXES.get(format, f'.{format}')}"
        named = for_engines(replace(model, about={**model.about, "name": name}))
        header = EXPORTS[format](named, path, overwrite=self.overwrite)
        return model, ("export", path, {"sha256": header.sha256})


VERBS: dict[str, Callable[[Kitchen, Model, dict[str, Any]], tuple[Model, Result]]] = {
    "train": Kitchen.train,
    "reparameterize": Kitchen.reparameterize,
    "fake_quantize": Kitchen.fake_quantize,
    "refqsr": Kitchen.refqsr,
    "quantize": Kitchen.quantize,
    "export": Kitchen.export,
}


SHARED = ("train", "fake_quantize", "refqsr")
"""Verbs that all processes carry out where `torchrun` has started several."""


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    steps = (
        replace(one, settings={**one.settings, "seed": seed}) if one.verb == "train" else one for one in recipe.step
    )
    return replace(recipe, start=replace(recipe.start, seed=seed), step=tuple(steps))


def _expected(item: Any, where: str) -> float | Expected:
    if isinstance(item, dict):
        return _checked(Expected, item, where)
    if not _fits(item, float):
        raise RecipeError(f"{where} is {item!r}; expected is a PSNR to reach, or {{ psnr = ..., ssim = ... }}")
    return float(item)


def _checked(kind: type[T], table: dict[str, Any], where: str) -> T:
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)
            raise RecipeError(f"{where} has a key {key!r} that is not known; nearest: {near[0]!r}")
    hints = get_type_hints(kind)
    for key, value in table.items():
        if not _fits(value, hints[key]):
            expected = getattr(hints[key], "__name__", hints[key])
            raise RecipeError(f"{where} has {key} = {value!r}, which should be of the type {expected}")
    try:
        return kind(**table)
    except TypeError as error:
        raise RecipeError(f"{where} lacks something: {str(error).split('__init__() ')[-1]}") from None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a TOML value suits a dataclass field: a whole number is a float too, a list is a tuple too."""
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if isinstance(value, bool) and origin is not bool:
        return False
    return isinstance(value, {float: (int, float), tuple: (tuple, list)}.get(origin, origin))
