"""One image on its way: what was asked for, how far it is, and what came of it."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sharpbit.serve.stored import Stored

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
_UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("size", "result_size", "plan", "why")),
    **{name: [] for name in ("models", "notes", "engines")},
}
OVER = (DONE, FAILED, CANCELLED)


class Stopped(Exception):
    """The work on an image ends early.

    Args:
        sentence: Why; None where it was cancelled.
    """

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Attributes:
        model: The name of a model, or `auto`.
        scale: The factor of both sides; None takes the model's, or 2.
        format: The format of the result, such as `PNG`; None keeps JPEG and WebP and makes PNG of the rest.
        quality: The quality of JPEG, WebP and AVIF, 1 to 100.
        strip_metadata: Whether the result has no EXIF, XMP or resolution.
    """

    model: str = "auto"
    scale: float | None = None
    format: str | None = None
    quality: int = 95
    strip_metadata: bool = False


@dataclass
class Job:
    """An image, what was asked for it, and what came of it.

    Attributes:
        name: The name of the image, for people; never a path.
        source: The file that was uploaded.
        asked: What was asked for.
        client: The secret of the client whose list it stands in; empty where it stands in none.
        address: The address of the client, for its limit.
        id: The secret that gives access to the job.
        state: `queued`, `running`, `done`, `failed` or `cancelled`.
        progress: The share of the work that is done.
        facts: What was found out: sizes, models, reason, engines, notes.
        seconds: The seconds of each stage.
        error: The sentence of a failure.
        result: The file that was made.
        result_name: The name of the result, for people.
        result_format: The format of the result, such as `PNG`.
        gone: Whether its files were let go.
    """

    name: str
    source: Stored
    asked: Asked
    client: str = ""
    address: str = ""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = QUEUED
    progress: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    result: Stored | None = None
    result_name: str = ""
    result_format: str = ""
    created: float = field(default_factory=time.time)
    started: float = 0.0
    ended: float = 0.0
    over: Future[None] = field(default_factory=Future)
    stopping: threading.Event = field(default_factory=threading.Event)
    gone: bool = False

    @property
    def stored(self) -> int:
        """The bytes that it keeps."""
        return self.source.size + (self.result.size if self.result else 0)

    def check(self, seconds: float) -> None:
        """End the work where it was cancelled, or takes longer than so many seconds.

        Raises:
            Stopped: It ends here.
        """
        if self.stopping.is_set():
            raise Stopped
        if time.time() - self.started > seconds:
            raise Stopped(
                f"{self.name} took longer than the limit of {seconds:g} seconds; choose a smaller factor or a faster"
                " model, or raise the limit with --max-seconds"
            )

    def ends(self, state: str, error: str | None = None) -> None:
        """Note how it ended, and wake up who waits for it."""
        self.state, self.error, self.ended = state, error, time.time()
        if not self.over.done():
            self.over.set_result(None)

    def let_go(self) -> None:
        """Delete its files, as far as nobody else uses them; the queue calls it, one thread at a time."""
        if not self.gone:
            self.gone = True
            self.source.drop()
            if self.result:
                self.result.drop()

    def described(self, place: int | None = None) -> dict[str, Any]:
        """What the API says of it; `place` is that in the queue, from 1."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "place": place,
            "progress": round(self.progress, 4),
            "model": self.asked.model,
            "scale": self.asked.scale,
            "created": round(self.created, 3),
            **_UNKNOWN,
            **self.facts,
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "error": self.error,
            "result_name": self.result_name if self.state == DONE else None,
            "bytes": self.result.size if self.state == DONE and self.result else None,
        }
