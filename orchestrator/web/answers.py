"""Keys and answers that the API's doors share."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.tracking.ingest import Refusal


class Keys:
    """The API keys, compared in constant time."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys if key]

    def known(self, request: Request) -> bool:
        """Whether the request carries one of the keys, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        digest = sha256(given.encode()).digest()
        return any([hmac.compare_digest(digest, known) for known in self._digests])  # noqa: C419  # all, always


def unknown_key() -> Response:
    """401."""
    return as_json(401, {"error": "unknown API key"}, {"WWW-Authenticate": "Bearer"})


def too_large(limit: int) -> Response:
    """413."""
    return as_json(413, {"error": f"at most {limit} bytes in one request"})


def refused(refusal: Refusal) -> Response:
    """400 or 422, with all that is wrong."""
    errors = [{"index": fault.index, "field": fault.field, "reason": fault.reason} for fault in refusal.faults]
    return as_json(400 if refusal.unreadable else 422, {"error": "nothing was stored", "errors": errors})


def busy(why: str) -> Response:
    """503: the same request may be sent again."""
    return as_json(503, {"error": f"{why}: send the request again"}, {"Retry-After": "1"})


def as_json(status: int, content: Any, headers: dict[str, str] | None = None) -> Response:
    """An answer for a machine."""
    return Response(orjson.dumps(content), status, headers, "application/json")
