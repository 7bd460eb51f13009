"""What comes in: a form with an image, or an image alone; into files without a name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from sharpbit import zoo
from sharpbit.errors import UsageError
from sharpbit.image import WRITE_FORMATS
from sharpbit.pipeline.format import suffix_of
from sharpbit.pipeline.size import MOST
from sharpbit.runtime import AUTO
from sharpbit.serve.job import Asked
from sharpbit.serve.limits import Refused
from sharpbit.serve.stored import Stored
from sharpbit.zoo import added

FIELDS = ("image", "job", "model", "scale", "format", "quality", "strip_metadata")
_LONGEST = 120  # characters of a name
_UNWANTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]")


@dataclass(frozen=True)
class Uploaded:
    """An upload: the image, or the job whose image is meant, and what was asked for."""

    name: str
    source: Stored | None
    job: str | None
    asked: Asked


class _Parser(MultiPartParser):
    spool_max_size = 1  # nothing stays in memory


@contextlib.asynccontextmanager
async def received(request: Request) -> AsyncIterator[Uploaded]:
    """The upload of a request; its file is let go at the end by this user, who is one of perhaps several.

    Raises:
        Refused: It is neither a form nor an image, or asks for what there is not.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    query = _single(list(request.query_params.multi_items()))
    source: Stored | None = None
    name, fields = "", dict(query)
    try:
        if kind == "multipart/form-data":
            name, source, more = await _form(request)
            if twice := sorted(set(fields) & set(more)):
                raise Refused(422, f"{twice[0]} is given in the address and in the form; give it once")
            fields |= more
        elif kind.startswith("image/") or kind == "application/octet-stream":
            name, source = fields.pop("name", "image"), await _body(request)
        else:
            raise Refused(
                415, f"the body is {kind or 'of no type'}; send a form (multipart/form-data) or an image (image/...)"
            )
        asked, job = _asked(fields), fields.get("job")
        if (source is None) == (job is None):
            raise Refused(422, "give an image as the field image of a form, or the id of a job as the field job")
        yield Uploaded(displayed(name), source, job, asked)
    finally:
        if source is not None:
            source.drop()


def displayed(name: str) -> str:
    """The last part of the name of a file, without what would steer a terminal or a header; for people alone."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return _UNWANTED.sub("", last)[-_LONGEST:].strip(". ") or "image"


async def _form(request: Request) -> tuple[str, Stored | None, dict[str, str]]:
    parser = _Parser(request.headers, request.stream(), max_files=1, max_fields=len(FIELDS), max_part_size=4096)
    try:
        items = (await parser.parse()).multi_items()
    except (MultiPartException, UnicodeError, ValueError) as error:
        reason = getattr(error, "message", "") or "it cannot be read"
        raise Refused(400, f"the form is not what it should be: {reason.rstrip('.')}") from None
    files = [(key, item) for key, item in items if isinstance(item, UploadFile)]
    source = Stored(files[0][1].file) if files else None
    try:
        if files and files[0][0] != "image":
            raise Refused(422, f"the file is in the field {displayed(files[0][0])!r}; it belongs into image")
        fields = _single([(key, item) for key, item in items if isinstance(item, str)])
    except Refused:
        if source is not None:
            source.drop()
        raise
    return files[0][1].filename or "image" if files else "", source, fields


async def _body(request: Request) -> Stored:
    source = Stored()
    try:
        async for piece in request.stream():
            await run_in_threadpool(source.file.write, piece)
        await run_in_threadpool(source.file.flush)
    except BaseException:
        source.drop()
        raise
    return source


def _single(items: list[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for key, value in items:
        if key in fields:
            raise Refused(422, f"the field {displayed(key)} is given twice; give it once")
        fields[key] = value
    return fields


def _asked(fields: Mapping[str, str]) -> Asked:
    known = [name for name in FIELDS if name != "image"]
    for key in fields:
        if key not in known:
            raise Refused(422, f"there is no field {displayed(key)!r}; the fields are image, {', '.join(known)}")
    model = fields.get("model") or AUTO
    if model != AUTO and model not in (*zoo.names(), *added.names()):
        raise Refused(422, f"there is no model {displayed(model)!r}; /v1/models lists them, and auto chooses one")
    scale = _number(fields, "scale", 1, MOST) if fields.get("scale") else None
    strip = fields.get("strip_metadata", "false")
    if strip not in ("true", "false"):
        raise Refused(422, f"strip_metadata is true or false, not {displayed(strip)!r}")
    kind = None
    if fields.get("format"):
        try:
            kind = WRITE_FORMATS[suffix_of(fields["format"])]
        except UsageError:
            formats = ", ".join(sorted(suffix[1:] for suffix in WRITE_FORMATS))
            raise Refused(422, f"format {displayed(fields['format'])!r} is not one of {formats}") from None
    quality = _number(fields, "quality", 1, 100) if fields.get("quality") else 95
    if quality != int(quality):
        raise Refused(422, f"quality is a whole number from 1 to 100, not {quality:g}")
    return Asked(model, scale, kind, int(quality), strip == "true")


def _number(fields: Mapping[str, str], name: str, least: int, most: int) -> float:
    text = fields[name]
    sentence = f"{name} is a number from {least} to {most}, not {displayed(text)!r}"
    if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?", text, re.ASCII):
        raise Refused(422, sentence)
    value = float(text)
    if not least <= value <= most:
        raise Refused(422, sentence)
    return value
