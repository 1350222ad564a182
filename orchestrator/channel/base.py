"""What a channel is: the payloads it carries, the protocol it speaks, and the one vocabulary of its answers.

Source of the vocabulary: the classes all providers' answers are sorted into, with what the dispatcher does for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol


class OutcomeClass(StrEnum):
    """What an answer means, whoever gave it."""

    ACCEPTED = "accepted"
    """The provider took it and gave an id. Not delivered, not shown."""
    RETRY = "retry"
    """Transient, no wait named: back off with jitter, same message."""
    RETRY_AFTER = "retry_after"
    """Transient, a wait was named: never earlier; the whole account slows down when the scope is the account."""
    DROP_ADDRESS = "drop_address"
    """This token or number is dead: end the address, fail the message."""
    SUPPRESS = "suppress"
    """The person refuses: suppress, fail the message."""
    DROP_MESSAGE = "drop_message"
    """This payload cannot be sent; the address is fine."""
    STOP_CHANNEL = "stop_channel"
    """Our credentials or configuration are wrong: stop the account, keep messages queued, call an operator."""
    AMBIGUOUS = "ambiguous"
    """It may or may not have been accepted: never silently a retry."""


class Scope(StrEnum):
    """Whom a RETRY_AFTER or STOP_CHANNEL concerns."""

    MESSAGE = "message"
    ADDRESS = "address"
    ACCOUNT = "account"


class Ambiguity(StrEnum):
    """What is done with a message that may have been accepted."""

    RESEND = "resend"
    """Send again under the same collapse key: at worst shown once more in place."""
    HOLD = "hold"
    """State ``unknown``: listed, reconciled, never silently sent again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer to one request.

    ``detail`` is the provider's words without address, token or body, at most 300 characters.
    """

    kind: OutcomeClass
    code: str = ""
    provider_id: str | None = None
    retry_after: timedelta | None = None
    scope: Scope = Scope.MESSAGE
    detail: str = ""
    uncharted: bool = False
    """The code is in no table of ours; a default rule classified it."""
    at_most: int | None = None
    """Retries of this answer, at most; None: the message's own budget."""
    may_have_left: bool = True
    """Whether the request may have left this machine (False: certainly not sent)."""


@dataclass(frozen=True, slots=True)
class PushPayload:
    """A notification. ``data`` values are strings; ``link`` opens inside the app."""

    title: str
    body: str
    link: str = ""
    image: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SmsPayload:
    """A text message, as it will be billed."""

    body: str


@dataclass(frozen=True, slots=True)
class EmailPayload:
    """A mail, always in both parts. ``unsubscribe``: its own one-click address (RFC 8058); empty in previews."""

    subject: str
    text: str
    html: str
    unsubscribe: str = ""


Payload = PushPayload | SmsPayload | EmailPayload


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message ready to leave.

    ``message_id`` is ours (decimal string), stable over retries; ``collapse_key`` too. ``ttl`` is how long the provider
    may keep trying: it ends with the recipient's window. ``attempt`` starts at 1.
    """

    message_id: str
    attempt: int
    address: str
    address_kind: str
    payload: Payload
    ttl: timedelta
    collapse_key: str


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What reconciliation asks a provider about: a message whose answer was lost."""

    message_id: str
    address: str
    payload: Payload
    sent_at: datetime


class Channel(Protocol):
    """One account at one provider. Safe to use from many tasks of one event loop.

    ``send`` makes at most one request that carries the message, may block as long as ``timeout``, and never raises but
    ``asyncio.CancelledError``. The daemon closes it.
    """

    channel: str
    provider: str
    ambiguity: Ambiguity
    timeout: timedelta

    async def send(self, envelope: Envelope) -> Outcome:
        """One request for one message."""
        ...

    def problems(self, payload: Payload) -> list[str]:
        """Why this payload would be refused whoever it went to (sizes, reserved keys); empty when it is fine."""
        ...

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """What became of a message whose answer was lost: ACCEPTED, DROP_MESSAGE (it never arrived), None (unclear)."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ReportState(StrEnum):
    """What a provider's later report says became of a message."""

    SENT = "sent"
    """On its way; no news for the ledger beyond ``accepted``."""
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"


@dataclass(frozen=True, slots=True)
class Report:
    """A provider's later word on one message. ``kind``: what an error code means for address or person, if anything.

    ``refusal``: with SUPPRESS, the reason of the suppression: provider, complaint or unsubscribe.
    """

    provider_id: str
    status: str
    state: ReportState
    code: str = ""
    kind: OutcomeClass | None = None
    refusal: str = "provider"


@dataclass(frozen=True, slots=True)
class Reply:
    """A person wrote back. ``provider_id`` makes taking it in twice harmless."""

    provider_id: str
    address: str
    text: str


class Purpose(StrEnum):
    """What a signed message id in a mail is for."""

    MESSAGE = "message"
    """The Message-ID: quoted in bounces, complaints and answers."""
    BOUNCE = "bounce"
    """The envelope sender (VERP): where mail servers send bounces."""
    UNSUBSCRIBE = "unsubscribe"
    """The address to which a mail program writes when somebody unsubscribes."""


@dataclass(frozen=True, slots=True)
class Postmark:
    """A message of ours that a returning mail names, proven by our own signature."""

    purpose: Purpose
    message_id: int


class Postbox(Protocol):
    """What a channel implements besides :class:`Channel` when mails about its messages come back."""

    def postmarks(self, text: str) -> list[Postmark]:
        """Every message of this account that a text names by a genuine signature."""
        ...


class Callbacks(Protocol):
    """What a channel implements besides :class:`Channel` when its provider calls back."""

    def genuine(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        """Whether the provider signed this; ``url`` is the public one that was called, query included."""
        ...

    def read(self, form: Mapping[str, str]) -> Report | Reply | None:
        """What a genuine callback says; None when it says nothing we use."""
        ...
