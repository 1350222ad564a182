"""The providers of the walk: they answer as they are told, and write down every request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from orchestrator.channel.base import ANY_KIND, Ambiguity, Envelope, Inquiry, Outcome, OutcomeClass, Payload, Scope
from orchestrator.clock import ManualClock
from tests.walk.afterwards import CODES, OUTCOMES
from tests.walk.shapes import ACCOUNTS, RESEND, Say


@dataclass(frozen=True, slots=True)
class Request:
    """What a provider was asked. ``took``: it is delivered, whatever was answered; ``id``: its own."""

    id: str
    account: str
    message: int
    address: str
    at: datetime
    until: datetime
    collapse: str
    took: bool


@dataclass
class Wire:
    """A provider: answers as it is told, and writes down every request."""

    account: str
    clock: ManualClock
    heard: list[Request]
    say: Callable[[Envelope], Say]
    timeout: timedelta = timedelta(seconds=5)
    kinds: frozenset[str] = ANY_KIND
    channel: str = field(init=False)
    provider: str = field(init=False)
    ambiguity: Ambiguity = field(init=False)

    def __post_init__(self) -> None:
        """Each account is a provider of its own."""
        self.channel, self.provider = ACCOUNTS[self.account], self.account
        self.ambiguity = Ambiguity.RESEND if RESEND[self.account] else Ambiguity.HOLD

    async def send(self, envelope: Envelope) -> Outcome:
        """Take it down, and answer."""
        said, now, number = self.say(envelope), self.clock.now(), f"W{len(self.heard) + 1}"
        told = (self.account, int(envelope.message_id), envelope.address, now, now + envelope.ttl)
        self.heard.append(Request(number, *told, envelope.collapse_key, said.took))
        kind = OutcomeClass(OUTCOMES[said.name])
        more: dict[str, Any] = {"retry_after": timedelta(seconds=said.wait)} if said.wait else {}
        more |= {"scope": Scope.ACCOUNT} if said.name == "account_wait" else {}
        more |= {"at_most": 1} if said.name == "retry_once" else {}
        more |= {"may_have_left": False} if said.name == "retry_unsent" else {}
        if kind is OutcomeClass.ACCEPTED:
            return Outcome(kind, provider_id=number)
        return Outcome(kind, CODES.get(said.name, said.name), **more)

    def problems(self, payload: Payload) -> list[str]:
        """None."""
        del payload
        return []

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """It does not say."""
        del inquiry
        return None

    async def close(self) -> None:
        """Nothing is open."""
