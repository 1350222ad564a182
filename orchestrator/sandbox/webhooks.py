"""What providers post to their customers: receipts and replies, signed as each signs them, in order per message.

A few requests are in flight at a time; each is tried at most three times, and never waited for by the request that
caused it. What is still to be posted when the sandbox stops is lost, as it may be with the real one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from urllib.parse import urldefrag

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from orchestrator.sandbox.faults import FaultBook, Kind

IN_FLIGHT = 8
TRIES = 3
RETRY_SECONDS = 0.5
ANSWER_WITHIN = timedelta(seconds=15)  # the patience of most


class Post(Protocol):
    """One thing to be posted, in its provider's shape."""

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body, signed for ``url`` now; with a wrong key when ``forged``."""
        ...


@dataclass(slots=True)
class _Conversation:
    """The posts about one message, in order."""

    url: str
    posts: deque[Post]
    forged: bool
    tries: int = 0


class Webhooks:
    """The poster. ``delay`` is the seconds before each post; ``done`` hears ``posted`` or ``failed`` for each."""

    def __init__(self, faults: FaultBook, delay: float, done: Callable[[str], None]) -> None:
        self._faults = faults
        self._delay = delay
        self._done = done
        self._queue: asyncio.Queue[_Conversation] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._client: Client | None = None

    def start(self) -> None:
        """Begin posting, on the running loop."""
        builder = ClientBuilder().no_proxy().follow_redirects(False).timeout(ANSWER_WITHIN)  # noqa: FBT003  # its API
        self._client = builder.pool_idle_timeout(timedelta(seconds=2)).build()
        self._workers = [asyncio.create_task(self._work()) for _ in range(IN_FLIGHT)]

    async def stop(self) -> None:
        """Stop posting."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def post(self, url: str, posts: Iterable[Post], person: str) -> None:
        """Post to ``url``, one after the other; ``person`` is whom faults are matched with."""
        fault = self._faults.draw("callback", person)
        kind = fault.kind if fault else None
        listed = list(posts)
        if kind is Kind.LOST:
            return
        if kind is Kind.REORDER:
            listed.reverse()
        if kind is Kind.DUPLICATE:
            listed = [each for each in listed for _ in range(2)]
        late = fault.seconds if fault is not None and kind is Kind.LATE else 0.0
        conversation = _Conversation(urldefrag(url).url, deque(listed), kind is Kind.FORGED)
        self._later(conversation, self._delay + late)

    def _later(self, conversation: _Conversation, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._queue.put_nowait, conversation)

    async def _work(self) -> None:
        while True:
            await self._step(await self._queue.get())

    async def _step(self, conversation: _Conversation) -> None:
        conversation.tries += 1
        taken = await self._posted(conversation)
        if not taken and conversation.tries < TRIES:
            self._later(conversation, RETRY_SECONDS * conversation.tries)
            return
        self._done("posted" if taken else "failed")
        conversation.posts.popleft()
        conversation.tries = 0
        if conversation.posts:
            self._later(conversation, self._delay)

    async def _posted(self, conversation: _Conversation) -> bool:
        """Whether the customer took it; a refusal in the 400s is final, as it is for most."""
        assert self._client is not None
        post, forged = conversation.posts[0], conversation.forged
        headers, body = post.request(conversation.url, forged=forged)
        # Who signs nothing is known by a path that nobody else knows: a forger has to guess it.
        url = f"{conversation.url}0" if forged and getattr(post, "by_path", False) else conversation.url
        try:
            request = self._client.post(url).headers(dict(headers))
            answer = await request.body_bytes(body).build().send()
        except (PyreqwestError, ValueError):
            return False
        return answer.status < 500  # noqa: PLR2004  # as HTTP has it
