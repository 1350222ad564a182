"""Wake-ups through Redis or Valkey: ``PUBLISH`` reaches every node of a cluster, keeps nothing, and needs no key.

A file of its own, which a deployment without such a server never loads: its client is 8 MB.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import redis
import redis.asyncio
from typing_extensions import override

from orchestrator.daemon.bell import Bell, Heard
from orchestrator.limits.shared import PATIENCE, connect

AGAIN_SECONDS = 1.0
"""Until a server that went away is asked again."""
CHECK_SECONDS = 30.0
"""Between two looks whether the connection is alive."""


class SharedBell(Bell):
    """Rung in any process that shares ``address`` and ``name``, heard in all."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__()
        self._address = address
        self._channel = f"{{{name}}}:wake"
        self._client = connect(address)

    @override
    def ring(self) -> None:
        """Wake them, from any thread but the event loop's: a server that hangs is given half a second."""
        super().ring()
        with suppress(redis.RedisError):
            self._client.publish(self._channel, b"")

    @override
    async def _follow(self, heard: Heard) -> None:
        while True:
            with suppress(redis.RedisError, OSError):
                await self._subscribed(heard)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _subscribed(self, heard: Heard) -> None:
        client = redis.asyncio.Redis.from_url(self._address, socket_connect_timeout=PATIENCE, health_check_interval=10)
        async with client, aclosing(client.pubsub(ignore_subscribe_messages=True)) as ears:
            await ears.subscribe(self._channel)
            while True:
                if await ears.get_message(timeout=CHECK_SECONDS) is not None:
                    heard()
