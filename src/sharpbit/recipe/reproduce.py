"""Hold the numbers that a recipe claims against those that its weights give here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sharpbit import zoo
from sharpbit.errors import RecipeError, SharpbitError
from sharpbit.measure import bicubic
from sharpbit.measure.benchmarks import Benchmark
from sharpbit.recipe import Expected, Form, Recipe, read
from sharpbit.verbs.evaluate import Evaluation, evaluate
from sharpbit.verbs.inspect import inspect

_SAME = {"B100": "BSD100", "BSDS100": "BSD100"}


@dataclass(frozen=True)
class Number:
    """A claimed number beside the one that was found.

    Attributes:
        what: such as `Set5 psnr`, `parameters` (thousands), `macs` (1e9).
        claimed: the published value.
        found: the value measured here, None where it was not.
        within: largest difference at which the two are the same.
        at_least: more than claimed is fine too.
        note: what is known of it.
    """

    what: str
    claimed: float
    found: float | None
    within: float
    at_least: bool = False
    note: str = ""

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
class Reproduction:
    """What became of a claim.

    Attributes:
        recipe: its name.
        title: for people.
        scale: upscaling factor.
        weights: the file that was measured; None where there is none.
        numbers: what was compared; empty where there are no weights.
        protocol: how it was measured.
        missing: why nothing was measured, and what would have to be done.
    """

    recipe: str
    title: str
    scale: int
    weights: str | None
    numbers: tuple[Number, ...] = ()
    protocol: str = ""
    missing: str = ""

    @property
    def holds(self) -> bool:
        """Whether something was measured and nothing of it is off."""
        verdicts = [number.holds for number in self.numbers if number.holds is not None]
        return bool(verdicts) and all(verdicts)


def reproduce(
    path: str | Path,
    data: Sequence[Benchmark],
    *,
    weights: str | Path | None = None,
    runs: str | Path = "runs",
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Reproduction]:
    """Check each form of the weights that a recipe is about.

    Args:
        path: the recipe.
        data: sets of test images; those that the recipe does not name are left out.
        weights: folder below which published files lie, anywhere.
        runs: where `sharpbit train` left its results, looked at where published weights are not found.
        threads: that work.
        progress: called with 1 after each image.

    Raises:
        RecipeError: an unreadable recipe, one without claims, or one of whose sets none is in `data`.
    """
    recipe = read(path)
    if not recipe.expect:
        raise RecipeError(f"{path} claims nothing: it has no [expect]")
    sets = [item for item in data if _named(item) in recipe.expect]
    if not sets:
        raise RecipeError(f"{path} speaks of {', '.join(recipe.expect)}; give the folder of one of these with --data")
    scale = int(recipe.start.config["scale"])
    for form in recipe.evaluate or (Form(recipe.name),):
        file = _find(form, recipe, weights, Path(runs))
        if file is None:
            yield Reproduction(recipe.name, recipe.title, scale, None, missing=_missing(form, recipe, path, weights))
            continue
        try:
            result = evaluate(file, sets, scale=scale, threads=threads, progress=progress)
            numbers = (*_cost(form, file), *_quality(recipe, result))
        except SharpbitError as error:  # one file that cannot be measured does not stop the others
            yield Reproduction(recipe.name, recipe.title, scale, None, missing=str(error))
            continue
        protocol = " / ".join(dict.fromkeys(score.protocol for score in result.sets))
        yield Reproduction(recipe.name, recipe.title, scale, file, numbers, protocol)


def _quality(recipe: Recipe, result: Evaluation) -> Iterator[Number]:
    scores = {_SAME.get(score.name, score.name): score for score in result.sets}
    for name, expected in recipe.expect.items():
        score = scores.get(name)
        psnr, ssim = (None, None) if score is None else (score.psnr, score.ssim)
        if isinstance(expected, Expected):
            yield Number(f"{name} psnr", expected.psnr, psnr, expected.psnr_within, note=expected.note)
            yield Number(f"{name} ssim", expected.ssim, ssim, expected.ssim_within)
        else:
            yield Number(f"{name} psnr", expected, psnr, 0.0, at_least=True)


def _named(benchmark: Benchmark) -> str:
    return _SAME.get(benchmark.name, benchmark.name)


def _find(form: Form, recipe: Recipe, weights: str | Path | None, runs: Path) -> str | None:
    if form.weights in bicubic.NAMES:
        return form.weights
    published = sorted(Path(weights).rglob(form.weights)) if weights else []
    made = [runs / recipe.name / name for name in (f"{recipe.name}.onnx", "plain.safetensors", "trained.safetensors")]
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
    if form.parameters is None or Path(file).name != form.weights:  # what is trained here may have another form
        return
    facts = inspect(file)
    if facts.parameters is not None:
        yield Number("parameters", form.parameters, facts.parameters / 1e3, 0.01)
    if form.macs is not None and facts.macs is not None:
        yield Number("macs", form.macs, facts.macs / 1e9, 0.01)
