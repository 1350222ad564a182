"""Wake-ups: told that there is something to send, idle workers of every process look at once.

A hint and nothing more: workers look every half second anyway, so a ring that is lost costs that and no message.
``PUBLISH`` reaches every node of a cluster, keeps nothing, and needs no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress

import redis
import redis.asyncio

from orchestrator.limits.shared import PATIENCE, connect

AGAIN_SECONDS = 1.0
"""Until a server that went away is asked again."""
CHECK_SECONDS = 30.0
"""Between two looks whether the connection is alive."""


class Bell:
    """Rung in any process that shares ``address`` and ``name``, heard in all; without an address in this one alone."""

    def __init__(self, address: str | None, name: str) -> None:
        self._address = address
        self._channel = f"{{{name}}}:wake"
        self._client = None if address is None else connect(address)
        self._here: Callable[[], None] = lambda: None

    def ring(self) -> None:
        """Wake them, from any thread but the event loop's: a server that hangs is given half a second."""
        self._here()
        if self._client is not None:
            with suppress(redis.RedisError):
                self._client.publish(self._channel, b"")

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` on this loop at each ring, until cancelled."""
        loop = asyncio.get_running_loop()
        self._here = lambda: _soon(loop, heard)
        while True:
            if self._address is None:
                await asyncio.Event().wait()
            else:
                with suppress(redis.RedisError, OSError):
                    await self._follow(self._address, heard)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, address: str, heard: Callable[[], None]) -> None:
        client = redis.asyncio.Redis.from_url(address, socket_connect_timeout=PATIENCE, health_check_interval=10)
        async with client, aclosing(client.pubsub(ignore_subscribe_messages=True)) as ears:
            await ears.subscribe(self._channel)
            while True:
                if await ears.get_message(timeout=CHECK_SECONDS) is not None:
                    heard()


def _soon(loop: asyncio.AbstractEventLoop, heard: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is over: nobody is left to wake
        loop.call_soon_threadsafe(heard)
