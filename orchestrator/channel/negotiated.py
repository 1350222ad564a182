"""HTTP/2 where a server speaks it, HTTP/1.1 where it does not: for FCM, which gets a request for every message.

A hundred messages share a connection, and what is sent in one turn of the loop leaves in one TLS record and one system
call. Which of the two it is, the TLS handshake says (ALPN), before anything of a request is written; in clear, to this
machine alone, it is HTTP/1.1. The same promises as :class:`~orchestrator.channel.transport.Transport`, held to them by
the same tests, and one more: what the server says it did not process has certainly not been accepted.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from orchestrator.channel.http2_connect import client_context
from orchestrator.channel.http2_fields import LARGEST_TABLE, Field, Fields, literal, plain, size_of
from orchestrator.channel.http2_pool import Pool
from orchestrator.channel.request_head import Head, Origin, read_head
from orchestrator.channel.transport import (
    ANSWER_LIMIT,
    CONNECT_TIMEOUT,
    POOL_TIMEOUT,
    Answer,
    Failure,
    NoAnswer,
)
from orchestrator.channel.wire import Wire

_SHARED = 10
"""Connections that carry many requests at once, at most; another one is opened when those there are half full."""
_IDLE_END = timedelta(minutes=1)
"""After so long without a word a router between may have forgotten a connection without telling anybody."""
_ASKED_AGAIN = timedelta(hours=1)
"""For so long a server that spoke HTTP/1.1 is not asked for HTTP/2 again."""
_HEADS = 256
_OF_ONE_CONNECTION = frozenset({"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
"""What HTTP/2 has no place for (RFC 9113 §8.2.2)."""


class _Shared(NamedTuple):
    """A head as HTTP/2 writes it, and who carries it."""

    origin: Origin
    pool: Pool
    fields: Sequence[Field]


class Negotiated:
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
        """``connections``: with one request at a time, to each server, at most."""
        self._patience = timeout
        self._wait = pool_timeout + min(connect_timeout, timeout / 2)
        self.timeout = timeout + self._wait
        self._wire = Wire(
            timeout,
            connections=connections,
            pool_timeout=pool_timeout,
            connect_timeout=connect_timeout,
            root_pem=root_pem,
        )
        self._root_pem = root_pem
        self._context: ssl.SSLContext | None = None
        self._shared: dict[tuple[object, ...], _Shared] = {}
        self._pools: dict[Origin, Pool] = {}
        self._room: dict[Origin, int] = {}
        """Bytes of heads that the connections to a server can still remember."""
        self._older: dict[Origin, float] = {}
        """Servers that spoke HTTP/1.1 alone, and until when (monotonic) they are taken for such."""

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
        shared = self._head(method, url, headers) if url.startswith("https:") else None
        if shared is not None and not self._is_older(shared.origin):
            content = body or b""
            fields = [*shared.fields, literal("content-length", str(len(content)))]
            answer = await shared.pool.request(lambda _: fields, content, begin_by=begin_by)
            if not self._unspoken(shared, answer):
                return answer if isinstance(answer, NoAnswer) or len(answer.body) <= limit else _cut(answer, limit)
        return await self._wire.request(method, url, headers=headers, body=body, limit=limit, begin_by=begin_by)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._wire.close()
        pools, self._pools = tuple(self._pools.values()), {}
        self._shared.clear()
        for pool in pools:
            await pool.close()

    def _unspoken(self, shared: _Shared, answer: Answer | NoAnswer) -> bool:
        """Whether nothing was sent because the server speaks HTTP/1.1; for a while it is not asked again."""
        if not (shared.pool.unspoken and answer == NoAnswer(Failure.CONNECT, left=False)):
            return False
        self._older[shared.origin] = time.monotonic() + _ASKED_AGAIN.total_seconds()
        return True

    def _is_older(self, origin: Origin) -> bool:
        until = self._older.get(origin)
        if until is not None and time.monotonic() >= until:
            del self._older[origin]
            return False
        return until is not None

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> _Shared | None:
        """None: HTTP/1.1 it is, or nothing at all."""
        key = (method, url, *headers.items())
        known = self._shared.get(key)
        if known is None and (head := read_head(method, url, headers)) is not None and (fields := _fields(head)):
            if len(self._shared) >= _HEADS:  # tokens change
                self._shared.clear()
            pool = self._pools.get(head.origin) or self._pool(head.origin)
            self._remember(head.origin, pool, fields)
            known = self._shared[key] = _Shared(head.origin, pool, fields)
        return known

    def _remember(self, origin: Origin, pool: Pool, fields: Fields) -> None:
        """Tokens change: connections whose tables are full of old ones are replaced, or each head was written out."""
        left = self._room.get(origin, LARGEST_TABLE) - size_of(fields)
        if left < 0:
            pool.renew()
            left = LARGEST_TABLE - size_of(fields)
        self._room[origin] = left

    def _pool(self, origin: Origin) -> Pool:
        if self._context is None:
            self._context = client_context(root_pem=self._root_pem, protocols=("h2", "http/1.1"))
        _, host, port = origin
        name = f"[{host}]" if ":" in host else host
        made = Pool(
            f"https://{name}:{port}",
            self._context,
            None,
            connections=_SHARED,
            timeout=self._patience,
            idle_end=_IDLE_END,
            wait=self._wait,
        )
        return self._pools.setdefault(origin, made)


def _fields(head: Head) -> Fields | None:
    """The fields, each of which the connection remembers; None when one of them cannot be written so."""
    named = {name.lower(): value for name, value in head.headers.items()}
    if not _OF_ONE_CONNECTION.isdisjoint(named) or not all(value.isascii() for value in named.values()):
        return None
    pseudo = {":method": head.method, ":scheme": head.origin[0], ":authority": head.authority, ":path": head.target}
    return [plain(name, value) for name, value in (*pseudo.items(), *named.items())]


def _cut(answer: Answer, limit: int) -> Answer:
    return replace(answer, body=answer.body[:limit], whole=False)
