"""What Twilio posts to its customers: status callbacks and inbound messages, signed, in order per message.

A few requests are in flight at a time; each is tried at most three times, and never waited for by the request that
caused it. What is still to be posted when the sandbox stops is lost, as it may be with the real one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urldefrag, urlencode

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from twilio.request_validator import RequestValidator

from orchestrator.sandbox.faults import FaultBook, Kind

IN_FLIGHT = 8
TRIES = 3
RETRY_SECONDS = 0.5
ANSWER_WITHIN = timedelta(seconds=15)  # Twilio's own patience

Form = Mapping[str, str]


@dataclass(slots=True)
class _Conversation:
    """The posts about one message, in order."""

    url: str
    forms: deque[Form]
    forged: bool
    tries: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(16))


class Webhooks:
    """The poster. ``delay`` is the seconds before each post; ``done`` hears ``posted`` or ``failed`` for each."""

    def __init__(self, auth_token: str, faults: FaultBook, delay: float, done: Callable[[str], None]) -> None:
        self._honest = RequestValidator(auth_token)
        self._forger = RequestValidator(secrets.token_hex(16))
        self._faults = faults
        self._delay = delay
        self._done = done
        self._queue: asyncio.Queue[_Conversation] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._client: Client | None = None

    def start(self) -> None:
        """Begin posting, on the running loop."""
        builder = ClientBuilder().no_proxy().follow_redirects(False).timeout(ANSWER_WITHIN)  # noqa: FBT003  # its API
        self._client = builder.user_agent("TwilioProxy/1.1").pool_idle_timeout(timedelta(seconds=2)).build()
        self._workers = [asyncio.create_task(self._work()) for _ in range(IN_FLIGHT)]

    async def stop(self) -> None:
        """Stop posting."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def post(self, url: str, forms: Iterable[Form], person: str) -> None:
        """Post ``forms`` to ``url``, one after the other; ``person`` is whom faults are matched with."""
        fault = self._faults.draw("callback", person)
        kind = fault.kind if fault else None
        listed = list(forms)
        if kind is Kind.LOST:
            return
        if kind is Kind.REORDER:
            listed.reverse()
        if kind is Kind.DUPLICATE:
            listed = [form for form in listed for _ in range(2)]
        self._later(_Conversation(urldefrag(url).url, deque(listed), kind is Kind.FORGED), self._delay)

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
        conversation.forms.popleft()
        conversation.tries = 0
        if conversation.forms:
            self._later(conversation, self._delay)

    async def _posted(self, conversation: _Conversation) -> bool:
        """Whether the customer took it; a refusal in the 400s is final, as it is for Twilio."""
        assert self._client is not None
        form = dict(conversation.forms[0])
        signer = self._forger if conversation.forged else self._honest
        try:
            request = self._client.post(conversation.url).headers(
                {
                    "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
                    "X-Twilio-Signature": signer.compute_signature(conversation.url, form),
                    "I-Twilio-Idempotency-Token": conversation.token,
                }
            )
            answer = await request.body_bytes(urlencode(form).encode()).build().send()
        except (PyreqwestError, ValueError):
            return False
        return answer.status < 500  # noqa: PLR2004  # as HTTP has it
