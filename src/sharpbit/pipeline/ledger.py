"""What became of everything that a run was given: its summary, its JSON and its exit code come from here alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

STATUSES = ("done", "planned", "skipped", "failed", "ignored")


@dataclass
class Outcome:
    """What became of one entry: an image, or whatever else lay in a folder.

    Attributes:
        input: The path of the image, or `-`.
        output: The path of the result, or `-`; empty where none was to be made.
        status: `done`, `planned` (a dry run), `skipped` (an image that is upscaled already), `ignored` (no image, or a
            folder that is not entered) or `failed`.
        size: The height and the width of the image in pixels.
        result_size: The height and the width of the result in pixels.
        model: The network that made the result, or several in a row with a plus between them, or `bicubic`.
        models: The same networks one by one.
        why: What chose the network, such as `JPEG quality 80`, where it was not named.
        plan: The networks and the resizing in words.
        seconds: The time from when its turn came until its result was written, in seconds.
        notes: What should be known of the result, such as what its format could not hold.
        reason: The reason why it was skipped or ignored.
        error: The reason why it failed.
    """

    input: str
    output: str
    status: str
    size: tuple[int, int] | None = None
    result_size: tuple[int, int] | None = None
    model: str | None = None
    models: tuple[str, ...] = ()
    why: str | None = None
    plan: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    reason: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The outcome for machines."""
        return {key: value for key, value in vars(self).items() if value not in (None, (), "")}


@dataclass
class StageTimes:
    """Where the time went, in seconds.

    The network runs in the main thread, which waits where reading ahead or writing behind is slower; the threads that
    decode and encode work at the same time.
    """

    decode: float = 0.0
    network: float = 0.0
    encode: float = 0.0
    waiting: float = 0.0


class Ledger:
    """The outcomes of a run, in the order in which they were known.

    Args:
        outcomes: Outcomes that are known already.
    """

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self.outcomes = list(outcomes)

    def counts(self) -> dict[str, int]:
        """How many outcomes have each status."""
        return {status: len(self.of(status)) for status in STATUSES}

    def of(self, *statuses: str) -> list[Outcome]:
        """The outcomes that have one of these statuses."""
        return [outcome for outcome in self.outcomes if outcome.status in statuses]

    @property
    def exit_code(self) -> int:
        """0, or 1 if anything failed."""
        return 1 if self.of("failed") else 0
