"""The application out of its parts, and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sharpbit.errors import SharpbitError, UsageError
from sharpbit.runtime import EngineOptions, available_cpus
from sharpbit.serve import answers, metrics, page, stored
from sharpbit.serve.api import Api
from sharpbit.serve.description import description
from sharpbit.serve.guard import Door, Guard
from sharpbit.serve.limits import Limits
from sharpbit.serve.protocol import PatientProtocol
from sharpbit.serve.queue import Queue
from sharpbit.serve.view import Views
from sharpbit.serve.work import Upscalers, Work

Answer = Callable[[Request], Awaitable[Response]]

SWEEP = 20.0  # seconds between two looks for what has expired
FILES = 4096  # files that may be open: two for each image that is kept, and connections


@dataclass(frozen=True)
class Settings:
    """How the server runs.

    Attributes:
        limits: What it takes on.
        options: What runs models.
        workers: The images that are worked on at the same time.
        door: Who may ask.
    """

    limits: Limits = field(default_factory=Limits)
    options: EngineOptions = field(default_factory=EngineOptions)
    workers: int = 2
    door: Door = field(default_factory=Door)


def application(settings: Settings) -> Guard:
    """The ASGI application.

    Args:
        settings: How it runs.
    """
    limits = settings.limits
    work = Work(Upscalers(settings.options), limits, max(1, available_cpus() // settings.workers))
    views = Views(limits)
    queue = Queue(work, limits, settings.workers, views.forget)
    api = Api(queue, work, views, limits, settings.door)

    async def counted(request: Request) -> Response:
        return Response(metrics.text(queue, guard.answered, guard.uploads), media_type=metrics.TYPE)

    async def described(request: Request) -> Response:
        return JSONResponse(description(limits))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.ensure_future(_sweep(queue))
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.get_running_loop().run_in_executor(None, queue.close)

    addresses: dict[str, dict[str, Answer]] = {
        "/v1/upscale": {"POST": api.upscale},
        "/v1/jobs": {"GET": api.jobs, "POST": api.start},
        "/v1/jobs/{id}": {"GET": api.job, "DELETE": api.delete},
        "/v1/jobs/{id}/result": {"GET": api.result},
        "/v1/jobs/{id}/view/{layer}": {"GET": api.look},
        "/v1/results.zip": {"GET": api.archive},
        "/v1/models": {"GET": api.models},
        "/v1/limits": {"GET": api.show_limits},
        "/v1/session": {"POST": api.session},
        "/health": {"GET": api.health},
        "/metrics": {"GET": counted},
        "/openapi.json": {"GET": described},
        **{_address(name): {"GET": _constant(*file)} for name, file in page.files().items()},
    }
    routes = [Route(path, _by_method(answers), methods=[*answers]) for path, answers in addresses.items()]
    handlers: dict[Any, Any] = {
        HTTPException: answers.on_http,
        SharpbitError: answers.on_sentence,
        ClientDisconnect: answers.on_disconnect,
        OSError: answers.on_disk,
        Exception: answers.on_fault,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.queue, app.state.views = queue, views
    guard = Guard(app, settings.door, limits)
    return guard


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address.

    Args:
        host: The name or address; `0.0.0.0` and `::` are all that the machine has.
        port: The port; 0 takes a free one.

    Raises:
        UsageError: There is no such address here, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"the server cannot listen on {host}:{port}: {reason}; choose another --port") from None


def _allow_files() -> None:
    """Let this process have many files and connections open at a time, where the system limits them."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run(settings: Settings, bound: socket.socket, ready: Callable[[], object]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: How it runs.
        bound: The socket.
        ready: Called when it answers.
    """
    tempfile.tempdir = stored.folder()  # of uploads, while they come
    _allow_files()
    config = uvicorn.Config(
        application(settings),
        http=PatientProtocol,
        ws="none",
        loop="asyncio",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=512,
        timeout_keep_alive=int(settings.limits.patience),
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32 * 1024,
    )
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        asyncio.run(_serve(uvicorn.Server(config), bound, ready))
    finally:
        for number, handler in before:
            signal.signal(number, handler)


async def _serve(server: uvicorn.Server, bound: socket.socket, ready: Callable[[], object]) -> None:
    serving = asyncio.ensure_future(server.serve([bound]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    await serving


async def _sweep(queue: Queue) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        queue.expire()


def _address(name: str) -> str:
    return "/" if name == "index.html" else f"/{name}"


def _by_method(answers: Mapping[str, Answer]) -> Answer:
    async def answer(request: Request) -> Response:
        return await answers["GET" if request.method == "HEAD" else request.method](request)

    return answer


def _constant(content: bytes, kind: str) -> Answer:
    async def give(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return give
