"""Answers in JSON: errors are one sentence, whoever raised them."""

from __future__ import annotations

import errno

from PIL import UnidentifiedImageError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sharpbit.errors import ImageError, ImageTooLarge, SharpbitError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORDS = {404: "there is nothing at this address; /openapi.json describes those that there are"}


def problem(error: HTTPException) -> JSONResponse:
    """The answer to a request that was refused."""
    return JSONResponse({"error": error.detail}, error.status_code, headers=dict(error.headers or {}))


def on_http(request: Request, error: Exception) -> Response:
    """An error of the framework, such as 404 and 405, or a refusal of ours."""
    assert isinstance(error, HTTPException)
    plain = type(error) is HTTPException
    if plain and error.status_code == 405:
        allowed = " and ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        error = HTTPException(405, f"{request.method} is not for this address; it takes {allowed}", error.headers)
    elif plain:
        error = HTTPException(error.status_code, _WORDS.get(error.status_code, error.detail), error.headers)
    return problem(error)


def on_sentence(request: Request, error: Exception) -> Response:
    """An error of sharpbit."""
    assert isinstance(error, SharpbitError)
    status = 422
    if isinstance(error, ImageTooLarge):
        status = 413
    elif isinstance(error, ImageError) and isinstance(error.__cause__, UnidentifiedImageError):
        status = 415
    return JSONResponse({"error": str(error)}, status)


def on_disk(request: Request, error: Exception) -> Response:
    """An error of the system; a full disk is no mistake of ours, all others are."""
    assert isinstance(error, OSError)
    if error.errno not in _FULL:
        raise error
    sentence = "the disk of the server is full; delete results that are no longer needed, or try a smaller image"
    return JSONResponse({"error": sentence}, 507)


def on_disconnect(request: Request, error: Exception) -> Response:
    """A client that left; nobody reads this."""
    return Response(status_code=400)


def on_fault(request: Request, error: Exception) -> Response:
    """A mistake of ours."""
    return JSONResponse({"error": f"sharpbit failed at this request ({type(error).__name__}); please report it"}, 500)


def headers_of_file(name: str) -> dict[str, str]:
    """The headers that make a browser save an answer under a name."""
    from urllib.parse import quote

    plain = name.encode("ascii", "replace").decode().translate(str.maketrans('"\\?', "___"))
    return {"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"}
