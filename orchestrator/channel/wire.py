"""HTTP/1.1 by hand: for FCM, which gets a request for every message, and for SMS and mail, which must not be late.

It costs a quarter of the general client's price, and knows the instant at which a request begins to be written.

The same promises as :class:`~orchestrator.channel.transport.Transport`, held to them by the same tests: one request,
one answer, no redirects, no proxies, no retries; and what failed before a byte of it was written has not left. Answers
are read by llhttp, the parser of Node.js; TLS is Python's, with the system's authorities.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from orchestrator.channel.transport import (
    ANSWER_LIMIT,
    CONNECT_TIMEOUT,
    POOL_TIMEOUT,
    USER_AGENT,
    Answer,
    Failure,
    NoAnswer,
)
from orchestrator.channel.wire_pool import Pool

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_TARGET = re.compile(r"[!-~]*")
_HEADS = 256
_Origin = tuple[str, str, int]


class _Head(NamedTuple):
    """All of a request that stands before the length of its body, and where it goes."""

    origin: _Origin
    text: bytes


class Wire:
    """Connections of one account. Safe for many tasks of one loop; ``request`` raises nothing but cancellation."""

    def __init__(
        self,
        timeout: timedelta,
        *,
        connections: int = 1000,
        pool_timeout: timedelta = POOL_TIMEOUT,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        root_pem: bytes | None = None,
    ) -> None:
        """``connections``: to each server, at most."""
        self.timeout = timeout
        self._seconds = timeout.total_seconds()
        self._connections = connections
        self._pool_seconds = pool_timeout.total_seconds()
        self._connect_seconds = min(connect_timeout, timeout / 2).total_seconds()
        self._root = None if root_pem is None else root_pem.decode()
        self._heads: dict[tuple[object, ...], _Head] = {}
        self._pools: dict[_Origin, Pool] = {}

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

        None is begun after ``begin_by`` (``time.monotonic()``): the process may have stood still in a wait.
        """
        head = self._head(method, url, headers)
        if head is None:
            return NoAnswer(Failure.REQUEST, left=False)
        pool = self._pools.get(head.origin) or self._pool(head.origin)
        connection = pool.idle_one() or await pool.take()
        if isinstance(connection, NoAnswer):
            return connection
        if time.monotonic() >= begin_by:
            pool.freed(connection)
            return NoAnswer(Failure.POOL, left=False)
        content = body or b""
        asked = connection.ask(b"%b%d\r\n\r\n%b" % (head.text, len(content), content), limit, self._seconds)
        try:
            return await asked
        except asyncio.CancelledError:
            connection.abort()
            raise

    async def close(self) -> None:
        """Let go of all connections."""
        pools, self._pools = tuple(self._pools.values()), {}
        for pool in pools:
            pool.close()
        await asyncio.sleep(0)  # transports close on the loop's next turn

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> _Head | None:
        key = (method, url, *headers.items())
        head = self._heads.get(key)
        if head is None:
            head = _head(method, url, headers)
            if head is not None:
                if len(self._heads) >= _HEADS:  # tokens change
                    self._heads.clear()
                self._heads[key] = head
        return head

    def _pool(self, origin: _Origin) -> Pool:
        scheme, host, port = origin
        context = ssl.create_default_context(cadata=self._root) if scheme == "https" else None
        made = Pool(host, port, context, self._connections, self._connect_seconds, self._pool_seconds)
        return self._pools.setdefault(origin, made)


def _head(method: str, url: str, headers: Mapping[str, str]) -> _Head | None:
    """None for what cannot be a request: nothing of it may become a line of its own."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    named = {"host": parts.netloc, "user-agent": USER_AGENT, "accept": "*/*", **headers}
    fit = all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in named.items())
    if not (fit and _whole(parts) and _NAME.fullmatch(method) and _TARGET.fullmatch(target)):
        return None
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "content-length: "]
    return _Head((parts.scheme, parts.hostname or "", port), "\r\n".join(lines).encode("latin-1"))


def _whole(parts: SplitResult) -> bool:
    return bool(parts.hostname) and parts.netloc.isascii() and "@" not in parts.netloc
