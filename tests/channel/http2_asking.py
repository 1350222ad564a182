"""A pool of HTTP/2 connections that asks a far end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.channel.http2 import Connection
from orchestrator.channel.http2_connect import client_context
from orchestrator.channel.http2_fields import Fields, plain, secret
from orchestrator.channel.http2_pool import Pool
from orchestrator.channel.transport import Answer, Failure, NoAnswer
from tests.channel.http2_end import (
    Act,
    Http2End,
    answers,
)

OK = answers(200)
Result = Answer | NoAnswer


def proves(_pool: Pool, connection: Connection, answer: Answer) -> None:
    connection.proven = True


def fields(path: str = "/m", field: Callable[[str, str], object] = secret) -> Fields:
    head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost")]
    return [*(plain(*each) for each in head), field(":path", path), field("authorization", "bearer abc")]  # type: ignore[list-item]


@asynccontextmanager
async def opened(
    tls: ssl.SSLContext, ca_file: Path, *acts: Act, patience: float = 2.0, connections: int = 1, **far_options: Any
) -> AsyncIterator[tuple[Pool, Http2End]]:
    async with Http2End(tls, **far_options).plays(*(acts or (OK,))) as far:
        timeout = timedelta(seconds=patience)
        pool = Pool(far.url, client_context(ca_file), proves, connections=connections, timeout=timeout)
        try:
            yield pool, far
        finally:
            await pool.close()


async def ask(pool: Pool, path: str = "/m", body: bytes = b"body") -> Result:
    return await pool.request(lambda _: fields(path), body)


NOT_PROCESSED = NoAnswer(Failure.REFUSED, left=False)
BROKEN = NoAnswer(Failure.BROKEN, left=True)


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(2):
        while not fact():  # noqa: ASYNC110  # what is waited for happens on the other side
            await asyncio.sleep(0.005)
