"""`sharpbit serve`: from options to a server, and what it prints."""

from __future__ import annotations

import ipaddress
import os
import secrets
import webbrowser
from dataclasses import dataclass

from sharpbit.app import say
from sharpbit.errors import UsageError
from sharpbit.runtime import EngineOptions
from sharpbit.system import extras

_TOKEN = "SHARPBIT_TOKEN"
_LEAST = 16  # characters of a token that somebody chose


@dataclass(frozen=True)
class Serve:
    """What was given to `sharpbit serve`; see its help."""

    host: str
    port: int
    allow_host: tuple[str, ...]
    open_page: bool
    workers: int
    max_mib: int
    max_pixels: int
    max_result_pixels: int
    max_seconds: float
    queue: int
    per_client: int
    keep: float
    threads: int | None
    engine: str
    device: str | None


def run_serve(given: Serve) -> None:
    """Run the server until it is stopped.

    Args:
        given: The options.
    """
    extras.need("web", "sharpbit serve")
    from sharpbit.serve import server
    from sharpbit.serve.guard import Door
    from sharpbit.serve.limits import MIB, Limits

    exposed = not _is_loopback(given.host)
    token = _token(exposed)
    limits = Limits(
        bytes=given.max_mib * MIB,
        pixels=given.max_pixels,
        result_pixels=given.max_result_pixels,
        seconds=given.max_seconds,
        queue=given.queue,
        per_client=given.per_client,
        keep=given.keep * 60,
    )
    options = EngineOptions(given.engine, given.device, given.threads)
    names = frozenset(name.lower() for name in given.allow_host)
    settings = server.Settings(limits, options, given.workers, Door(names, token))
    with server.listening(given.host, given.port) as bound:
        address = _address(given.host, bound.getsockname()[1], token)

        def ready() -> None:
            if exposed:
                say(f"WARNING: whoever reaches {given.host} and has the token may use this; it speaks plain HTTP, so")
                say("put a proxy with TLS before it where the network is not your own (docs/use/serve.md)")
            say(f"sharpbit serves {address} (Ctrl-C ends it)")
            if given.open_page:
                webbrowser.open(address)

        server.run(settings, bound, ready)
    say("sharpbit: the server has ended")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(exposed: bool) -> str | None:
    """The token of the user, or a new one where other machines are let in."""
    own = os.environ.get(_TOKEN)
    if own is not None and (len(own) < _LEAST or not own.isascii() or not own.isalnum()):
        raise UsageError(f"{_TOKEN} holds at least {_LEAST} letters and digits, so that nobody guesses it")
    return own or (secrets.token_hex(16) if exposed else None)


def _address(host: str, port: int, token: str | None) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"#token={token}" if token else "")
