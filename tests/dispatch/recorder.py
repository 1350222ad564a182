"""A channel that writes down each request with the business time of its beginning, and answers as it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from typing_extensions import override

from orchestrator.channel.base import Ambiguity, Envelope, Inquiry, Outcome, OutcomeClass, Payload
from orchestrator.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    message: str
    at: datetime
    monotonic: float
    ttl: timedelta


ACCEPTED = Outcome(OutcomeClass.ACCEPTED, provider_id="p")


@dataclass
class Recorder:
    """A push provider in this process."""

    clock: Clock
    answer: Callable[[Envelope], Outcome] = lambda _: ACCEPTED
    calls: list[Call] = field(default_factory=list)
    channel: str = "push"
    provider: str = "recorder"
    kinds: frozenset[str] = frozenset({"token"})
    ambiguity: Ambiguity = Ambiguity.HOLD
    timeout: timedelta = timedelta(seconds=5)

    async def send(self, envelope: Envelope) -> Outcome:
        """Take it down."""
        call = Call(envelope.message_id, self.clock.now(), self.clock.monotonic(), envelope.ttl)
        self.calls.append(call)
        return self.answer(envelope)

    def problems(self, payload: Payload) -> list[str]:
        """None."""
        del payload
        return []

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Nothing is in doubt."""
        del inquiry
        return None

    async def close(self) -> None:
        """Nothing is open."""


class SteppedClock(SystemClock):
    """Business time that jumps when it is told, on a machine whose own time goes on."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    @override
    def now(self) -> datetime:
        return self.instant
