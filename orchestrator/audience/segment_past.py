"""What became of users in earlier campaigns, as SQL over the ledger: correlated with ``users``, true or false.

Who was merged is asked under every name they had. Messages are found by their user and instant, members by the runs
of the campaign, of which there are few.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    literal,
    literal_column,
    not_,
    or_,
    select,
)

from orchestrator.audience.condition import Past
from orchestrator.clock import span_micros
from orchestrator.ledger.states import State
from orchestrator.store.functions import json_string
from orchestrator.store.tables import Instant, event, member, message, run, user_alias, users

AS_OF = bindparam("as_of", type_=Instant())
DONE = {"opened": "message_opened", "clicked": "link_clicked"}
"""Events about a message; ``confidence`` says who it probably was, and without it the app itself tells."""
SENT = (State.SENDING, State.ACCEPTED, State.DELIVERED, State.UNDELIVERED, State.UNKNOWN)
"""States of a message that left, or may have."""
_ONE: ColumnElement[int] = literal_column("1")


def ago(span: timedelta) -> ColumnElement[Any]:
    """The instant that long before the one that is asked about."""
    return AS_OF - literal(span_micros(span), BigInteger())


def in_campaign(past: Past) -> ColumnElement[bool]:
    """The answer to a question about a campaign."""
    question, name = past.question
    match question:
        case "was_sent":
            return _of_anyone(_sent(name, past.within), message.c.user_id)
        case "opened" | "clicked":
            return _touched(DONE[question], name, past.within)
        case "did_not_reopen":
            sent = _of_anyone(_sent(name, past.within), message.c.user_id)
            return and_(sent, not_(_of_anyone(_reopened(name, past.within), member.c.user_id)))
        case "was_held_out":
            held = _members(name).where(member.c.held_out, _when(member.c.anchor, past.within))
            return _of_anyone(held, member.c.user_id)
        case _:
            at = member.c.reopened_at if question == "reopened" else member.c.converted_at
            treated = _members(name).where(not_(member.c.held_out), _when(at, past.within))
            return _of_anyone(treated, member.c.user_id)


def _of_anyone(rows: Select[Any], user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether there is a row of the user, or of one who was merged into them."""
    old = (user_alias.c.user_id == users.c.id, user_alias.c.old_user_id == user_id)
    return or_(
        exists(rows.where(user_id == users.c.id)).correlate(users),
        exists(rows.where(*old)).correlate(users),
    )


def _when(at: ColumnElement[Any], within: timedelta | None) -> ColumnElement[bool]:
    return and_(at <= AS_OF, at > ago(within)) if within is not None else at <= AS_OF


def _sent(name: str, within: timedelta | None) -> Select[Any]:
    of = (run.c.id == message.c.run_id, run.c.campaign == name, not_(message.c.held_out), message.c.state.in_(SENT))
    return select(_ONE).where(*of, message.c.sent_at.is_not(None), _when(message.c.sent_at, within))


def _members(name: str) -> Select[Any]:
    return select(_ONE).where(run.c.id == member.c.run_id, run.c.campaign == name)


def _reopened(name: str, within: timedelta | None) -> Select[Any]:
    """In a run from which they were sent something within the span."""
    theirs = (message.c.run_id == member.c.run_id, message.c.user_id == member.c.user_id)
    since = exists(select(_ONE).where(*theirs, message.c.sent_at.is_not(None), _when(message.c.sent_at, within)))
    return _members(name).where(member.c.reopened_at <= AS_OF, since)


def _touched(deed: str, name: str, within: timedelta | None) -> ColumnElement[bool]:
    """By a person, not a machine. Events are moved when users are merged: they are the user's own."""
    confidence = json_string(event.c.properties, "confidence")
    of = (message.c.id == event.c.message_id, run.c.id == message.c.run_id, run.c.campaign == name)
    theirs = (event.c.user_id == users.c.id, event.c.name == deed, _when(event.c.at, within))
    person = or_(confidence.is_(None), confidence == "human")
    return exists(select(_ONE).where(*theirs, *of, person)).correlate(users)
