"""The one owner of the HTTP client: one request, one answer, and whether a failed request may have left.

HTTP/1.1 only: over HTTP/2 the client silently sends a refused stream again, up to three POSTs for one call. No
redirects, no proxies from the environment, no retries, at most 64 KB of an answer.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    DetailedPyreqwestError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.response import Response

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are read; what is longer is no answer of an API and is judged by its status."""

CONNECT_TIMEOUT = timedelta(seconds=3)
# A kept-alive connection that the server closes just as it is used again fails after the request has left: ambiguous.
# Half of the shortest keep-alive we meet (uvicorn: 5 s) makes that rare.
IDLE_TIMEOUT = timedelta(seconds=2)
POOL_TIMEOUT = timedelta(seconds=2)
USER_AGENT = "reengagement-orchestrator"
_NEVER_LEFT = "client error (Connect)"  # hyper's words for everything up to and including the TLS handshake


class Failure(StrEnum):
    """Why there is no answer."""

    POOL = "pool_timeout"
    """No connection was free in time."""
    CONNECT = "connect"
    """Name, connection or TLS handshake failed."""
    REQUEST = "bad_request"
    """The request could not even be built."""
    TIMEOUT = "timeout"
    """The request went out; no whole answer came in time."""
    BROKEN = "broken"
    """The connection broke, or what came was not HTTP, after the request may have gone out."""
    REFUSED = "refused"
    """The server said that it did not process the request (HTTP/2: REFUSED_STREAM, or above GOAWAY's last stream)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Header names are lower case; ``whole`` is False when the body was cut at the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request without an answer. ``left`` is False only when it certainly did not leave this machine."""

    failure: Failure
    left: bool


class Http(Protocol):
    """What a channel asks a server through. ``request`` raises nothing but cancellation."""

    timeout: timedelta

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = ANSWER_LIMIT,
        begin_by: float = math.inf,
    ) -> Answer | NoAnswer:
        """Exactly one request; never a second one, whatever happens. At most ``limit`` bytes of the answer are read.

        None is begun after ``begin_by`` (``time.monotonic()``): the process may have stood still before.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Transport:
    """Connections of one account. Safe for many tasks of one loop; ``request`` raises nothing but cancellation."""

    def __init__(
        self,
        timeout: timedelta,
        *,
        connections: int = 1000,
        pool_timeout: timedelta = POOL_TIMEOUT,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        root_pem: bytes | None = None,
        pinned: tuple[str, str, int] | None = None,
    ) -> None:
        """``pinned``: (name, address, port) to connect to whatever the name resolves to meanwhile."""
        # The connect timeout stays below the whole: only then does an error of the handshake say that it was one.
        self.timeout = timeout
        builder = (
            ClientBuilder()
            .no_proxy()
            .http1_only()
            .follow_redirects(enable=False)
            .referer(enable=False)
            .user_agent(USER_AGENT)
            .connect_timeout(min(connect_timeout, timeout / 2))
            .timeout(timeout)
            .max_connections(connections)
            .pool_timeout(pool_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
        )
        if root_pem is not None:
            builder = builder.add_root_certificate_pem(root_pem)
        if pinned is not None:
            builder = builder.resolve(*pinned)
        self._client: Client = builder.build()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = ANSWER_LIMIT,
        begin_by: float = math.inf,
    ) -> Answer | NoAnswer:
        """Exactly one request; never a second one, whatever happens. At most ``limit`` bytes of the answer are read.

        None is handed to the client after ``begin_by``; what the client waits for itself is not looked at again.
        """
        if time.monotonic() >= begin_by:
            return NoAnswer(Failure.POOL, left=False)
        try:
            request = self._client.request(method, url).headers(dict(headers))
            if body is not None:
                request = request.body_bytes(body)
            built = request.build_streamed()
        except (PyreqwestError, ValueError):
            return NoAnswer(Failure.REQUEST, left=False)
        try:
            async with built as response:
                return await _bounded(response, limit)
        except PyreqwestError as error:
            return _no_answer(error)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()


async def _bounded(response: Response, limit: int) -> Answer:
    parts: list[bytes] = []
    size = 0
    while size <= limit and (chunk := await response.body_reader.read_chunk()) is not None:
        parts.append(bytes(chunk))
        size += len(chunk)
    headers = dict(response.headers.items())  # the client has their names in lower case
    return Answer(response.status, headers, b"".join(parts)[:limit], whole=size <= limit)


def _no_answer(error: PyreqwestError) -> NoAnswer:
    """The exception's class does not say whether the request left; its causes do."""
    if isinstance(error, BuilderError):
        return NoAnswer(Failure.REQUEST, left=False)
    if isinstance(error, PoolTimeoutError):
        return NoAnswer(Failure.POOL, left=False)
    causes = (error.details["causes"] or []) if isinstance(error, DetailedPyreqwestError) else []
    if any(_NEVER_LEFT in cause["message"] for cause in causes):
        return NoAnswer(Failure.CONNECT, left=False)
    if isinstance(error, RequestTimeoutError):
        return NoAnswer(Failure.TIMEOUT, left=True)
    return NoAnswer(Failure.BROKEN, left=True)


def wrong_url(url: str) -> str:
    """Why messages and credentials must not be sent to ``url``; empty when they may. Plain http: this machine only."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if not host or parts.username or parts.query or parts.fragment:
        return "must be a URL with a host and without user, query and fragment"
    if parts.scheme == "https" or (parts.scheme == "http" and _loopback(host)):
        return ""
    return "must be https:// (http:// only to this machine, for the sandbox): messages never travel in clear"


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
