"""Which pictures to read and which files to write, decided before anything is done."""

from __future__ import annotations

import os
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sharpbit.errors import SharpbitError, UsageError
from sharpbit.image import WRITE_FORMATS, is_picture_name

STREAM = "-"
_FIELDS = ("stem", "ext", "model", "scale")


@dataclass(frozen=True)
class Job:
    """One picture to enlarge.

    Attributes:
        source: its path, or `-` for standard input.
        target: where the result goes, or `-` for standard output.
        error: why it cannot be done, known beforehand.
    """

    source: Path | str
    target: Path | str
    error: SharpbitError | None = None


def jobs(
    inputs: Sequence[str], output: str | None, *, suffix: str, template: str | None, model: str, scale: str
) -> list[Job]:
    """One job for each picture of `inputs`, in a fixed order.

    A single file may go to a file; everything else goes to a folder, in which the tree of each input folder is kept.
    Without `output`, results lie beside their inputs. Where two pictures of different endings would become one file
    (`a.jpg` and `a.png`), the ending becomes part of the name (`a.jpg.png`).

    Args:
        inputs: paths of files and folders, or `-`.
        output: path of a file or a folder, or `-`.
        suffix: of the files to write, such as `.png`; used where `output` names no file.
        template: of the names, with {stem} {ext} {model} {scale}; by default `{stem}_x{scale}` beside the input
            and `{stem}` elsewhere.
        model: for the template.
        scale: for the template.

    Raises:
        UsageError: no input, an output that cannot hold it, a template that cannot work.
    """
    if not inputs:
        raise UsageError("give at least one picture or folder, or - for standard input")
    found = [(Path(name) if name != STREAM else STREAM, base) for item in inputs for name, base in _walk(item)]
    if STREAM in (output, *inputs):
        return [_stream_job(found, output)]
    folder_in = any(Path(item).is_dir() for item in inputs)
    if output is not None and not folder_in and len(found) == 1 and _names_file(output):
        return [Job(found[0][0], Path(output))]
    if output is not None and (Path(output).is_file() or _names_file(output)):
        raise UsageError(f"{len(found)} pictures cannot all go to {output}; give a folder with -o")
    _check_template(template)
    named = [
        (Path(source), _target(Path(source), base, output, suffix, template, model, scale)) for source, base in found
    ]
    return _without_collisions(named)


def _walk(item: str) -> Iterator[tuple[str, Path]]:
    """Each picture of an input with the folder that its place in the output tree is relative to."""
    path = Path(item)
    if item == STREAM:
        yield STREAM, Path()
    elif not path.is_dir():
        yield item, path.parent
    else:
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if is_picture_name(Path(name)):
                    yield os.path.join(folder, name), path  # noqa: PTH118 - keeps the user's spelling


def _stream_job(found: Sequence[tuple[Path | str, Path]], output: str | None) -> Job:
    if len(found) != 1:
        raise UsageError(f"standard input and output take one picture, not {len(found)}")
    return Job(found[0][0], STREAM if output in (None, STREAM) else Path(str(output)))


def _names_file(output: str) -> bool:
    path = Path(output)
    return not path.is_dir() and not output.endswith(("/", os.sep)) and path.suffix.lower() in WRITE_FORMATS


def _check_template(template: str | None) -> None:
    if template is None:
        return
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UsageError(f"the name template {template!r} cannot be read: {error}") from None
    if not names <= set(_FIELDS) or "stem" not in names or "/" in template or os.sep in template:
        fields = " ".join(f"{{{name}}}" for name in _FIELDS)
        raise UsageError(f"the name template {template!r} must hold {{stem}}, may hold {fields}, and names no folder")


def _target(
    source: Path, base: Path, output: str | None, suffix: str, template: str | None, model: str, scale: str
) -> Path:
    folder = source.parent if output is None else Path(output) / source.parent.relative_to(base)
    if template is None:
        template = "{stem}_x{scale}" if folder.resolve() == source.parent.resolve() else "{stem}"
    ext = source.suffix[1:].lower()
    return folder / (template.format(stem=source.stem, ext=ext, model=model, scale=scale) + suffix)


def _without_collisions(named: Sequence[tuple[Path, Path]]) -> list[Job]:
    def key(path: Path) -> str:
        return os.path.abspath(path).casefold()  # noqa: PTH100 - no symbolic link is followed

    counts = Counter(key(target) for _, target in named)
    result, taken = [], dict[str, Path]()
    for source, target in named:
        if counts[key(target)] > 1:
            target = target.with_name(f"{target.stem}{source.suffix}{target.suffix}")
        other = taken.setdefault(key(target), source)
        error = None
        if other is not source:
            error = UsageError(f"{source} would go to {target}, where {other} goes already; rename one of them")
        elif key(target) == key(source):
            error = UsageError(f"{source} would be replaced by its own result; give another folder with -o")
        result.append(Job(source, target, error))
    return result
