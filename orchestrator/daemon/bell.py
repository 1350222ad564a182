"""Wake-ups: told that there is something to send, idle workers look at once.

A hint and nothing more: workers look every half second anyway, so a ring that is lost costs that and no message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

Heard = Callable[[], None]


class Bell:
    """Rung and heard in this process alone; :mod:`orchestrator.daemon.shared_bell` has one of several processes."""

    def __init__(self) -> None:
        self._here: Heard = lambda: None

    def ring(self) -> None:
        """Wake them, from any thread but the event loop's."""
        self._here()

    async def listen(self, heard: Heard) -> None:
        """Call ``heard`` on this loop at each ring, until cancelled."""
        loop = asyncio.get_running_loop()
        self._here = lambda: _soon(loop, heard)
        await self._follow(heard)

    async def _follow(self, heard: Heard) -> None:
        """Hear what rings elsewhere, until cancelled."""
        del heard
        await asyncio.Event().wait()


def _soon(loop: asyncio.AbstractEventLoop, heard: Heard) -> None:
    with suppress(RuntimeError):  # the loop is over: nobody is left to wake
        loop.call_soon_threadsafe(heard)
