"""What comes back from providers: reports, replies, opens, and mail; and how each of them is believed.

A channel whose provider calls back implements :class:`Callbacks`; one whose mail comes back, :class:`Postbox`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import parse_qsl

from orchestrator.channel.base import OutcomeClass

MAX_FIELDS = 200
_MAX_ID = 2**63 - 1


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
    message_id: int | None = None
    """Ours, where the provider carries it back."""
    address: str = ""
    """Whom it is about, where a report may concern one of several, or somebody else than the message's own."""


class SeenDeed(StrEnum):
    """What a provider saw somebody, or something, do to a message."""

    OPEN = "open"
    CLICK = "click"


@dataclass(frozen=True, slots=True)
class Seen:
    """An open or a click that a provider counted. ``event_id`` makes taking it in twice harmless.

    ``machine``: the provider itself says that no person did it (Apple's mail privacy); ``network`` is a whole IP
    address and is cut short before it is kept.
    """

    event_id: str
    provider_id: str
    deed: SeenDeed
    at: datetime
    message_id: int | None = None
    url: str = ""
    agent: str = ""
    network: str = ""
    machine: bool = False


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


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """One POST of a provider.

    ``url``: the public one that was called, query included. ``hook``: the path after the account's name (``status``,
    ``events/SECRET``). ``headers`` have lower-case names; ``body`` is raw, and at most 1 MB.
    """

    url: str
    hook: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def form(self) -> dict[str, str] | None:
        """The fields of a form; None for what is no form."""
        try:
            fields = parse_qsl(self.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
        except ValueError:
            return None
        return dict(fields)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a genuine callback says, and the answer that its provider wants once all of it is on disk."""

    said: Sequence[Report | Reply | Seen] = ()
    answer: bytes = b""
    media_type: str = "application/json"

    @property
    def status(self) -> int:
        """200 with an answer, 204 without."""
        return 200 if self.answer else 204


class Refused(StrEnum):
    """Why a callback is not believed. It changes nothing."""

    FORGED = "forged"
    """Not signed by the provider, or not with the secret path: 403."""
    STALE = "stale"
    """Signed too long ago, or of the future: 403."""
    MALFORMED = "malformed"
    """Genuine perhaps, and unreadable: 400."""
    LATER = "later"
    """It cannot be checked now (a certificate does not load): 503, so that the provider tries again."""


class Callbacks(Protocol):
    """What a channel implements besides :class:`Channel` when its provider calls back: ``/callbacks/ACCOUNT/HOOK``."""

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Whether the provider said this, and what. May ask the provider; never raises but cancellation."""
        ...


def carried_id(text: str) -> int | None:
    """The message id that a decimal string carries, or None when it carries none."""
    plausible = text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_ID))
    return int(text) if plausible and int(text) <= _MAX_ID else None
