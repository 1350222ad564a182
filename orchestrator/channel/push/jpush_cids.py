"""JPush's push identifiers (``cid``): the same one sent twice is pushed once. Source: Jiguang, "Advanced features API".

They cannot be made up: they are fetched, some at a time, and are good for a day. One is bound to a message before its
first attempt and kept until the message has a definite answer, so a retry of this process is never a second push.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from orchestrator.channel.base import Outcome
from orchestrator.clock import Clock

GOOD_FOR = timedelta(hours=23)
"""A day by the documentation; an hour less, because a retry comes later than its first attempt."""
MOST_BOUND = 100_000
_SAME_FAILURE_SECONDS = 1.0

Fetch = Callable[[], Awaitable[list[str] | Outcome]]


class Cids:
    """The identifiers of one app. ``fetch`` asks for some more; it is never under way twice at a time."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._free: deque[tuple[str, datetime]] = deque()
        self._bound: OrderedDict[str, tuple[str, datetime]] = OrderedDict()
        self._fetching = asyncio.Lock()
        self._failure: tuple[Outcome, float] | None = None

    async def of(self, message_id: str) -> str | Outcome:
        """The identifier of a message: the one it had, else a fresh one; or why there is none."""
        known = self._bound.get(message_id)
        if known is not None and self._good(known[1]):
            return known[0]
        async with self._fetching:
            taken = self._take() or await self._more()
        if isinstance(taken, Outcome):
            return taken
        self._bound[message_id] = taken
        while len(self._bound) > MOST_BOUND:
            self._bound.popitem(last=False)
        return taken[0]

    def settled(self, message_id: str) -> None:
        """The message has a definite answer: it will not be sent again."""
        self._bound.pop(message_id, None)

    def _take(self) -> tuple[str, datetime] | None:
        while self._free:
            taken = self._free.popleft()
            if self._good(taken[1]):
                return taken
        return None

    async def _more(self) -> tuple[str, datetime] | Outcome:
        if self._failure is not None and self._clock.monotonic() - self._failure[1] < _SAME_FAILURE_SECONDS:
            return self._failure[0]  # all who waited for this fetch share its failure
        at = self._clock.machine()
        fetched = await self._fetch()
        if isinstance(fetched, Outcome):
            self._failure = fetched, self._clock.monotonic()
            return fetched
        self._failure = None
        self._free.extend((cid, at) for cid in fetched)
        return self._free.popleft()

    def _good(self, fetched_at: datetime) -> bool:
        return self._clock.machine() - fetched_at < GOOD_FOR
