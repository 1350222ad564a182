"""One member's story, read back from the ledger: what was decided for them, what left, and what came back.

Addresses, tokens and texts are not in it: a story may be shown to anybody who may see the campaign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from orchestrator.audience.aliases import family
from orchestrator.campaign.occasions import labelled
from orchestrator.campaign.version import read_bundle
from orchestrator.errors import NotFoundError, OrchestratorError, did_you_mean
from orchestrator.report.own_dates import OwnDate, member_date, own_date
from orchestrator.report.touches import CLICKED, KINDS, OPENED, confidence, of_person
from orchestrator.report.triggers import Enrolled, Forestalled, enrolled_by, forestalled, waiting_until
from orchestrator.report.values import Launched
from orchestrator.store.tables import attempt, event, lane, member, message, receipt, run, transition, users

TOUCHES = 20
"""Opens and clicks of one message that are told; scanners make hundreds."""


@dataclass(frozen=True, slots=True)
class AttemptStory:
    """One request. ``code`` is the provider's, ``detail`` its words."""

    n: int
    account: str
    at: datetime
    outcome: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class ChangeStory:
    """One line of history: a hold, an exit, or what an operator did."""

    at: datetime
    old: str
    new: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class ReceiptStory:
    """What a provider called back."""

    at: datetime
    provider: str
    status: str
    code: str


@dataclass(frozen=True, slots=True)
class TouchStory:
    """An open or a click. ``confidence`` is a word of :mod:`orchestrator.report.touches`, ``why`` the rule's."""

    at: datetime
    deed: str
    confidence: str
    why: str


@dataclass(frozen=True, slots=True)
class MessageStory:
    """One message, from when it was due to what came back."""

    message_id: int
    step: int
    channel: str
    account: str
    state: str
    reason: str
    due_at: datetime
    deadline: datetime
    attempts: tuple[AttemptStory, ...]
    changes: tuple[ChangeStory, ...]
    receipts: tuple[ReceiptStory, ...]
    opened_at: datetime | None
    """When a person first opened it."""
    touches: tuple[TouchStory, ...] = ()
    """The first opens and clicks, whoever made them."""
    timed: int | None = None
    """How its hour was chosen: see ``message.timed``; None where it was not."""


