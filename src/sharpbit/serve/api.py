"""The addresses of the API: `/v1/upscale`, `/v1/jobs`, `/v1/models` and what belongs to them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from sharpbit import zoo
from sharpbit._version import __version__
from sharpbit.serve import view
from sharpbit.serve.answers import headers_of_file
from sharpbit.serve.guard import COOKIE, Door
from sharpbit.serve.job import DONE, OVER, Job
from sharpbit.serve.limits import Limits, Refused
from sharpbit.serve.queue import Queue
from sharpbit.serve.stored import PIECE, Stored
from sharpbit.serve.upload import Uploaded, displayed, received
from sharpbit.serve.work import Work
from sharpbit.zoo import added

CLIENT = "sharpbit-client"  # the header with the secret of a client
LONGEST_WAIT = 30.0  # seconds
LOOKS = 2  # parts of images that are made for pages at the same time


@dataclass
class Api:
    """What the addresses work with."""

    queue: Queue
    work: Work
    views: view.Views
    limits: Limits
    door: Door

    def __post_init__(self) -> None:
        self._looking = asyncio.Semaphore(LOOKS)

    async def upscale(self, request: Request) -> Response:
        """Upscale an image and answer with the result; whoever leaves cancels it."""
        job = await self._accepted(request)
        try:
            gone = asyncio.ensure_future(_left(request))
            await asyncio.wait({asyncio.wrap_future(job.over), gone}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if job.state != DONE:
                raise Refused(422, job.error or "the work was cancelled")
            response = _file(job)
            response.headers["Sharpbit-Models"] = ", ".join(job.facts["models"]) or "bicubic"
            return response
        finally:
            self.queue.remove(job)

    async def start(self, request: Request) -> Response:
        """Put an image into the queue."""
        job = await self._accepted(request)
        headers = {"Location": f"/v1/jobs/{job.id}"}
        return JSONResponse(self._described(job), 202, headers=headers)

    async def jobs(self, request: Request) -> Response:
        """The jobs of a client."""
        client = request.headers.get(CLIENT, "")
        return JSONResponse({"jobs": [self._described(job) for job in self.queue.of(client)]})

    async def job(self, request: Request) -> Response:
        """One job, at once or when it is over."""
        job = self._job(request)
        seconds = _whole(request, "wait", 0, 0, int(LONGEST_WAIT))
        if job.state not in OVER and seconds:
            over = asyncio.shield(asyncio.wrap_future(job.over))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over, seconds)
        return JSONResponse(self._described(job))

    async def delete(self, request: Request) -> Response:
        """Cancel a job and delete what it keeps."""
        self.queue.remove(self._job(request))
        return Response(status_code=204)

    async def result(self, request: Request) -> Response:
        """The file of a result."""
        return _file(_done(self._job(request)))

    async def look(self, request: Request) -> Response:
        """A part of an image for the page."""
        job, layer = _done(self._job(request)), request.path_params["layer"]
        if layer not in view.LAYERS:
            raise Refused(404, f"there is no layer {displayed(layer)!r}; the layers are {', '.join(view.LAYERS)}")
        left, top = (_whole(request, name, 0, 0, 1 << 20) for name in ("left", "top"))
        width, height = (_whole(request, name, 1 << 20, 1, 1 << 20) for name in ("width", "height"))
        box = view.Box(left, top, width, height, _whole(request, "side", view.LARGEST, 1, view.LARGEST))
        async with self._looking:
            try:
                png = await run_in_threadpool(self.views.part, job, layer, box)
            except FileNotFoundError:
                raise Refused(404, "the job was deleted meanwhile") from None
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})

    async def archive(self, request: Request) -> Response:
        """Several results in one archive."""
        names = request.query_params.getlist("id")
        jobs = [_done(self.queue.get(name)) for name in dict.fromkeys(names)]
        if not jobs:
            raise Refused(422, "give the ids of jobs that are done, such as ?id=A&id=B")
        return StreamingResponse(_zipped(jobs), media_type="application/zip", headers=headers_of_file("sharpbit.zip"))

    async def models(self, request: Request) -> Response:
        """The models that there are."""
        return JSONResponse({"models": await run_in_threadpool(_models)})

    async def show_limits(self, request: Request) -> Response:
        """What the server takes on."""
        names = ("bytes", "pixels", "result_pixels", "seconds", "queue", "per_client", "keep")
        return JSONResponse({name: getattr(self.limits, name) for name in names})

    async def session(self, request: Request) -> Response:
        """Give a page that sent the token a cookie that holds it."""
        response = Response(status_code=204)
        if self.door.token is not None:
            response.set_cookie(COOKIE, self.door.token, httponly=True, samesite="strict")
        return response

    async def health(self, request: Request) -> Response:
        """Whether the server answers."""
        return JSONResponse({"status": "ok", "version": __version__})

    async def _accepted(self, request: Request) -> Job:
        address = request.client.host if request.client else ""
        self.queue.check(address)  # before the body comes
        async with received(request) as upload:
            name, source = self._source(upload)
            try:
                if source.size > self.limits.bytes:
                    raise Refused(413, f"{name} has more than {self.limits.bytes:,} bytes, the most that is taken")
                await run_in_threadpool(self.work.probe, source, name, upload.asked)
                client = request.headers.get(CLIENT, "")[:200]
                return self.queue.add(Job(name, source, upload.asked, client, address))
            except BaseException:
                source.drop()
                raise

    def _source(self, upload: Uploaded) -> tuple[str, Stored]:
        if upload.source is not None:
            return upload.name, upload.source.use()
        job = self.queue.get(upload.job or "")
        try:
            return job.name, job.source.use()
        except FileNotFoundError:
            raise Refused(404, "the job was deleted meanwhile") from None

    def _job(self, request: Request) -> Job:
        return self.queue.get(request.path_params["id"])

    def _described(self, job: Job) -> dict[str, Any]:
        return job.described(self.queue.place(job))


async def _left(request: Request) -> None:
    """Wait until the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _done(job: Job) -> Job:
    if job.state != DONE:
        raise Refused(409, f"{job.name} has no result: the job is {job.state}")
    return job


