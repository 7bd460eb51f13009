"""What a model file says of itself, as one line of JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sharpbit.errors import ModelError

if TYPE_CHECKING:
    from sharpbit.modelfile.history import Verb

FORMAT = 2  # what is written; format 1, without a hash of the header, is read as well
SEAL = "header_sha256"
REFQSR, PAIR = "refqsr", "pair"  # verbs of files with several graphs, of which an input `task` chooses


@dataclass(frozen=True)
class Metric:
    """One measured number and how it was obtained.

    Attributes:
        name: name of the measure, such as `psnr`.
        value: the number, for PSNR in dB.
        data: the images, such as `Set5`.
        protocol: channel, border, how the LR images were made, what was measured.
    """

    name: str
    value: float
    data: str
    protocol: str


@dataclass(frozen=True)
class Header:
    """What a model file says of itself.

    Attributes:
        name: scale first, such as `x2-clean-balanced`.
        architecture: a name of the architecture catalog.
        config: the architecture's sizes.
        scale: upscaling factor.
        receptive_field: side in input pixels of what one output pixel sees; None where it sees everything.
        parameters: number of stored values.
        precision: number format of weights and arithmetic, such as `float32`.
        colour: channel order of the image in and out.
        range: the values that stand for black and white.
        history: what was done to the weights, oldest first: a JSON object a verb (`sharpbit.modelfile.history`).
        data: what it was trained on, with its licence.
        licence: SPDX identifier of the licence of the weights.
        metrics: measured numbers.
        format: version of this header, 1 of files without a hash of the header.
        sha256: digest of the payload, see `digest`; empty until the file is written.
    """

    name: str
    architecture: str
    config: dict[str, Any]
    scale: int
    receptive_field: int | None
    parameters: int
    precision: str = "float32"
    colour: str = "RGB"
    range: tuple[float, float] = (0.0, 1.0)
    history: tuple[dict[str, Any], ...] = ()
    data: str = ""
    licence: str = ""
    metrics: tuple[Metric, ...] = field(default=())
    format: int = FORMAT
    sha256: str = ""

    @property
    def halo(self) -> int | None:
        """Input pixels around a tile that its output depends on."""
        return None if self.receptive_field is None else self.receptive_field // 2

    def to_json(self) -> str:
        """One line of JSON with sorted keys, from format 2 on with a sha256 of itself."""
        values = asdict(self)
        if self.format > 1:
            values[SEAL] = _sha256(_line(values | {SEAL: ""}))
        return _line(values)

    @classmethod
    def from_json(cls, text: str, source: str) -> Header:
        """Read and check a header, its own sha256 included; `source` names the file in errors.

        Raises:
            ModelError: It is damaged, or of an unknown format version.
        """
        try:
            values = json.loads(text)
            version = values["format"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ModelError(f"{source}: its sharpbit header is not the JSON object that it should be") from None
        if version not in (1, FORMAT):
            raise ModelError(
                f"{source}: model file format {version!r} is not known to this sharpbit, which reads formats 1 and"
                f" {FORMAT}; update sharpbit"
            )
        if version > 1:
            seal = values.pop(SEAL, None)
            if not _matches(text, seal):
                raise ModelError(
                    f"{source}: its header does not match the sha256 of the header; the file is damaged, get it again"
                )
        try:
            values["metrics"] = tuple(Metric(**metric) for metric in values.get("metrics", ()))
            values["history"] = tuple(values.get("history", ()))
            values["range"] = tuple(values.get("range", (0.0, 1.0)))
            header = cls(**values)
            _check(header)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{source}: its sharpbit header is damaged ({error})") from None
        return header


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _matches(text: str, seal: object) -> bool:
    """Whether `seal` is the sha256 of a header's text without it."""
    return isinstance(seal, str) and seal == _sha256(text.replace(seal, "", 1))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def several(history: Iterable[Mapping[str, Any] | Verb]) -> Mapping[str, Any] | None:
    """What a file in two passes, or of a pair, says of its several graphs; None of a file with one."""
    tables = (entry if isinstance(entry, Mapping) else entry.table() for entry in history)
    return next((table for table in tables if table.get("verb") in (REFQSR, PAIR)), None)


def _check(header: Header) -> None:
    texts = [header.name, header.architecture, header.precision, header.colour, header.data, header.licence]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is not a text")
    if not isinstance(header.config, dict):
        raise ValueError("config is not an object")
    if type(header.scale) is not int or not 1 <= header.scale <= 16:
        raise ValueError(f"scale {header.scale!r} is not a whole number from 1 to 16")
    seen = header.receptive_field
    if seen is not None and (type(seen) is not int or not 1 <= seen <= 4095 or seen % 2 == 0):
        raise ValueError(f"receptive_field {seen!r} is not an odd number from 1 to 4095")
    low_high = header.range
    if len(low_high) != 2 or not all(_is_number(value) for value in low_high) or low_high[0] >= low_high[1]:
        raise ValueError(f"range {header.range!r} is not two numbers, the lower first")
    if type(header.parameters) is not int or not isinstance(header.sha256, str):
        raise ValueError("parameters is not a number or sha256 not a text")
    for metric in header.metrics:
        if not _is_number(metric.value) or not all(
            isinstance(x, str) for x in (metric.name, metric.data, metric.protocol)
        ):
            raise ValueError(f"metric {metric.name!r} is not a number with its texts")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
