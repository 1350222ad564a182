"""What a channel is: the payloads it carries, the protocol it speaks, and the one vocabulary of its answers.

Source of the vocabulary: the classes all providers' answers are sorted into, with what the dispatcher does for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

ANY_KIND: frozenset[str] = frozenset({"*"})
"""The ``kinds`` of a channel that takes every address of its channel."""


ACK_LENGTH = 44
"""Characters of an acknowledgement (``Envelope.ack``): letters, digits, ``-`` and ``_``."""
ACK_ROOM = len("ack") + ACK_LENGTH
"""Bytes that ``ack`` takes as a key with its value, where keys and values are counted; JSON adds its quotes and signs.
``problems`` counts it always: a payload is judged before it is known whether the message has one."""


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
    dead_since: datetime | None = None
    """With DROP_ADDRESS: when the provider learnt it. An address that was registered later is alive (APNs 410)."""


@dataclass(frozen=True, slots=True)
class PushPayload:
    """A notification, an item of the in-app inbox, or a webhook's content.

    ``data`` values are strings; ``link`` opens inside the app.
    """

    title: str
    body: str
    link: str = ""
    image: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SmsPayload:
    """A text message, as it will be billed.

    ``approved`` and ``parameters``: the code of a template that the provider has approved, and what fills it, where
    free text is impossible (Aliyun); ``body`` is then what the person will read.
    """

    body: str
    approved: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmailPayload:
    """A mail, always in both parts. ``unsubscribe``: its own one-click address (RFC 8058); empty in previews."""

    subject: str
    text: str
    html: str
    unsubscribe: str = ""
    pieces: tuple[Sequence[str], Sequence[str]] | None = field(default=None, compare=False, repr=False)
    """Text and HTML once more, cut up, where that is known: each second piece is personal, the others mails share."""


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
    details: Mapping[str, str] = field(default_factory=dict)
    """What else is known of the address: ``environment`` and ``app`` of an APNs token, the keys of a Web Push one."""
    ack: str = ""
    """What the app shows when it reports this push as delivered or opened; empty: nothing is reported."""
    begin_by: float = math.inf
    """``time.monotonic()`` until when the message itself may begin to be written, the end of the lease or of the
    recipient's window: a channel that first has to ask and to wait looks at it again."""


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
    ``asyncio.CancelledError``. The daemon closes it. ``kinds`` are the kinds of addresses it can send to.
    """

    channel: str
    provider: str
    kinds: frozenset[str]
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


@runtime_checkable
class Feed(Protocol):
    """What a channel is besides :class:`Channel` when there is no provider behind it, but the app's own feed.

    What it accepts is written there as its message is settled, and is shown for ``keep``.
    """

    keep: timedelta


class Health(StrEnum):
    """What a check of an account found."""

    FINE = "fine"
    WARNING = "warning"
    """It works; something about it will hurt."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``doctor`` says of an account: what was looked at, what was found, what to do about it.

    Neither names a secret or a person.
    """

    health: Health
    what: str
    hint: str = ""


class Checks(Protocol):
    """What a channel implements besides :class:`Channel` when it can be checked without sending to anybody."""

    async def check(self) -> Sequence[Finding]:
        """Ask the provider whether credentials and configuration are right. Never raises but cancellation."""
        ...
