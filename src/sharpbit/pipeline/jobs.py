"""Which images to read and which files to write, decided before anything is done."""

from __future__ import annotations

import os
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sharpbit.errors import SharpbitError, UsageError
from sharpbit.image import WRITE_FORMATS
from sharpbit.pipeline.format import format_of, suffix_like
from sharpbit.pipeline.walk import STREAM, Entry, walk

Planned = tuple[Path, Path]  # source and target
_FIELDS = ("stem", "ext", "model", "scale")


@dataclass(frozen=True)
class Job:
    """One image to upscale, or another entry of a folder.

    Attributes:
        source: The path of the image, or `-` for standard input.
        target: The path of the result, or `-` for standard output; empty where none is to be made.
        error: The reason why it cannot be done, where that is known beforehand.
        ignored: The reason why it is no image to upscale, where it is none.
        found: Whether it was found in a folder, and not named itself.
    """

    source: Path | str
    target: Path | str
    error: SharpbitError | None = None
    ignored: str | None = None
    found: bool = False

    @property
    def is_image(self) -> bool:
        """Whether there is something to read."""
        return self.error is None and self.ignored is None


def jobs(
    inputs: Sequence[str],
    output: str | None,
    *,
    suffix: str | None,
    template: str | None,
    model: str,
    scale: str,
    follow_links: bool = False,
) -> list[Job]:
    """One job for each entry of `inputs`, in a fixed order: images, and what is no image or cannot be entered.

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
        follow_links: Whether folders that are symbolic links are entered, each once; by default not.

    Raises:
        UsageError: no input, an output that cannot hold it, a template that cannot work.
    """
    if not inputs:
        raise UsageError("give at least one image or folder, or - for standard input")
    if "" in inputs or output == "":
        raise UsageError("the name of an input or output is empty; the current folder is called .")
    seen: dict[str, Entry] = {}
    for item in inputs:
        for entry in walk(item, follow_links=follow_links):
            before = seen.setdefault(_same(entry.name), entry)
            if before.found and not entry.found:  # what is named itself is meant, whatever lies in its folder
                seen[_same(entry.name)] = replace(before, found=False, ignored=None)
    others = [Job(Path(entry.name), "", entry.error, entry.ignored) for entry in seen.values() if not entry.is_image]
    images = [entry for entry in seen.values() if entry.is_image]
    found = [(entry.name if entry.name == STREAM else Path(entry.name), entry.base) for entry in images]
    if STREAM in (output, *inputs):
        return [_stream_job(found, output)]
    folder_in = any(os.path.isdir(item) for item in inputs)  # noqa: PTH112 - no error where it may not be asked
    if output is not None and not folder_in and len(found) == 1:
        _check_ending(Path(output))
        if _names_file(output):
            return _checked([(Path(found[0][0]), Path(output))])
    if output is not None and (os.path.isfile(output) or _names_file(output)):  # noqa: PTH113
        raise UsageError(f"{len(found)} images cannot all go to {output}; give a folder with -o")
    _check_template(template)
    named = [
        (Path(source), _target(Path(source), base, output, suffix, template, model, scale)) for source, base in found
    ]
    todo, results = _without_results(_distinct(named))
    others += [Job(source, "", ignored=f"it is the result of {original}") for source, original in results]
    return _in_order([*_checked(todo), *others], seen)


def _in_order(result: Sequence[Job], seen: Mapping[str, Entry]) -> list[Job]:
    """The jobs in the order in which their entries were seen, each marked if its entry was found in a folder."""
    place = {name: number for number, name in enumerate(seen)}
    marked = [replace(job, found=seen[_same(job.source)].found) for job in result]
    return sorted(marked, key=lambda job: place[_same(job.source)])


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


def _without_results(named: Sequence[Planned]) -> tuple[list[Planned], list[Planned]]:
    """All but what is itself a result of this command, such as `a_x2.png` beside `a.png`: else the same command,
    given again, would upscale what it wrote before. These follow, each with the image that it is the result of.
    """
    made = {_key(target): source for source, target in named}
    todo = [(source, target) for source, target in named if made.get(_key(source), source) == source]
    return todo, [(source, made[_key(source)]) for source, _ in named if made.get(_key(source), source) != source]


def _checked(named: Sequence[Planned]) -> list[Job]:
    result, taken = [], dict[str, Path]()
    any_link = any(_is_link(target) for _, target in named)
    linked = {os.path.realpath(source): source for source, _ in named if any_link}
    for source, target in named:
        other = taken.setdefault(_key(target), source)
        error = None
        if other is not source:
            error = UsageError(f"{source} would go to {target}, where {other} goes already; rename one of them")
        elif _key(target) == _key(source):
            error = UsageError(f"{source} would be replaced by its own result; give another folder with -o")
        elif _is_link(target) and os.path.realpath(target) in linked:
            original = linked[os.path.realpath(target)]
            error = UsageError(f"{target} is a link to {original}, which is an input; give another folder with -o")
        result.append(Job(source, target, error))
    return result


def _is_link(path: Path) -> bool:
    return os.path.islink(path)  # noqa: PTH114 - no error for names that are too long


def _same(path: Path | str) -> str:
    """The same text for the same file, whatever the spelling of its name; no symbolic link is followed."""
    return STREAM if path == STREAM else os.path.abspath(path)  # noqa: PTH100


def _key(path: Path) -> str:
    """As `_same`, also on file systems to which capital letters are the same as small ones."""
    return _same(path).casefold()
