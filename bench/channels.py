"""Channels for benchmarks: one that answers at once, and a wrapper that counts what another one takes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle

from typing_extensions import override

from orchestrator.channel.base import Ambiguity, Channel, Envelope, Inquiry, Outcome, OutcomeClass, Payload
from orchestrator.channel.push.fcm_message import problems

ACCEPTED = Outcome(OutcomeClass.ACCEPTED, code="200", provider_id="projects/bench/messages/0")


class NullChannel:
    """Accepts every push at once: what is left is the price of the door itself."""

    channel = "push"
    provider = "fcm"
    kinds = frozenset({"token"})
    ambiguity = Ambiguity.RESEND
    timeout = timedelta(seconds=10)

    async def send(self, envelope: Envelope) -> Outcome:
        """Yes."""
        del envelope
        return ACCEPTED

    def problems(self, payload: Payload) -> list[str]:
        """What the real channel checks."""
        return problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Nothing is known."""
        del inquiry
        return None

    async def close(self) -> None:
        """Nothing to let go of."""


class SlowChannel(NullChannel):
    """Accepts every push after a while, as providers far away do: after a tenth of a second, more or less."""

    usual = 0.1
    """Seconds."""

    def __init__(self) -> None:
        self._next = cycle(range(50, 151))

    @override
    async def send(self, envelope: Envelope) -> Outcome:
        """Yes, by and by."""
        await asyncio.sleep(next(self._next) / 1000)
        return await super().send(envelope)


@dataclass(slots=True)
class Counted:
    """Another channel, with a list of what was sent through it; ``done`` is set when ``expected`` have been."""

    inner: Channel
    expected: int
    sent: list[str] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    channel: str = field(init=False)
    provider: str = field(init=False)
    kinds: frozenset[str] = field(init=False)
    ambiguity: Ambiguity = field(init=False)
    timeout: timedelta = field(init=False)

    def __post_init__(self) -> None:
        self.channel, self.provider, self.kinds = self.inner.channel, self.inner.provider, self.inner.kinds
        self.ambiguity, self.timeout = self.inner.ambiguity, self.inner.timeout

    async def send(self, envelope: Envelope) -> Outcome:
        """Send, and count."""
        outcome = await self.inner.send(envelope)
        self.sent.append(envelope.message_id)
        if len(self.sent) >= self.expected:
            self.done.set()
        return outcome

    def problems(self, payload: Payload) -> list[str]:
        """What the other one says."""
        return self.inner.problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """What the other one knows."""
        return await self.inner.reconcile(inquiry)

    async def close(self) -> None:
        """Close the other one."""
        await self.inner.close()
