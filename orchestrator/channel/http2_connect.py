"""Connecting by HTTP/2: TLS with certificates checked, ALPN, and the server's SETTINGS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from orchestrator.channel.http2 import IDLE_PING, Connection


async def connect(
    host: str, port: int, context: ssl.SSLContext, changed: Callable[[], None], *, idle_ping: timedelta = IDLE_PING
) -> Connection:
    """Connect, and wait for the server's SETTINGS. The name is resolved anew each time.

    Raises:
        OSError: the name, TCP, TLS, or no HTTP/2 on the other side.
    """
    made: list[Connection] = []

    def fresh() -> Connection:
        made.append(Connection(changed, idle_ping=idle_ping))
        return made[-1]

    loop = asyncio.get_running_loop()
    try:
        transport, connection = await loop.create_connection(fresh, host, port, ssl=context, server_hostname=host)
        await _greeted(transport, connection)
    except BaseException:
        for one in made:
            one.abort()
        raise
    return connection


async def _greeted(transport: asyncio.Transport, connection: Connection) -> None:
    if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
        raise ConnectionError("no HTTP/2 here")
    await connection.ready
    if connection.retired:
        raise ConnectionError("closed at once")


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, certificates checked against the system's authorities or those in ``ca_file``, HTTP/2 alone.

    Raises:
        OSError: ``ca_file`` cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context
