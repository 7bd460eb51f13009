"""The description of the API in OpenAPI 3.1, for programs; a test compares it with the routes."""

from __future__ import annotations

from typing import Any

from sharpbit._version import __version__
from sharpbit.image import WRITE_FORMATS
from sharpbit.pipeline.size import MOST
from sharpbit.serve.job import OVER, QUEUED, RUNNING
from sharpbit.serve.limits import Limits
from sharpbit.serve.view import LARGEST, LAYERS

_FORMATS = sorted({suffix[1:] for suffix in WRITE_FORMATS})
_SENTENCE = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "One sentence: what was wrong, and the way out."}},
    "required": ["error"],
}
_SIZE = {
    "type": ["object", "null"],
    "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}},
}
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
_MAYBE = {"type": ["string", "null"]}
_JOB = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The secret that gives access to the job."},
        "name": {"type": "string"},
        "state": {"enum": [QUEUED, RUNNING, *OVER]},
        "place": {"type": ["integer", "null"], "description": "The place in the queue, from 1."},
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "model": {"type": "string"},
        "scale": {"type": ["number", "null"]},
        "created": {"type": "number", "description": "Seconds since 1970."},
        "size": _SIZE,
        "result_size": _SIZE,
        "models": {"type": "array", "items": {"type": "string"}, "description": "Those that run, in a row."},
        "plan": _MAYBE,
        "why": {**_MAYBE, "description": "What auto chose the model by."},
        "notes": {"type": "array", "items": {"type": "string"}},
        "engines": {"type": "array", "items": {"type": "object"}},
        "seconds": {**_NUMBERS, "description": "Seconds of each stage."},
        "error": _MAYBE,
        "result_name": _MAYBE,
        "bytes": {"type": ["integer", "null"]},
    },
    "required": ["id", "name", "state", "progress"],
}
_OPTIONS = {
    "model": {"type": "string", "default": "auto", "description": "A name of /v1/models, or auto."},
    "scale": {"type": "number", "minimum": 1, "maximum": MOST, "description": "The factor; else the model's, or 2."},
    "format": {"enum": _FORMATS, "description": "The format; by default JPEG and WebP stay, the rest becomes PNG."},
    "quality": {"type": "integer", "minimum": 1, "maximum": 100, "default": 95},
    "strip_metadata": {"enum": ["true", "false"], "default": "false"},
}
_JOB_ID = {"type": "string", "description": "A job whose image is meant, instead of image."}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_CLIENT = {
    "name": "sharpbit-client",
    "in": "header",
    "description": "A secret of the client's own choice, in whose list the job then stands.",
    "schema": {"type": "string", "maxLength": 200},
}
_REASONS = {
    400: "The request is not what HTTP or a form should be.",
    401: "The token is missing or wrong.",
    403: "The request comes from a foreign page.",
    404: "There is no such thing.",
    408: "The upload is too slow.",
    409: "The job has no result.",
    413: "The image, or its result, is too large.",
    415: "The body is no image of a known format.",
    421: "The request names a foreign host.",
    422: "The image is damaged, or the request asks for what there is not.",
    429: "Too much at once; Retry-After holds seconds.",
    507: "The disk of the server is full.",
}
_UPLOAD = (400, 404, 408, 413, 415, 422, 429, 507)


def description(limits: Limits) -> dict[str, Any]:
    """The description.

    Args:
        limits: What the server takes on, for its text.
    """
    png = {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sharpbit",
            "version": __version__,
            "description": f"Upscales images of at most {limits.bytes:,} bytes and {limits.pixels:,} pixels.",
        },
        "paths": {
            "/v1/upscale": {"post": _post("Upscale an image and wait for it", {"200": _of("The result.", png)})},
            "/v1/jobs": {
                "post": _post("Put an image into the queue", {"202": _json("The job.", _ref("Job"))}, [_CLIENT]),
                "get": _get("The jobs of a client", _json("The jobs.", _list("jobs", _ref("Job"))), (), [_CLIENT]),
            },
            "/v1/jobs/{id}": {
                "get": _get("One job", _json("The job.", _ref("Job")), (404, 422), [_ID, _query("wait", 0, 30)]),
                "delete": {
                    "summary": "Cancel a job, or delete it with its result",
                    "parameters": [_ID],
                    "responses": {"204": {"description": "It is gone."}, **_errors(404)},
                },
            },
            "/v1/jobs/{id}/result": {"get": _get("The result", _of("The file.", png), (404, 409), [_ID])},
            "/v1/jobs/{id}/view/{layer}": {
                "get": _get(
                    "A part of an image as PNG, by default all of it",
                    _of("The part.", png),
                    (404, 409, 422),
                    [
                        _ID,
                        {"name": "layer", "in": "path", "required": True, "schema": {"enum": list(LAYERS)}},
                        *(_query(name, 0, 1 << 20) for name in ("left", "top")),
                        *(_query(name, 1, 1 << 20) for name in ("width", "height")),
                        {**_query("side", 1, LARGEST), "description": "The longest side that the answer may have."},
                    ],
                )
            },
            "/v1/results.zip": {
                "get": _get(
                    "Several results in an archive",
                    _of("The archive.", {"content": {"application/zip": {}}}),
                    (404, 409, 422),
                    [{"name": "id", "in": "query", "required": True,
                      "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1}}],
                )
            },
            "/v1/models": {"get": _get("The models", _json("The models.", _list("models", {"type": "object"})))},
            "/v1/limits": {"get": _get("What the server takes on", _json("The limits.", _NUMBERS))},
            "/v1/session": {
                "post": {
                    "summary": "Get the token, which the request carries, as a cookie",
                    "responses": {"204": {"description": "The cookie is set where there is a token."}, **_errors()},
                }
            },
            "/health": {"get": _get("Whether the server answers", _json("It does.", {"type": "object"}))},
            "/metrics": {"get": _get("Counts for Prometheus", _of("The counts.", {"content": {"text/plain": {}}}))},
        },
        "components": {
            "schemas": {"Job": _JOB, "Error": _SENTENCE},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }  # fmt: skip


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _of(text: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, **more}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _list(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "array", "items": item}}, "required": [name]}


def _query(name: str, least: int, most: int) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "integer", "minimum": least, "maximum": most}}


def _errors(*codes: int) -> dict[str, Any]:
    return {str(code): _json(_REASONS[code], _ref("Error")) for code in sorted({401, 403, 421, *codes})}


def _get(
    summary: str, answer: dict[str, Any], codes: tuple[int, ...] = (), parameters: list[Any] | None = None
) -> dict[str, Any]:
    return {"summary": summary, "parameters": parameters or [], "responses": {"200": answer, **_errors(*codes)}}


def _post(summary: str, answer: dict[str, Any], parameters: list[Any] | None = None) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": binary, "job": _JOB_ID, **_OPTIONS}}
    options = [{"name": name, "in": "query", "schema": schema} for name, schema in _OPTIONS.items()]
    return {
        "summary": summary,
        "parameters": [*options, *(parameters or [])],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {**form, "additionalProperties": False}},
                "image/*": {"schema": binary},
            },
        },
        "responses": {**answer, **_errors(*_UPLOAD)},
    }
