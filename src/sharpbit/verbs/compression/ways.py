"""The ways from a float network to a file that can be deployed, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from sharpbit.errors import ReparameterizeError
from sharpbit.export import EXPORTS
from sharpbit.model import Model, reparameterize
from sharpbit.reparam.receipt import receipt as equivalence
from sharpbit.system.progress import Phases
from sharpbit.verbs.quantize import GRAPH, SLOPED, QuantizationSettings, on_crops, suited

FLOAT, PLAIN, INTEGERS, AS_GRAPH, TUNED, REFINED = (
    *("float", "reparameterized", "integers", "integer graph"),
    *("tuned", "tuned and refined"),
)
KEPT = "tuned, {} in float"
METHOD = "tuned"  # for general engines
STEPS = 200  # of refining
KEEPS = (1, 3, 8)  # layers that stay in float, one attempt after the other
NATIVE_BITS = 8


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
        name: for tables and files.
        suffix: ending of the file that it makes.
        make: makes the model, and says what was done in a table.
        rounds: whether it rounds weights or activations.
        last_resort: whether it is tried only where quality is still missed after all before it.
    """

    name: str
    suffix: str
    make: Callable[[], tuple[Model, dict[str, Any]]]
    rounds: bool = True
    last_resort: bool = False

    def write(self, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Make the file, and say what was done.

        Raises:
            SharpbitError: this way is none for this network.
        """
        model, done = self.make()
        path = folder / f"{self.name.replace(' ', '-').replace(',', '')}{self.suffix}"
        form = "native" if self.suffix == ".sharpbit" else "onnx"
        EXPORTS[form](model, path, overwrite=True)
        return path, done


@dataclass
class Ways:
    """The ways for one network.

    Attributes:
        model: the float network.
        crops: LR images to calibrate on, `(N, 3, 64, 64)` uint8; asked for once.
        bits: bits of weights and activations.
        budget: limit of mixed precision, see `QuantizationSettings`.
        suffix: the only ending that the file may have; empty where any will do.
        progress: called with the name of a phase, how much of it is done, and how much there is.
        worst: names of the layers that cost most, once they are known.
    """

    model: Model
    crops: Callable[[], tuple[Tensor, int]]
    bits: int | tuple[int, ...] = NATIVE_BITS
    budget: float | str | None = None
    suffix: str = ""
    progress: Phases | None = None
    worst: list[str] = field(default_factory=list)

    @cached_property
    def plain(self) -> Model | None:
        """The network as a plain chain; None where it is one already or has no such form."""
        if self.model.arch.name == "plain":
            return None
        try:
            return reparameterize(self.model)
        except ReparameterizeError:
            return None

    @property
    def base(self) -> Model:
        """What is quantized: the plain chain where there is one."""
        return self.plain or self.model

    @cached_property
    def all(self) -> tuple[Way, ...]:
        """The ways that there are for this network and this kind of file, in the order in which they are tried."""
        return tuple(self._all())

    def _all(self) -> Iterator[Way]:
        yield Way(FLOAT, ".onnx", lambda: (self.model, {}), rounds=False)
        if self.plain is not None:
            yield Way(PLAIN, ".onnx", self._plain, rounds=False)
        if self.bits == NATIVE_BITS:
            method = suited(self.base, portable=self.suffix == ".onnx")
            if method not in (SLOPED, GRAPH) and self.suffix == ".onnx":
                yield Way(INTEGERS, ".onnx", self._quantized(method))
            if self.suffix != ".onnx":
                yield Way(INTEGERS, ".sharpbit", self._quantized(method))
                if method != GRAPH:
                    yield Way(AS_GRAPH, ".sharpbit", self._quantized(GRAPH))
        if self.suffix != ".sharpbit":
            yield Way(TUNED, ".onnx", self._tuned())
            yield Way(REFINED, ".onnx", self._tuned(refine=STEPS), last_resort=True)
            for count in KEEPS:
                yield Way(KEPT.format(_layers(count)), ".onnx", self._tuned(keep=count), last_resort=True)

    def _plain(self) -> tuple[Model, dict[str, Any]]:
        assert self.plain is not None
        proof = equivalence(self.model.net, self.plain.net, self.model.scale)
        proof.check()
        return self.plain, {"layers": list(proof.layers), "parameters": list(proof.parameters), "differs": proof.double}

    def _quantized(self, method: str) -> Callable[[], tuple[Model, dict[str, Any]]]:
        def make() -> tuple[Model, dict[str, Any]]:
            return self._made(QuantizationSettings(), method)

        return make

    def _tuned(self, refine: int = 0, keep: int = 0) -> Callable[[], tuple[Model, dict[str, Any]]]:
        def make() -> tuple[Model, dict[str, Any]]:
            settings = QuantizationSettings(self.bits, refine, tuple(self.worst[:keep]), self.budget)
            return self._made(settings, METHOD)

        return make

    def _made(self, settings: QuantizationSettings, method: str) -> tuple[Model, dict[str, Any]]:
        crops, used = self.crops()
        analysis = method == METHOD and not settings.keep
        model, found = on_crops(
            self.base, crops, used, settings, method=method, progress=self.progress, analysis=analysis
        )
        if analysis and not self.worst:
            self.worst = [name for name, _ in found.sensitivity]
        done: dict[str, Any] = {"method": method, "bits": found.bits, "crops": found.crops, "of_images": found.images}
        if settings.refine:
            done["refined"] = settings.refine
        if settings.keep:
            done["in_float"] = list(settings.keep)
        if found.sensitivity:
            done["sensitivity"] = [[name, share] for name, share in found.sensitivity[:20]]
        return model, done


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def sensitivities(done: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the layers that cost most, as an earlier run found them."""
    return next(([name for name, _ in table["sensitivity"]] for table in done if "sensitivity" in table), [])
