"""Which images to read and which files to write, decided before anything is done."""

from __future__ import annotations

import os
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sharpbit.errors import SharpbitError, UsageError
from sharpbit.image import WRITE_FORMATS, is_image_name
from sharpbit.pipeline.format import format_of, suffix_like

STREAM = "-"
Planned = tuple[Path, Path]  # source and target
_FIELDS = ("stem", "ext", "model", "scale")


@dataclass(frozen=True)
class Job:
    """One image to upscale.

    Attributes:
        source: The path of the image, or `-` for standard input.
        target: The path of the result, or `-` for standard output.
        error: The reason why it cannot be done, where that is known beforehand.
    """

    source: Path | str
    target: Path | str
    error: SharpbitError | None = None


def jobs(
    inputs: Sequence[str], output: str | None, *, suffix: str | None, template: str | None, model: str, scale: str
) -> list[Job]:
    """One job for each image of `inputs`, in a fixed order.

    A single file may go to a file; everything else goes to a folder, in which the tree of each input folder is kept.
    Without `output`, results lie beside their inputs. Where two images of different endings would become one file
    (`a.jpg` and `a.png`), the ending becomes part of the name (`a.jpg.png`). An image that is named twice is taken
    once, and one that is itself the result of another is not taken.

    Args:
        inputs: The paths of files and folders, or `-`.
        output: The path of a file or a folder, or `-`.
        suffix: The ending of the files to write, such as `.png`, used where `output` names no file; None takes the one
            that suits each image (see `sharpbit.pipeline.format.suffix_like`).
        template: The pattern of their names, with {stem} {ext} {model} {scale}; by default `{stem}_x{scale}` (or
            `{stem}_fit`) beside the input and `{stem}` elsewhere.
        model: The name of the model, for the template.
        scale: The scale in words, for the template, or `fit`.

    Raises:
        UsageError: no input, an output that cannot hold it, a template that cannot work.
    """
    if not inputs:
        raise UsageError("give at least one image or folder, or - for standard input")
    if "" in inputs or output == "":
        raise UsageError("the name of an input or output is empty; the current folder is called .")
    walked = dict[str, tuple[Path | str, Path]]()
    for item in inputs:
        for name, base in _walk(item):
            walked.setdefault(_same(name), (name if name == STREAM else Path(name), base))
    found = list(walked.values())
    if STREAM in (output, *inputs):
        return [_stream_job(found, output)]
    folder_in = any(Path(item).is_dir() for item in inputs)
    if output is not None and not folder_in and len(found) == 1:
        _check_ending(Path(output))
        if _names_file(output):
            return _checked([(Path(found[0][0]), Path(output))])
    if output is not None and (Path(output).is_file() or _names_file(output)):
        raise UsageError(f"{len(found)} images cannot all go to {output}; give a folder with -o")
    _check_template(template)
    named = [
        (Path(source), _target(Path(source), base, output, suffix, template, model, scale)) for source, base in found
    ]
    return _checked(_without_results(_distinct(named)))


def _walk(item: str) -> Iterator[tuple[str, Path]]:
    """Each image of an input with the folder that its place in the output tree is relative to."""
    path = Path(item)
    if item == STREAM:
        yield STREAM, Path()
    elif not path.is_dir():
        yield item, path.parent
    else:
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                full = os.path.join(folder, name)  # noqa: PTH118 - keeps the user's spelling
                if is_image_name(Path(name)) and not _is_device(full):
                    yield full, path


def _is_device(name: str) -> bool:
    """Whether it is there and neither a file nor a folder: a pipe that nobody writes to would be waited for."""
    return os.path.exists(name) and not os.path.isfile(name)  # noqa: PTH110, PTH113


def _stream_job(found: Sequence[tuple[Path | str, Path]], output: str | None) -> Job:
    if len(found) != 1:
        raise UsageError(f"standard input and output take one image, not {len(found)}")
    return Job(found[0][0], STREAM if output in (None, STREAM) else Path(str(output)))


def _check_ending(output: Path) -> None:
    """Refuse `-o image.xyz`, which is no format to write and hardly meant to be a folder."""
    if re.fullmatch(r"\.[a-z][a-z0-9]{2,4}", output.suffix.lower()) and not output.is_dir():
        format_of(output)


def _names_file(output: str) -> bool:
    path = Path(output)
    return not path.is_dir() and not output.endswith(("/", os.sep)) and path.suffix.lower() in WRITE_FORMATS


def _check_template(template: str | None) -> None:
    if template is None:
        return
    try:
        parts = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise UsageError(f"the name template {template!r} cannot be read: {error}") from None
    names = {name for name, *_ in parts}
    plain = not any(form or conversion for _, form, conversion in parts)
    if not (plain and {"stem"} <= names <= {*_FIELDS}) or "/" in template or os.sep in template:
        fields = " ".join(f"{{{name}}}" for name in _FIELDS)
        raise UsageError(f"the name template {template!r} must hold {{stem}}, may hold {fields}, and names no folder")


def _target(
    source: Path, base: Path, output: str | None, suffix: str | None, template: str | None, model: str, scale: str
) -> Path:
    folder = source.parent if output is None else Path(output) / source.parent.relative_to(base)
    if template is None:
        mark = "_fit" if scale == "fit" else f"_x{scale}"
        template = "{stem}" + (mark if folder.resolve() == source.parent.resolve() else "")
    ext = source.suffix[1:].lower()
    name = template.format(stem=source.stem, ext=ext, model=model, scale=scale)
    return folder / (name + (suffix or suffix_like(source)))


def _distinct(named: Sequence[Planned]) -> list[Planned]:
    """With the ending of the input in the name of each result that others would have too."""
    counts = Counter(_key(target) for _, target in named)
    return [
        (source, target.with_name(f"{target.stem}{source.suffix}{target.suffix}"))
        if counts[_key(target)] > 1
        else (source, target)
        for source, target in named
    ]


def _without_results(named: Sequence[Planned]) -> list[Planned]:
    """All but what is itself a result of this command, such as `a_x2.png` beside `a.png`: else the same command,
    given again, would upscale what it wrote before.
    """
    made = {_key(target): source for source, target in named}
    return [(source, target) for source, target in named if made.get(_key(source), source) == source]


def _checked(named: Sequence[Planned]) -> list[Job]:
    result, taken = [], dict[str, Path]()
    for source, target in named:
        other = taken.setdefault(_key(target), source)
        error = None
        if other is not source:
            error = UsageError(f"{source} would go to {target}, where {other} goes already; rename one of them")
        elif _key(target) == _key(source):
            error = UsageError(f"{source} would be replaced by its own result; give another folder with -o")
        result.append(Job(source, target, error))
    return result


def _same(path: Path | str) -> str:
    """The same text for the same file, whatever the spelling of its name; no symbolic link is followed."""
    return STREAM if path == STREAM else os.path.abspath(path)  # noqa: PTH100


def _key(path: Path) -> str:
    """As `_same`, also on file systems to which capital letters are the same as small ones."""
    return _same(path).casefold()
