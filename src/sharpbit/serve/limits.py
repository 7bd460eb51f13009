"""How much the server takes on, for everybody and for one client."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException

from sharpbit.errors import ImageTooLarge

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What the server refuses, with one sentence, rather than become slow or run out of memory.

    Attributes:
        bytes: The most bytes of an image file that is uploaded.
        pixels: The most pixels of an image.
        result_pixels: The most pixels of a result.
        seconds: The longest time that one image may take.
        queue: The most images that wait.
        per_client: The most images of one address that wait or run.
        uploads: The most uploads at the same time.
        stored: The most bytes of images and results that are kept.
        kept: The most images that are kept with their results.
        keep: The seconds after which an image and its result are deleted, from the end of the work on.
        patience: The seconds that a client may be silent while it sends or receives.
    """

    bytes: int = 100 * MIB
    pixels: int = 64 * MIB
    result_pixels: int = 256 * MIB
    seconds: float = 600.0
    queue: int = 100
    per_client: int = 32
    uploads: int = 64
    stored: int = 4096 * MIB
    kept: int = 500
    keep: float = 3600.0
    patience: float = 20.0


class Refused(HTTPException):
    """A request that is answered with one sentence.

    Args:
        status: The status code of HTTP.
        sentence: What was wrong with what, and the way out.
        again: The seconds after which the same request may succeed; None where it never will.
    """

    def __init__(self, status: int, sentence: str, again: int | None = None) -> None:
        super().__init__(status, sentence, None if again is None else {"Retry-After": str(again)})


def check_result(name: str, height: int, width: int, limits: Limits) -> None:
    """Refuse work whose result would be too large.

    Raises:
        ImageTooLarge: It would have more pixels than the limit.
    """
    if height * width > limits.result_pixels:
        raise ImageTooLarge(
            f"the result of {name} would have {width} x {height} = {height * width:,} pixels, more than the limit of"
            f" {limits.result_pixels:,}; choose a smaller factor"
        )
