"""What the door is held against: the same writes, and the same requests, without any logic."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import uvloop
from pyreqwest.client import ClientBuilder

from bench.population import NOW
from orchestrator.channel.base import Envelope, PushPayload
from orchestrator.channel.cached_token import Token
from orchestrator.channel.push.fcm_auth import Exchange, load_service_account
from orchestrator.channel.push.fcm_message import message_json
from orchestrator.channel.transport import Transport
from orchestrator.clock import SystemClock
from orchestrator.store import Store

_BACK = "UPDATE message SET state = 'planned', worker_id = NULL, provider_id = NULL WHERE state = 'accepted'"
_CLAIM = """
    UPDATE message SET state = 'claimed', worker_id = 1, state_at = 1 WHERE id IN (
        SELECT id FROM message WHERE state = 'planned' AND lane_id = ? ORDER BY due_at LIMIT ?) RETURNING id"""
_MARK = "UPDATE message SET state = 'sending', attempts = attempts + 1, sent_at = 2, state_at = 2 WHERE id = ?"
_SETTLE = "UPDATE message SET state = 'accepted', worker_id = NULL, provider_id = ?, state_at = 3 WHERE id = ?"
_ATTEMPT = "INSERT INTO attempt VALUES (?, 1, 1, 'fcm', 1, 2, 'accepted', '200', ?, '')"
_NAME = "projects/bench/messages/0"


def grouped_transactions(store: Store, size: int) -> float:
    """Messages a second through the three transactions alone, in batches of ``size``, on the same rows."""
    assert store.path is not None
    connection = sqlite3.connect(store.path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-32768")
    moved = connection.execute(_BACK).rowcount
    connection.execute("DELETE FROM attempt")
    [lane] = connection.execute("SELECT lane_id FROM message LIMIT 1").fetchone()
    began, done = time.perf_counter(), 0
    while done < moved:
        connection.execute("BEGIN IMMEDIATE")
        batch = connection.execute(_CLAIM, (lane, size)).fetchall()
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_MARK, batch)
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_SETTLE, [(_NAME, message) for (message,) in batch])
        connection.executemany(_ATTEMPT, [(message, _NAME) for (message,) in batch])
        connection.execute("COMMIT")
        done += len(batch)
    rate = moved / (time.perf_counter() - began)
    connection.close()
    return rate


BODY = message_json(
    Envelope("bench", 1, "token-1", "token", PushPayload("", ""), timedelta(minutes=30), "r1-1-1"),
    PushPayload("Lunch today: ramen?", "x" * 120, link="app://menu"),
    NOW,
)
"""A message as it goes over the wire."""


def protocols(options: Mapping[str, object]) -> Sequence[bool]:
    """In which protocols the bare client is tried: HTTP/1.1 (True), and over TLS whatever both speak (False)."""
    return (True, False) if "ca_file" in options else (True,)


def bare(options: Mapping[str, object], count: int, connections: int) -> float:
    """Requests a second of the bare client, pyreqwest, each the same small push, ``connections`` at a time.

    Over TLS in both protocols, one after the other, and the faster counts.
    """
    root = Path(str(options["ca_file"])).read_bytes() if "ca_file" in options else None
    tried = (_requests(options, root, count, connections, older=older) for older in protocols(options))
    return max(uvloop.run(one) for one in tried)


async def _requests(
    options: Mapping[str, object], root: bytes | None, count: int, connections: int, *, older: bool
) -> float:
    """``older``: HTTP/1.1, whatever else the server speaks."""
    service = load_service_account("fcm", "service_account_file", Path(str(options["service_account_file"])))
    transport = Transport(timedelta(seconds=10))
    token = await Exchange(service, transport, SystemClock())()
    await transport.close()
    assert isinstance(token, Token)
    url = f"{options['base_url']}/v1/projects/{service.project}/messages:send"
    headers = {"authorization": f"Bearer {token.value}", "content-type": "application/json; charset=utf-8"}
    builder = ClientBuilder().no_proxy().timeout(timedelta(seconds=10)).max_connections(1000)
    if older:
        builder = builder.http1_only()
    if root is not None:
        builder = builder.add_root_certificate_pem(root)
    client = builder.build()
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            answer = await client.post(url).headers(headers).body_bytes(BODY).build().send()
            assert answer.status == 200
            assert await answer.bytes()

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(connections)))
    seconds = time.perf_counter() - began
    await client.close()
    return count / seconds
