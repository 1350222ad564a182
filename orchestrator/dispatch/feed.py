"""The feed that the app's own inbox shows: items come with the settling of their messages, and go when they expire.

An item is written in the transaction that makes its message ``accepted``, under the message's id: there is never one
without the other, and a message that is sent again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, text

from orchestrator.audience.aliases import erased_among
from orchestrator.audience.rows import insert
from orchestrator.channel.base import Feed, OutcomeClass, PushPayload
from orchestrator.clock import Clock, to_micros
from orchestrator.dispatch.account import Account
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.trial import Tested
from orchestrator.store import Store
from orchestrator.store.tables import inbox_item

CHUNK = 1_000
_COLUMNS = ("message_id", "user_id", "title", "body", "link", "image", "data", "at", "expires_at")


def show_accepted(connection: Connection, accounts: Mapping[str, Account], answers: Sequence[Answer]) -> None:
    """Write the items of the answers that an inbox gave, in the caller's transaction."""
    channels = ((name, accounts[name].channel) for name in {answer.account for answer in answers})
    feeds = {name: channel.keep for name, channel in channels if isinstance(channel, Feed)}  # slow to ask: once each
    rows = [
        _row(answer.message.id, answer.message.user_id, answer.payload, answer.ended_at, feeds[answer.account])
        for answer in answers
        if answer.account in feeds
        and answer.outcome.kind is OutcomeClass.ACCEPTED
        and isinstance(answer.payload, PushPayload)
    ]
    gone = erased_among(connection, [row[1] for row in rows])  # meanwhile: their items are gone already
    insert(connection, inbox_item, _COLUMNS, [row for row in rows if row[1] not in gone])


def show_tests(connection: Connection, user_id: int, done: Sequence[Tested], keep: timedelta, now: datetime) -> None:
    """Write the items of test sends; their numbers are those that the inbox gave, and no message's."""
    rows = [
        _row(int(each.outcome.provider_id or 0), user_id, each.trial.payload, now, keep)
        for each in done
        if each.outcome is not None
        and each.outcome.kind is OutcomeClass.ACCEPTED
        and isinstance(each.trial.payload, PushPayload)
    ]
    insert(connection, inbox_item, _COLUMNS, rows)


def _row(message_id: int, user_id: int, payload: PushPayload, at: datetime, keep: timedelta) -> tuple[Any, ...]:
    data = orjson.dumps(dict(payload.data)).decode() if payload.data else None
    words = (payload.title, payload.body, payload.link, payload.image, data)
    return (message_id, user_id, *words, to_micros(at), to_micros(at + keep))


_EXPIRED = text("""
    DELETE FROM inbox_item WHERE message_id IN (
        SELECT message_id FROM inbox_item WHERE expires_at <= :now ORDER BY expires_at LIMIT :n)""")
_ANY_EXPIRED = text("SELECT 1 FROM inbox_item WHERE expires_at <= :now LIMIT 1")


def forget_expired(store: Store, clock: Clock) -> int:
    """Delete items that are shown no more, in short transactions; how many."""
    now = {"now": to_micros(clock.now())}
    with store.read() as connection:
        if connection.execute(_ANY_EXPIRED, now).first() is None:
            return 0
    total, done = 0, CHUNK
    while done == CHUNK:
        with store.write() as connection:
            done = connection.execute(_EXPIRED, {**now, "n": CHUNK}).rowcount
        total += done
    return total
