"""Hold the numbers that a recipe claims against those that its weights give here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sharpbit import zoo
from sharpbit.errors import SharpbitError
from sharpbit.measure import bicubic
from sharpbit.measure.benchmarks import Benchmark
from sharpbit.recipe import Expected, Form, Recipe, read
from sharpbit.system.progress import Progress
from sharpbit.verbs.evaluate import Evaluation, evaluate
from sharpbit.verbs.inspect import inspect

_SAME = {"B100": "BSD100", "BSDS100": "BSD100"}
MADE = ("frozen", "plain", "trained")  # what a run leaves, the last stage first
NO_IMAGES = "no images given"


@dataclass(frozen=True)
class Number:
    """A claimed number beside the one that was found.

    Attributes:
        what: name of the number, such as `Set5 psnr` (dB), `parameters` (thousands) or `macs` (1e9).
        claimed: the published value.
        found: the value measured here; None where it was not measured.
        within: largest difference at which the two are the same.
        at_least: whether more than claimed holds too.
        note: reason of a known difference.
        why: reason why it was not measured.
    """

    what: str
    claimed: float
    found: float | None
    within: float
    at_least: bool = False
    note: str = ""
    why: str = ""

    @property
    def difference(self) -> float | None:
        """Found less claimed."""
        return None if self.found is None else self.found - self.claimed

    @property
    def holds(self) -> bool | None:
        """Whether the claim holds here; None where it was not measured."""
        if self.difference is None:
            return None
        slack = self.within + 1e-9
        return -slack <= self.difference and (self.at_least or self.difference <= slack)


@dataclass(frozen=True)
class Counts:
    """How many claims held, failed, and were not checked."""

    held: int = 0
    failed: int = 0
    unchecked: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.held + other.held, self.failed + other.failed, self.unchecked + other.unchecked)

    def __str__(self) -> str:
        return f"{self.held} held, {self.failed} failed, {self.unchecked} unchecked"


@dataclass(frozen=True)
class Reproduction:
    """What became of the claims of one recipe about one file of weights.

    Attributes:
        recipe: name of the recipe.
        title: title of the recipe.
        scale: upscaling factor; 0 where the recipe could not be read.
        weights: path of the file that was measured; None where nothing was.
        numbers: all claims of the recipe, each with what was found.
        protocol: protocol of the measurement.
        missing: reason why nothing was measured, and what would have to be done.
        broken: whether that reason is an error, in the recipe or in the weights, and not that something is absent.
    """

    recipe: str
    title: str
    scale: int
    weights: str | None
    numbers: tuple[Number, ...] = ()
    protocol: str = ""
    missing: str = ""
    broken: bool = False

    @property
    def holds(self) -> bool:
        """Whether something was measured and nothing of it is off."""
        verdicts = [number.holds for number in self.numbers if number.holds is not None]
        return bool(verdicts) and all(verdicts)

    @property
    def counts(self) -> Counts:
        """How many claims held, failed and were not checked; a recipe without claims counts as one unchecked."""
        if self.broken:
            return Counts(failed=max(1, len(self.numbers)))
        if not self.numbers:
            return Counts(unchecked=1)
        verdicts = [number.holds for number in self.numbers]
        return Counts(verdicts.count(True), verdicts.count(False), verdicts.count(None))


def reproduce(
    path: str | Path,
    data: Sequence[Benchmark],
    *,
    weights: str | Path | None = None,
    runs: str | Path = "runs",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Reproduction]:
    """Check each form of the weights that a recipe is about.

    What cannot be checked (no `[expect]`, no weights, no images of a benchmark) is yielded with the reason.

    Args:
        path: TOML file of the recipe.
        data: sets of test images; those that the recipe does not name are left out.
        weights: folder below which published files lie, at any depth; default: none.
        runs: folder in which `sharpbit train` left its results, looked at where published weights are not found.
        threads: threads of the engine; default: all cores.
        progress: function that is called with 1 after each image.

    Raises:
        RecipeError: a recipe that is unreadable or wrong.
    """
    recipe = read(path)
    scale = int(recipe.start.config["scale"])
    nothing = Reproduction(recipe.name, recipe.title, scale, None)
    if not recipe.expect:
        yield replace(nothing, missing=f"{path} claims nothing: it has no [expect]")
        return
    sets = [item for item in data if _named(item) in recipe.expect]
    for form in recipe.evaluate or (Form(recipe.name),):
        if not sets:
            asked = f"{path} speaks of {', '.join(recipe.expect)}; give the folder of one of these with --data"
            yield replace(nothing, numbers=tuple(_claims(form, recipe, NO_IMAGES)), missing=asked)
            continue
        file = _find(form, recipe, weights, Path(runs))
        if file is None:
            why = _missing(form, recipe, path, weights)
            yield replace(nothing, numbers=tuple(_claims(form, recipe, "no weights")), missing=why)
            continue
        try:
            result = evaluate(file, sets, scale=scale, threads=threads, progress=progress)
            numbers = (*_cost(form, file), *_quality(recipe, result))
        except SharpbitError as error:  # one file that cannot be measured does not stop the others
            claims = tuple(_claims(form, recipe, "an error"))
            yield replace(nothing, numbers=claims, missing=str(error), broken=True)
            continue
        protocol = " / ".join(dict.fromkeys(score.protocol for score in result.sets))
        yield replace(nothing, weights=file, numbers=numbers, protocol=protocol)


def _claims(form: Form, recipe: Recipe, why: str) -> Iterator[Number]:
    """All numbers that a recipe claims, none of them measured."""
    for what, claimed in (("parameters", form.parameters), ("macs", form.macs)):
        if claimed is not None:
            yield Number(what, claimed, None, 0.01, why=why)
    yield from (replace(number, why=why) for number in _quality(recipe, None))


def _quality(recipe: Recipe, result: Evaluation | None) -> Iterator[Number]:
    scores = {_SAME.get(score.name, score.name): score for score in (result.sets if result else ())}
    for name, expected in recipe.expect.items():
        score = scores.get(name)
        psnr, ssim, why = (None, None, NO_IMAGES) if score is None else (score.psnr, score.ssim, "")
        if isinstance(expected, Expected):
            yield Number(f"{name} psnr", expected.psnr, psnr, expected.psnr_within, note=expected.note, why=why)
            yield Number(f"{name} ssim", expected.ssim, ssim, expected.ssim_within, why=why)
        else:
            yield Number(f"{name} psnr", expected, psnr, 0.0, at_least=True, why=why)


def _named(benchmark: Benchmark) -> str:
    return _SAME.get(benchmark.name, benchmark.name)


def _find(form: Form, recipe: Recipe, weights: str | Path | None, runs: Path) -> str | None:
    if form.weights in bicubic.NAMES:
        return form.weights
    published = sorted(Path(weights).rglob(form.weights)) if weights else []
    made = [runs / recipe.name / name for name in (f"{recipe.name}.onnx", *(f"{stage}.safetensors" for stage in MADE))]
    if form in recipe.evaluate[1:]:  # what a run makes is the first form
        made = []
    found = next((str(path) for path in [*published, *made] if path.is_file()), None)
    return found or (recipe.name if recipe.name in zoo.models() else None)


def _missing(form: Form, recipe: Recipe, path: str | Path, weights: str | Path | None) -> str:
    where = f"below {weights}" if weights else "known (say where published files lie with --weights)"
    sentence = f"the weights {form.weights} are not {where}"
    if recipe.published:
        sentence += f" (published: {recipe.published})"
    train = f"they would have to be trained: sharpbit train {path} --data FOLDER, on {recipe.data}"
    return f"{sentence}; {train}" + (f"; the published training took {recipe.took}" if recipe.took else "")


def _cost(form: Form, file: str) -> Iterator[Number]:
    if form.parameters is None and form.macs is None:
        return
    other = Path(file).name != form.weights  # what is trained here may have another form
    facts = None if other else inspect(file)
    why = "the weights are not the published file" if other else "not known for this file"
    found = (None, None) if facts is None else (facts.parameters, facts.macs)
    for what, claimed, number, unit in (
        ("parameters", form.parameters, found[0], 1e3),
        ("macs", form.macs, found[1], 1e9),
    ):
        if claimed is not None:
            measured = None if number is None else number / unit
            yield Number(what, claimed, measured, 0.01, why="" if measured is not None else why)
