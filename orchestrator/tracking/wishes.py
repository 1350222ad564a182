"""What people say about being written to: by one click in a mail, or on the preference page.

Whoever holds a message's signed link speaks for the person it was sent to, whatever happened to address and user since.
A wish that changes nothing is no error: mail programs repeat theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, literal_column, select

from orchestrator.audience import people
from orchestrator.audience.aliases import aliases, erased_among
from orchestrator.audience.opt_in import Asks, never_asks, waiting_choices
from orchestrator.campaign.version import about
from orchestrator.ledger.ids import parts
from orchestrator.ledger.lanes import VERSION
from orchestrator.store.tables import address, consent, lane, message, run, suppression, users

UNSUBSCRIBE, PREFERENCES = "unsubscribe", "preferences"
OWN_WORD = frozenset({"unsubscribe", "stop"})
"""Suppressions that a person takes back by agreeing again: not a complaint, not what an operator decided."""
CHANNELS = ("push", "sms", "email")

Choice = tuple[str, str]
"""A channel and a topic."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a message's person has agreed to, and what the message was about."""

    user_id: int
    locale: str
    channel: str
    topic: str
    title: Mapping[str, str]
    choices: Mapping[Choice, bool]
    waiting: Collection[Choice] = field(default_factory=frozenset)
    """What they agreed to and have not confirmed yet (double opt-in)."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants: ``choices``, or nothing more of this kind (None), or nothing at all (``everything``)."""

    message_id: int
    at: datetime
    choices: Mapping[Choice, bool] | None = None
    everything: bool = False


_MESSAGE = (
    select(message.c.user_id, lane.c.channel, literal_column(VERSION).label("version"))
    .join(lane, lane.c.id == message.c.lane_id)
    .join(run, run.c.id == message.c.run_id)
)
_FORGOTTEN = (
    select(users.c.id.label("user_id"), lane.c.channel, literal_column(VERSION).label("version"))
    .select_from(lane)
    .join(run, run.c.id == lane.c.run_id)
    .join(users, users.c.id == bindparam("user"))
    .where(lane.c.run_id == bindparam("run"), lane.c.step == bindparam("step"), run.c.forgotten_at.is_not(None))
    .order_by(lane.c.version, lane.c.id)
)
"""What the id of a message says by itself, once its run is forgotten: the step's lane stays, and the user."""


def standing(connection: Connection, message_id: int, now: datetime, topics: Collection[str] = ()) -> Standing | None:
    """Where the person of a message stands now, also on ``topics``; None when there is no such message.

    Nor of somebody erased: who they are today nobody knows, and a page must not say that it was done.
    """
    row = connection.execute(_MESSAGE.where(message.c.id == message_id)).first()
    if row is None:
        row = connection.execute(_FORGOTTEN, parts(message_id)._asdict()).first()
    if row is None or erased_among(connection, [row.user_id]):
        return None
    topic, title = about(connection, row.version)
    user_id = aliases(connection, [row.user_id]).get(row.user_id, row.user_id)
    locale = connection.execute(select(users.c.locale).where(users.c.id == user_id)).scalar() or ""
    choices = _choices(connection, user_id)
    for channel in _reachable(connection, user_id):
        for other in topics:
            choices.setdefault((channel, other), False)
    choices.setdefault((row.channel, topic), False)
    waiting = waiting_choices(connection, user_id, now)
    for choice in waiting:
        choices.setdefault(choice, False)
    return Standing(user_id, locale, row.channel, topic, title, choices, waiting)


def _reachable(connection: Connection, user_id: int) -> list[str]:
    current = address.c.user_id == user_id, address.c.valid_until.is_(None)
    return list(connection.execute(select(address.c.channel).where(*current).distinct()).scalars())


def _choices(connection: Connection, user_id: int) -> dict[Choice, bool]:
    """What holds for each channel and topic they were ever asked about, refusals of whole channels included."""
    current = consent.c.user_id == user_id, consent.c.valid_until.is_(None)
    said = {
        (row.channel, row.topic): bool(row.granted)
        for row in connection.execute(select(consent.c.channel, consent.c.topic, consent.c.granted).where(*current))
    }
    refused = select(suppression.c.channel).where(suppression.c.user_id == user_id, suppression.c.valid_until.is_(None))
    held = set(connection.execute(refused).scalars())
    return {choice: granted and choice[0] not in held for choice, granted in said.items()}


def take_wishes(connection: Connection, wishes: Sequence[Wish], asks: Asks = never_asks) -> list[bool]:
    """Do what people want, in the caller's transaction; whether there is such a message, for each."""
    return [_take(connection, wish, asks) for wish in wishes]


def _take(connection: Connection, wish: Wish, asks: Asks) -> bool:
    now = standing(connection, wish.message_id, wish.at)
    if now is None:
        return False
    if wish.everything:
        _refuse_all(connection, now, wish.at)
    elif wish.choices is None:
        _set(connection, now, {(now.channel, now.topic): False}, UNSUBSCRIBE, wish.at, asks)
    else:
        changed = {one: granted for one, granted in wish.choices.items() if now.choices.get(one, False) != granted}
        # Where a refusal of a whole channel ends, what stays off there has to be said, or it would come back with it.
        back = {channel for (channel, _), granted in changed.items() if granted}
        also = {one: granted for one, granted in wish.choices.items() if one[0] in back}
        _set(connection, now, {**also, **changed}, PREFERENCES, wish.at, asks)
    return True


def _set(
    connection: Connection, now: Standing, choices: Mapping[Choice, bool], source: str, at: datetime, asks: Asks
) -> None:
    for channel in {channel for (channel, _), granted in choices.items() if granted}:
        _lift(connection, now.user_id, channel, at)
    changes = [
        people.ConsentChange(now.user_id, channel, topic, granted, source, at)
        for (channel, topic), granted in sorted(choices.items())
    ]
    people.take_consents(connection, changes, at, asks)


def _lift(connection: Connection, user_id: int, channel: str, at: datetime) -> None:
    """Their own refusals of a channel end when they agree again."""
    people.lift(connection, channel=channel, at=at, user_id=user_id, reasons=OWN_WORD)
    mine = select(address.c.value).where(
        address.c.user_id == user_id, address.c.channel == channel, address.c.valid_until.is_(None)
    )
    for value in connection.execute(mine).scalars().all():
        people.lift(connection, channel=channel, at=at, address=value, reasons=OWN_WORD)


def _refuse_all(connection: Connection, now: Standing, at: datetime) -> None:
    _set(connection, now, dict.fromkeys(now.choices, False), UNSUBSCRIBE, at, never_asks)
    for channel in sorted({channel for channel, _ in now.choices}):
        people.suppress(connection, channel=channel, reason=UNSUBSCRIBE, source=PREFERENCES, at=at, user_id=now.user_id)
