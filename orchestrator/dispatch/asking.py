"""Who has to be asked for the second step of double opt-in, and that they are asked once.

A request is marked as asked, and committed, before its mail leaves, as a message is at the door: a crash leaves at most
a mail that never left, never two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, text, update

from orchestrator.audience.opt_in import EXPIRES
from orchestrator.clock import to_micros
from orchestrator.plan.rules import seen_since
from orchestrator.policy import predicates
from orchestrator.store.tables import opt_in

BETWEEN = timedelta(days=7)
"""Between two confirmation mails to a person about one topic, at least."""
SOON = timedelta(minutes=15)
"""Until a mail is tried again that was certainly not taken; then after as long as the request is old."""

_WAITING = f"""
    SELECT opt_in.id, opt_in.topic, opt_in.created_at, users.external_id, users.name, users.locale, users.country,
           address.value, address.kind
    FROM opt_in JOIN users ON users.id = opt_in.user_id
    JOIN address ON address.id = {predicates.best_address("opt_in.user_id")}
    WHERE opt_in.asked_at IS NULL AND opt_in.confirmed_at IS NULL AND opt_in.ended_at IS NULL
      AND opt_in.ask_at <= :now AND opt_in.channel = :channel AND opt_in.created_at > :expired
      AND NOT {predicates.user_suppressed("opt_in.user_id")}
      AND NOT EXISTS (SELECT 1 FROM consent WHERE consent.user_id = opt_in.user_id AND consent.channel = opt_in.channel
          AND consent.topic = opt_in.topic AND consent.granted AND consent.valid_until IS NULL)
      AND NOT EXISTS (SELECT 1 FROM opt_in AS other WHERE other.user_id = opt_in.user_id AND other.asked_at > :lately
          AND other.channel = opt_in.channel AND other.topic = opt_in.topic)"""  # ours
_PAGE = text(f"{_WAITING} AND opt_in.id > :after ORDER BY opt_in.id LIMIT :most")
_ONE = text(f"{_WAITING} AND opt_in.id = :id")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody to be asked. Never printed: it holds an address."""

    id: int
    topic: str
    created_at: int
    address: str
    kind: str
    user: dict[str, object]


def waiting(connection: Connection, now: datetime, after: int, most: int) -> list[Waiting]:
    """Who can be asked now, by number; whoever is suppressed, or has no address, waits."""
    values = {**_times(now), "after": after, "most": most}
    return [_waiting(row) for row in connection.execute(_PAGE, values)]


def begin(connection: Connection, one: Waiting, now: datetime) -> bool:
    """Mark somebody as asked, if all of it still holds; the mail leaves after the commit."""
    row = connection.execute(_ONE, {**_times(now), "id": one.id}).first()
    if row is None or row.value != one.address:  # who has another address by now is looked at again
        return False
    connection.execute(_OF, {"number": one.id, "asked_at": now})
    return True


def take_back(connection: Connection, one: Waiting, now: datetime, wait: timedelta | None) -> None:
    """The mail certainly was not taken: it is tried again, at growing distances."""
    age = timedelta(microseconds=to_micros(now) - one.created_at)
    values = {"number": one.id, "asked_at": None, "ask_at": now + max(SOON, age, wait or SOON)}
    connection.execute(_OF, values)


_OF = update(opt_in).where(opt_in.c.id == bindparam("number"))


def _times(now: datetime) -> dict[str, Any]:
    return {
        "channel": "email",
        "now": to_micros(now),
        "seen_since": to_micros(seen_since("email", now)),
        "expired": to_micros(now - EXPIRES),
        "lately": to_micros(now - BETWEEN),
    }


def _waiting(row: Row[Any]) -> Waiting:
    user = {"id": row.external_id, "name": row.name, "locale": row.locale, "country": row.country}
    return Waiting(row.id, row.topic, row.created_at, row.value, row.kind, user)
