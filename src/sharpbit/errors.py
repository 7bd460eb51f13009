"""The exceptions of sharpbit.

::

    SharpbitError             everything below; a command prints its sentence and exits with `exit_code`
    ├── UsageError            an argument, flag or combination of them that cannot work        (2)
    ├── MissingExtra          an optional package is not installed                             (2)
    ├── BrokenPackage         a package is installed and cannot be loaded                      (2)
    ├── ImageError            an image cannot be read or written                              (1)
    │   └── ImageTooLarge     an image has more pixels than the limit                         (1)
    ├── VideoError            a video cannot be read or written                               (1)
    ├── OutputExists          the result would replace a file that is there                    (1)
    ├── ResultError           an image came out wrong (not a number, black, another colour)   (1)
    ├── ModelError            a model file, header or set of weights is not what it should be  (1)
    ├── RecipeError           a recipe has a wrong key, value or step                          (2)
    ├── ReparameterizeError   a network has no exact plain form                                (1)
    └── QuantizeError         a network cannot be quantized, or not with these images        (1)

Every message is one sentence (or two) for the person at the keyboard: it names the thing, its value, what was
expected and the way out. A programming mistake inside sharpbit raises Python's own exceptions, never these.
"""

from __future__ import annotations


class ResultWarning(UserWarning):
    """A result is there, and something about it is worth knowing: what was lost, or done otherwise than asked for."""


class SharpbitError(Exception):
    """Base of all errors that a user can cause or meet."""

    exit_code = 1


class UsageError(SharpbitError, ValueError):
    """An argument, flag or combination of them that cannot work."""

    exit_code = 2


class MissingExtra(SharpbitError, ImportError):
    """An optional package is needed and not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed; run: pip install 'sharpbit[{extra}]'")


class BrokenPackage(SharpbitError, ImportError):
    """A package is installed and cannot be loaded, for a library that it needs is missing or of another version."""

    exit_code = 2

    def __init__(self, what: str, package: str, reason: BaseException) -> None:
        said = " ".join(str(reason).split()) or "no reason given"
        super().__init__(
            f"{what} needs the package {package}, which is installed but cannot be loaded ({type(reason).__name__}:"
            f" {said}); install it again: pip install --force-reinstall {package}"
        )


class ImageError(SharpbitError):
    """An image cannot be read or written."""


class ImageTooLarge(ImageError):
    """An image has more pixels than the limit."""


class VideoError(SharpbitError):
    """A video cannot be read or written."""


class OutputExists(SharpbitError):
    """The result would replace a file that is there."""


class ResultError(SharpbitError):
    """An image came out wrong."""


class ModelError(SharpbitError):
    """A model file, its header or its weights are not what they should be."""


class RecipeError(SharpbitError):
    """A recipe has a wrong key, value or step."""

    exit_code = 2


class ReparameterizeError(SharpbitError):
    """A network has no exact plain form."""


class QuantizeError(SharpbitError):
    """A network cannot be quantized this way, or not with these images."""