def _file(job: Job) -> StreamingResponse:
    assert job.result is not None
    try:
        file = job.result.reader()
    except FileNotFoundError:
        raise Refused(404, "the job was deleted meanwhile") from None
    headers = headers_of_file(job.result_name) | {"Content-Length": str(job.result.size)}

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE * 4):
                yield piece

    return StreamingResponse(pieces(), media_type=f"image/{job.result_format.lower()}", headers=headers)


class _Pieces(io.RawIOBase):
    """What a writer of archives has written since the last look."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._held.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        held, self._held = self._held, []
        return b"".join(held)


def _zipped(jobs: list[Job]) -> Iterator[bytes]:
    """An archive of results, which are compressed already; piece by piece."""
    out, taken = _Pieces(), set[str]()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for job in jobs:
            if job.result is None:
                continue
            with (
                job.result.reader() as source,
                archive.open(_free(job.result_name, taken), "w", force_zip64=True) as to,
            ):
                while piece := source.read(PIECE * 4):
                    to.write(piece)
                    yield out.take()
    yield out.take()


def _free(name: str, taken: set[str]) -> str:
    """A name that was not taken yet, such as `photo_x2 (2).png`."""
    stem, dot, suffix = name.rpartition(".")
    number = 1
    while name in taken:
        number += 1
        name = f"{stem} ({number}){dot}{suffix}"
    taken.add(name)
    return name


def _whole(request: Request, name: str, otherwise: int, least: int, most: int) -> int:
    text = request.query_params.get(name, str(otherwise))
    if not re.fullmatch(r"\d{1,7}", text, re.ASCII) or not least <= int(text) <= most:
        raise Refused(422, f"{name} is a whole number from {least} to {most}, not {displayed(text)!r}")
    return int(text)


def _models() -> list[dict[str, Any]]:
    own = [
        {"name": name, "scale": header.scale, "network": header.architecture, "precision": header.precision}
        for name, header in zoo.models().items()
    ]
    more = [added.about(name) for name in added.names()]
    return own + [
        {"name": known["name"], "scale": known["scale"], "network": known["network"], "precision": None}
        for known in more
    ]
