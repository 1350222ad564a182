"""HTTP/1.1 by hand: for SMS and mail, which must not be late, and for servers that speak no HTTP/2 to who sends much.

It costs a quarter of the general client's price, and knows the instant at which a request begins to be written.

The same promises as :class:`~orchestrator.channel.transport.Transport`, held to them by the same tests: one request,
one answer, no redirects, no proxies, no retries; and what failed before a byte of it was written has not left. Answers
are read by llhttp, the parser of Node.js; TLS is Python's, with the system's authorities.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Mapping
from datetime import timedelta

from orchestrator.channel.request_head import Head, Origin, read_head
from orchestrator.channel.transport import ANSWER_LIMIT, CONNECT_TIMEOUT, POOL_TIMEOUT, Answer, Failure, NoAnswer
from orchestrator.channel.wire_pool import Pool

_HEADS = 256


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
        self._heads: dict[tuple[object, ...], tuple[Origin, bytes]] = {}
        self._pools: dict[Origin, Pool] = {}

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
        origin, text = head
        pool = self._pools.get(origin) or self._pool(origin)
        connection = pool.idle_one() or await pool.take()
        if isinstance(connection, NoAnswer):
            return connection
        if time.monotonic() >= begin_by:
            pool.freed(connection)
            return NoAnswer(Failure.POOL, left=False)
        content = body or b""
        asked = connection.ask(b"%b%d\r\n\r\n%b" % (text, len(content), content), limit, self._seconds)
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

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[Origin, bytes] | None:
        """Where a request goes, and all of it that stands before the length of its body."""
        key = (method, url, *headers.items())
        known = self._heads.get(key)
        if known is None and (head := read_head(method, url, headers)) is not None:
            if len(self._heads) >= _HEADS:  # tokens change
                self._heads.clear()
            known = self._heads[key] = head.origin, _text(head)
        return known

    def _pool(self, origin: Origin) -> Pool:
        scheme, host, port = origin
        context = ssl.create_default_context(cadata=self._root) if scheme == "https" else None
        made = Pool(host, port, context, self._connections, self._connect_seconds, self._pool_seconds)
        return self._pools.setdefault(origin, made)


def _text(head: Head) -> bytes:
    """All that stands before the length of the body."""
    named = {"host": head.authority, **head.headers}
    lines = [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join([f"{head.method} {head.target} HTTP/1.1", *lines, "content-length: "]).encode("latin-1")