@dataclass(frozen=True, slots=True)
class MemberStory:
    """One run's member."""

    run_id: int
    local_date: str
    as_of: datetime
    arm: str
    held_out: bool
    decision: str
    reason: str
    zone_key: str
    anchor: datetime | None
    reopened_at: datetime | None
    converted_at: datetime | None
    conversion_value: float | None
    messages: tuple[MessageStory, ...]
    operators: tuple[ChangeStory, ...]
    own_date: OwnDate | None = None
    """For which the run is theirs, where the schedule goes by a date of each user's own."""
    enrolled: Enrolled | None = None
    """By what they joined, where members join one by one."""


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run that there was, whoever was in it."""

    local_date: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Story:
    """Everything about one user in one campaign; no ``members``: they were in the audience of none of ``runs``."""

    user: str
    launched: Launched
    as_of: datetime
    runs: tuple[RunSeen, ...]
    members: tuple[MemberStory, ...]
    own_date: OwnDate | None = None
    """Of somebody who is in no audience: their date as it is now."""
    waits_until: datetime | None = None
    """Of a triggered campaign: when their wait is over."""
    forestalled: Forestalled | None = None
    """Of somebody whom no triggered run has: what made their latest trigger event needless."""
    forgotten: int = 0
    """Runs besides, of which nobody knows any more who was in them."""


_IN_ORDER = (run.c.local_date, run.c.fires_at, run.c.id)


def explain(connection: Connection, user: str, launched: Launched, now: datetime) -> Story:
    """The story of ``user`` (the app's own name for them).

    Raises:
        NotFoundError: there is no such user; with the nearest that there is.
    """
    user_id = user_of(connection, user)
    of_campaign = run.c.campaign == launched.name
    columns = (run.c.version, run.c.local_date, run.c.fires_at, run.c.as_of)
    gone = select(func.count()).select_from(run).where(of_campaign, run.c.forgotten_at.is_not(None))
    forgotten = connection.execute(gone).scalar_one()
    of_campaign &= run.c.forgotten_at.is_(None)
    seen = connection.execute(select(*columns).where(of_campaign).order_by(*_IN_ORDER)).all()
    runs = tuple(RunSeen(labelled(connection, *called), as_of) for *called, as_of in seen)
    rows = connection.execute(
        select(member, *columns, run.c.created_at, run.c.finished_at)
        .join_from(member, run, run.c.id == member.c.run_id)
        .where(of_campaign, member.c.user_id.in_(family(connection, user_id)))  # under every name they had
        .order_by(*_IN_ORDER, member.c.user_id)
    )
    members = tuple(_why(connection, row, user_id, _member(connection, row, launched.name, now)) for row in rows.all())
    relative = launched.relative_to
    own = own_date(connection, relative, user_id, now) if relative is not None and not members else None
    until, needless = None, None
    if (trigger := launched.trigger) is not None:
        until = waiting_until(connection, launched.name, user_id)
        needless = None if members else forestalled(connection, launched.name, trigger, user_id)
    return Story(user, launched, now, runs, members, own, until, needless, forgotten)


def _why(connection: Connection, row: Row[Any], user_id: int, story: MemberStory) -> MemberStory:
    """With why the run was theirs: a date of their own, or an event, by the run's version."""
    try:
        schedule = read_bundle(connection, row.version).campaign.schedule
    except OrchestratorError:  # this release does not take it any more
        return story
    if (relative := schedule.relative_to) is not None:
        day = date.fromisoformat(row.local_date)
        return replace(story, own_date=member_date(connection, relative, user_id, row.as_of, day))
    if schedule.trigger is None:
        return story
    found = enrolled_by(connection, schedule.trigger, row.run_id, row.user_id)
    as_of = story.as_of if found.at is None else found.at + schedule.trigger.after
    return replace(story, enrolled=found, as_of=as_of)


def user_of(connection: Connection, external_id: str) -> int:
    """The id of a user.

    Raises:
        NotFoundError: there is no such user; with the nearest that there is.
    """
    found = connection.execute(select(users.c.id).where(users.c.external_id == external_id)).scalar()
    if found is not None:
        return int(found)
    near = select(users.c.external_id).where(users.c.external_id >= external_id[:3]).order_by(users.c.external_id)
    names = list(connection.execute(near.limit(500)).scalars())
    shown = external_id if len(external_id) <= 60 else f"{external_id[:60]}…"  # noqa: PLR2004  # short enough for a line
    hint = did_you_mean(shown, names) or "give the id that the app uses; `orchestrator import users` brings them in"
    raise NotFoundError(f"there is no user {shown!r}", hint=hint)


def _member(connection: Connection, row: Row[Any], campaign: str, now: datetime) -> MemberStory:
    mine = (message.c.run_id == row.run_id, message.c.user_id == row.user_id)
    found = connection.execute(
        select(message, lane.c.channel, lane.c.account)
        .select_from(message.outerjoin(lane, lane.c.id == message.c.lane_id))
        .where(*mine)
        .order_by(message.c.step)
    ).all()
    return MemberStory(
        **{name: getattr(row, name) for name in ("run_id", "as_of", "arm", "decision", "zone_key", "anchor")},
        **{name: getattr(row, name) for name in ("reopened_at", "converted_at", "conversion_value")},
        local_date=labelled(connection, row.version, row.local_date, row.fires_at),
        held_out=bool(row.held_out),
        reason=row.reason or "",
        messages=tuple(_message(connection, one) for one in found),
        operators=_operators(connection, campaign, row.created_at, row.finished_at or now),
    )


def _message(connection: Connection, row: Row[Any]) -> MessageStory:
    attempts = connection.execute(select(attempt).where(attempt.c.message_id == row.id).order_by(attempt.c.n)).all()
    receipts = connection.execute(
        select(receipt).where(receipt.c.message_id == row.id).order_by(receipt.c.received_at, receipt.c.id)
    ).all()
    opened = select(event.c.at).where(event.c.message_id == row.id, event.c.name == OPENED, of_person())
    touched = select(event.c.at, event.c.name, confidence().label("confidence"), event.c.properties)
    of_message = (event.c.message_id == row.id, event.c.name.in_([OPENED, CLICKED]))
    touches = connection.execute(touched.where(*of_message).order_by(event.c.at, event.c.id).limit(TOUCHES)).all()
    changes = connection.execute(
        select(transition).where(transition.c.message_id == row.id).order_by(transition.c.at, transition.c.id)
    ).all()
    return MessageStory(
        message_id=row.id,
        step=row.step,
        channel=row.channel or "",
        account=row.account or "",
        state=row.state,
        reason=row.reason or "",
        due_at=row.due_at,
        deadline=row.deadline,
        timed=row.timed,
        attempts=tuple(
            AttemptStory(one.n, one.account, one.started_at, one.outcome, one.code or "", one.detail or "")
            for one in attempts
        ),
        changes=_changes(changes),
        receipts=tuple(ReceiptStory(one.received_at, one.provider, one.status, one.code or "") for one in receipts),
        opened_at=connection.execute(opened.order_by(event.c.at).limit(1)).scalar(),
        touches=tuple(
            TouchStory(one.at, one.name, KINDS[one.confidence], str((one.properties or {}).get("why", "")))
            for one in touches
        ),
    )


def _operators(connection: Connection, campaign: str, start: datetime, end: datetime) -> tuple[ChangeStory, ...]:
    """Pauses, resumes and stops of the campaign while the run lived."""
    whole = (transition.c.campaign == campaign, transition.c.message_id.is_(None), transition.c.run_id.is_(None))
    query = select(transition).where(*whole, transition.c.at > start, transition.c.at <= end)
    return _changes(connection.execute(query.order_by(transition.c.at, transition.c.id)).all())


def _changes(rows: Sequence[Row[Any]]) -> tuple[ChangeStory, ...]:
    return tuple(ChangeStory(row.at, row.old or "", row.new, row.reason or "", row.actor) for row in rows)
