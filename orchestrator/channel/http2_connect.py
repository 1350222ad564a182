"""Connecting by HTTP/2: TLS with certificates checked, ALPN, and the server's SETTINGS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from orchestrator.channel.http2 import IDLE_PING, Connection


class NotSpokenError(ConnectionError):
    """The other side was reached, and speaks no HTTP/2."""


async def connect(
    host: str,
    port: int,
    context: ssl.SSLContext,
    changed: Callable[[], None],
    *,
    idle_ping: timedelta = IDLE_PING,
    idle_end: timedelta | None = None,
) -> Connection:
    """Connect, and wait for the server's SETTINGS. The name is resolved anew each time.

    Raises:
        NotSpokenError: no HTTP/2 on the other side.
        OSError: the name, TCP or TLS.
    """
    made: list[Connection] = []

    def fresh() -> Connection:
        made.append(Connection(changed, idle_ping=idle_ping, idle_end=idle_end))
        return made[-1]

    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(fresh, host, port, ssl=context, server_hostname=host)
        await _greeted(connection)
    except BaseException:
        for one in made:
            one.abort()
        raise
    return connection


async def _greeted(connection: Connection) -> None:
    if not connection.spoken:
        raise NotSpokenError("no HTTP/2 here")
    await connection.ready
    if connection.retired:
        raise ConnectionError("closed at once")


def client_context(
    ca_file: Path | None = None, *, root_pem: bytes | None = None, protocols: Sequence[str] = ("h2",)
) -> ssl.SSLContext:
    """TLS 1.2 or later, certificates checked against the system's authorities or those given, HTTP/2 asked for.

    Raises:
        OSError: ``ca_file`` cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file, cadata=None if root_pem is None else root_pem.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    return context
