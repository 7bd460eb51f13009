"""What stands before everything: who may ask, how much may come, how long it may take, what browsers may do.

The names in `Host` keep a foreign page from reaching the server under a name of its own (DNS rebinding), `Origin` and
`Sec-Fetch-Site` keep it from posting forms to it (CSRF), and the token keeps out everybody who does not have it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sharpbit.serve.answers import problem
from sharpbit.serve.limits import Limits, Refused

COOKIE = "sharpbit-token"
SLOWEST = 16 * 1024  # bytes a second that an upload has at least, after its first moments
LINGER = 1 << 20  # bytes of a refused upload that are still taken, so that its client hears why
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


@dataclass(frozen=True)
class Door:
    """Who may ask.

    Attributes:
        names: The names of hosts under which the server is reached, besides addresses and `localhost`.
        token: The secret that requests carry; None where everybody who reaches the server may ask.
    """

    names: frozenset[str] = frozenset()
    token: str | None = None

    def check(self, scope: Scope, headers: Headers) -> None:
        """Let a request in.

        Raises:
            Refused: It comes under a foreign name, from a foreign page, or without the token.
        """
        host = headers.get("host", "")
        if not self.knows(host):
            raise Refused(
                421, "the name in Host is none of this server; use its address, or start it with --allow-host NAME"
            )
        self._check_origin(scope, headers, host)
        open_to_all = scope["path"] == "/health" or not scope["path"].startswith(("/v1/", "/metrics"))
        if self.token is not None and not open_to_all and not self.holds(headers):
            raise Refused(401, "the token is missing or wrong; send it as Authorization: Bearer TOKEN")

    def knows(self, host: str) -> bool:
        """Whether a `Host` is an address, which no foreign name can be, or a name of this server."""
        match = _HOST.fullmatch(host)
        if not match:
            return False
        name = match[1].strip("[]").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in self.names
        return True

    def holds(self, headers: Headers) -> bool:
        """Whether a request carries the token, as a header or as the cookie of the page."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            given = _cookie(headers.get("cookie", ""))
        return self.token is not None and hmac.compare_digest(given.strip().encode(), self.token.encode())

    def _check_origin(self, scope: Scope, headers: Headers, host: str) -> None:
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refused(403, "the request comes from another page; open the page of this server instead")
        navigation = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigation:
            raise Refused(403, "the request comes from another page; open the page of this server instead")


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


@dataclass
class Guard:
    """The outermost layer of the application.

    Attributes:
        app: What answers.
        door: Who may ask.
        limits: How much may come, and how long it may take.
        answered: How many answers had each status code.
        uploads: The uploads that are on their way.
    """

    app: ASGIApp
    door: Door
    limits: Limits
    answered: Counter[int] = field(default_factory=Counter)
    uploads: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sender = _Sender(send, self.limits.patience, self.answered)
        headers, is_upload = Headers(scope=scope), scope["method"] == "POST"
        reader = _Reader(receive, self.limits)
        try:
            self.door.check(scope, headers)
            if _length(headers) > self.limits.bytes + LINGER:
                raise too_long(self.limits)
            if is_upload and self.uploads >= self.limits.uploads:
                raise Refused(429, f"{self.uploads} uploads are on their way, the most that may; try again soon", 2)
        except Refused as refused:
            await self._refuse(refused, scope, reader, sender)
            return
        self.uploads += is_upload
        try:
            await self.app(scope, reader, sender)
        finally:
            self.uploads -= is_upload
            if sender.status >= 400:
                await reader.linger()

    async def _refuse(self, refused: Refused, scope: Scope, reader: _Reader, sender: _Sender) -> None:
        response = problem(refused)
        response.headers["Connection"] = "close"
        await reader.linger()
        await response(scope, reader, sender)


def too_long(limits: Limits) -> Refused:
    """The refusal of an upload with too many bytes."""
    return Refused(413, f"the upload has more than {limits.bytes:,} bytes, the most that is taken; send a smaller file")


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


class _Reader:
    """Receives, as much and as slowly as allowed."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._taken, self._started, self._ended = 0, time.monotonic(), False

    async def __call__(self) -> Message:
        if self._ended:  # what comes now is that the client left, for which one may wait as long as one likes
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._limits.patience)
        except TimeoutError:
            self._ended = True
            raise Refused(408, f"nothing came for {self._limits.patience:g} seconds; send it again") from None
        self._taken += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._taken > self._limits.bytes + LINGER:
            raise too_long(self._limits)
        seconds = time.monotonic() - self._started - self._limits.patience
        if not self._ended and seconds > 0 and self._taken < seconds * SLOWEST:
            self._ended = True
            raise Refused(408, f"the upload is slower than {SLOWEST:,} bytes a second; send it over a faster line")
        return message

    async def linger(self) -> None:
        """Take a little of what is still coming, for a client that is cut off does not read the answer."""
        end, most = time.monotonic() + 1, self._taken + LINGER
        while not self._ended and self._taken < most and time.monotonic() < end:
            try:
                message = await asyncio.wait_for(self._receive(), 0.5)
            except TimeoutError:
                return
            self._taken += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)


class _Sender:
    """Sends, with headers that make browsers strict, to clients that take what they asked for."""

    def __init__(self, send: Send, patience: float, answered: Counter[int]) -> None:
        self._send, self._patience, self._answered = send, patience, answered
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._answered[self.status] += 1
            headers = MutableHeaders(scope=message)
            for name, value in POLICY.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        try:
            await asyncio.wait_for(self._send(message), self._patience)
        except TimeoutError:
            raise ConnectionError("the client does not take the answer") from None
