"""Unsubscribes and complaints that may be a message's doing.

A refusal is laid to a campaign when it comes on a channel within a week after a message of the campaign left for that
user on that channel. This counts against us where it is in doubt: other campaigns' messages in between excuse nothing,
and one refusal may be laid to several campaigns. What is a refusal:

* *unsubscribed*: a suppression for the reason ``stop`` or ``unsubscribe``, of the user or of an address that is or was
  theirs; or a consent to the campaign's topic that had been given and is taken back.
* *complained*: a suppression for the reason ``complaint``.

What providers (``provider``) and operators decide is no refusal. The held-out are asked the same question from the
instant at which their message would have left: how many refuse without any message of ours.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, Select, Subquery, Text, and_, case, func, literal, select, type_coerce, union_all
from sqlalchemy.sql import exists

from orchestrator.clock import span_micros
from orchestrator.ledger.states import State
from orchestrator.report.members import flag, runs_of
from orchestrator.report.values import Launched
from orchestrator.store.tables import address, consent, lane, message, suppression

WITHIN = timedelta(days=7)
_REASONS = {"stop": "unsubscribed", "unsubscribe": "unsubscribed", "complaint": "complained"}
_SAID = suppression.c.reason.in_(sorted(_REASONS))


def refusals(launched: Launched) -> Subquery:
    """One row per refusal there is: whose, on which channel, of which kind, when (microseconds)."""
    kind = case(_REASONS, value=suppression.c.reason).label("kind")
    at = type_coerce(suppression.c.valid_from, BigInteger).label("at")
    channel = suppression.c.channel
    of_user = select(suppression.c.user_id, channel, kind, at).where(suppression.c.user_id.is_not(None), _SAID)
    same = and_(address.c.channel == channel, address.c.value == suppression.c.address)
    of_address = select(address.c.user_id, channel, kind, at).join_from(suppression, address, same).where(_SAID)
    return union_all(of_user, of_address, _withdrawals(launched.topic)).subquery("refusal")


def _withdrawals(topic: str) -> Select[Any]:
    earlier = consent.alias("earlier")
    given = exists().where(
        *(earlier.c[name] == consent.c[name] for name in ("user_id", "channel", "topic")),
        earlier.c.granted.is_(True),
        earlier.c.valid_from < consent.c.valid_from,
        earlier.c.valid_until.is_not(
            None
        ),  # as all earlier ones: said for the index, without which each scans them all
    )
    return select(
        consent.c.user_id,
        consent.c.channel,
        literal("unsubscribed", Text()).label("kind"),
        type_coerce(consent.c.valid_from, BigInteger).label("at"),
    ).where(consent.c.topic == topic, consent.c.granted.is_(False), given)


def refused(launched: Launched, *, by_channel: bool = False) -> Subquery:
    """One row per user (and channel) who refused after a message: ``unsubscribed`` and ``complained``, 1 or 0.

    By channel only what left counts; else the held-out are in it too, from when theirs would have left.
    """
    said = refusals(launched)
    would_have = case((message.c.state == State.HELD_OUT, message.c.state_at))
    left = type_coerce(message.c.sent_at if by_channel else func.coalesce(message.c.sent_at, would_have), BigInteger)
    after = and_(said.c.at >= left, said.c.at <= left + span_micros(WITHIN))
    key = (message.c.user_id, lane.c.channel) if by_channel else (message.c.user_id,)
    kinds = [func.max(flag(said.c.kind == kind)).label(kind) for kind in ("unsubscribed", "complained")]
    joined = message.join(lane, lane.c.id == message.c.lane_id).join(
        said, and_(said.c.user_id == message.c.user_id, said.c.channel == lane.c.channel, after)
    )
    mine = message.c.run_id.in_(runs_of(launched))
    query = select(*key, *kinds).select_from(joined).where(mine, left.is_not(None))
    return query.group_by(*key).subquery("refused")
