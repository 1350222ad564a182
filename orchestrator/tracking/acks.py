"""What the app says of a message itself: it was delivered, it was opened. Only the app's own code can say that.

A push carries a signed acknowledgement (``ack``), the inbox has its own marks; both end here. Delivered is a receipt of
the provider ``app``; opened is a ``message_opened`` event of a person, once per message, and proof of delivery too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import Connection, bindparam, select

from orchestrator import metrics
from orchestrator.audience.aliases import gone
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.ledger.receipts import record_receipt
from orchestrator.ledger.states import State
from orchestrator.store.tables import message, users
from orchestrator.tracking.ingest import as_instant

PROVIDER: Final = "app"
MAX_ACKS: Final = 100
_LONGEST: Final = 64
OPENED: Final = "message_opened"


class Deed(StrEnum):
    """What the app reports."""

    DELIVERED = "delivered"
    OPENED = "opened"


class Verdict(StrEnum):
    """What was done with an acknowledgement."""

    TAKEN = "taken"
    KNOWN = "known"
    """It was there already; nothing changed."""
    IGNORED = "ignored"
    """Not ours, too old, or about no message that we have (a test's) or of somebody erased: nothing changed."""


@dataclass(frozen=True, slots=True)
class Ack:
    """One report about one message, believed. ``at`` is when the phone says it was; ``by`` says how we know."""

    message_id: int
    deed: Deed
    at: datetime
    by: str = "ack"


class AckIn(BaseModel):
    """One report as the app sends it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ack: Annotated[str, Field(min_length=1, max_length=_LONGEST, description="what the push carried as `ack`")]
    kind: Deed
    at: Annotated[datetime | None, BeforeValidator(as_instant)] = None


class AcksIn(BaseModel):
    """Several reports in one request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acks: Annotated[list[AckIn], Field(min_length=1, max_length=MAX_ACKS)]


_BODY: TypeAdapter[AckIn | AcksIn] = TypeAdapter(AckIn | AcksIn)


def read_acks(body: bytes) -> list[AckIn] | None:
    """The reports of a request; None when it cannot be read."""
    try:
        read = _BODY.validate_python(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError):
        return None
    return read.acks if isinstance(read, AcksIn) else [read]


def believed(said: Iterable[AckIn], message_of: Callable[[str], int | None], now: datetime) -> list[Ack]:
    """The reports whose token is genuine: ``message_of`` says which message one is about."""
    known = ((one, message_of(one.ack)) for one in said)
    return [Ack(number, one.kind, one.at or now) for one, number in known if number]


_SENT = (
    select(message.c.id, message.c.sent_at, users.c.external_id)
    .join(users, users.c.id == message.c.user_id)
    .where(message.c.id.in_(bindparam("ids", expanding=True)), message.c.sent_at.is_not(None), ~gone(users.c.id))
)


@dataclass(frozen=True, slots=True)
class _Sent:
    user: str
    at: datetime


def take_acks(connection: Connection, requests: Sequence[Sequence[Ack]], now: datetime) -> list[list[Verdict]]:
    """Take in the reports of several requests, in order, in the caller's transaction.

    A phone's clock is not ours: what it says lies between the sending and now, or is put there.
    """
    ids = {ack.message_id for acks in requests for ack in acks}
    rows = connection.execute(_SENT, {"ids": sorted(ids)}).all() if ids else []
    sent = {row.id: _Sent(row.external_id, row.sent_at) for row in rows}
    return [[_take(connection, ack, sent.get(ack.message_id), now) for ack in acks] for acks in requests]


def _take(connection: Connection, ack: Ack, sent: _Sent | None, now: datetime) -> Verdict:
    verdict = Verdict.IGNORED
    if sent is not None:
        at = min(max(ack.at, sent.at), now)
        fresh = _delivered(connection, ack.message_id, at)
        if ack.deed is Deed.OPENED:
            fresh = _opened(connection, ack, sent, at, now)
        verdict = Verdict.TAKEN if fresh else Verdict.KNOWN
    metrics.acks.labels(ack.deed, verdict).inc()
    return verdict


def _delivered(connection: Connection, message_id: int, at: datetime) -> bool:
    return record_receipt(
        connection,
        message_id=message_id,
        provider=PROVIDER,
        provider_id=str(message_id),
        status=str(Deed.DELIVERED),
        state=State.DELIVERED,
        code="",
        at=at,
    )


def _opened(connection: Connection, ack: Ack, sent: _Sent, at: datetime, now: datetime) -> bool:
    said = {"confidence": "human", "why": ack.by}
    event = IncomingEvent(sent.user, OPENED, at, f"app:opened:{ack.message_id}", said, ack.message_id)
    return bool(record_events(connection, [event], now).new)
