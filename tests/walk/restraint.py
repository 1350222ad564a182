"""The oracle's caps and back-off: counted by hand over what has left, rule by rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.ledger.states import CampaignState, State
from orchestrator.policy.caps import Backoff, CapRule, span_text
from tests.walk.ledger import LEFT, Book, Message
from tests.walk.shapes import Shape

MINUTE = timedelta(minutes=1)
ANSWERS = {"app_open", "message_opened", "link_clicked"}


@dataclass(frozen=True, slots=True)
class Held:
    """Why not now. ``until`` None: never."""

    reason: str
    until: datetime | None


def restrained(book: Book, shape: Shape, one: Message) -> Held | None:
    """What the caps of this moment say of a message that would leave now."""
    exempt = set(shape.tagged) & book.caps.exempt
    if exempt:
        return None
    said = [_full(book, rule, shape, one) for rule in book.caps.rules if _covers(rule, one.channel, shape)]
    backoff = book.caps.backoff
    if backoff is not None and one.channel in backoff.channels:
        said.append(_silenced(book, backoff, one))
    held = [each for each in said if each is not None]
    if any(each.until is None for each in held):
        return next(each for each in held if each.until is None)
    return max(held, key=lambda each: each.until or book.now, default=None)


def _covers(rule: CapRule, channel: str, shape: Shape) -> bool:
    return rule.channel in {None, channel} and (rule.tag is None or rule.tag in shape.tagged)


def family(book: Book, user: int) -> set[int]:
    """The user and whoever was merged into them."""
    return {user, *(one.id for one in book.audience.people.values() if one.into == user)}


def may_have_left(one: Message) -> bool:
    """It left, or waits to be sent again after a request whose answer was lost."""
    return one.state in LEFT or (one.in_doubt and one.state in {State.PLANNED, State.CLAIMED})


def _counted(book: Book, user: int) -> Iterator[tuple[datetime, Message, Shape]]:
    """What left, or may have, to a person, and is of no exempt tag; newest first."""
    theirs = [one for one in book.messages.values() if one.key[1] in family(book, user) and may_have_left(one)]
    found = [(one.sent_at, one, book.runs[one.key[0]].shape) for one in theirs if one.sent_at is not None]
    for at, one, shape in sorted(found, key=lambda each: each[0], reverse=True):
        if not set(shape.tagged) & book.caps.exempt:
            yield at, one, shape


def _full(book: Book, rule: CapRule, shape: Shape, one: Message) -> Held | None:
    now, reason = book.now, f"capped:{rule.label}"
    if rule.most == 0:
        return Held(reason, None)
    sent = [
        at
        for at, other, of in _counted(book, one.key[1])
        if other is not one and at > now - rule.within and _covers(rule, other.channel, of)
    ]
    claims = sorted(_claims(book, rule, shape, one))
    if len(sent) + len(claims) < rule.most:
        return None
    room = rule.most - len(claims)
    if room > 0:
        return Held(reason, sent[room - 1] + rule.within)
    known = max(claims[0], now + MINUTE)
    return Held(reason, max(known, sent[rule.most - 1] + rule.within) if len(sent) >= rule.most else known)


def _claims(book: Book, rule: CapRule, shape: Shape, one: Message) -> Iterator[datetime]:
    """When what has a prior claim to the user's slots is due: more urgent messages of other campaigns."""
    now, reach = book.now, min(rule.within, book.caps.horizon)
    for other in book.messages.values():
        run = book.runs[other.key[0]]
        rival = run.live and run.shape.name != shape.name and run.shape.priority > shape.priority
        if not rival or other.key[1] != one.key[1] or other.held or other.deadline <= now or other.in_doubt:
            continue
        running = book.campaigns[run.shape.name].state is CampaignState.RUNNING
        owed = other.state in {State.PLANNED, State.CLAIMED} and other.due < now + reach
        free = not set(run.shape.tagged) & book.caps.exempt
        if running and owed and free and _covers(rule, other.channel, run.shape) and _may(book, other):
            yield other.due


def _may(book: Book, other: Message) -> bool:
    user, channel = other.key[1], other.channel
    return book.audience.agreed(user, channel) and not book.audience.refuses(user, channel)


def _silenced(book: Book, backoff: Backoff, one: Message) -> Held | None:
    """The back-off: messages since the person last came back."""
    events = book.audience.events.get(one.key[1], [])
    answered = max((at for what, at in events if what in ANSWERS), default=None)
    unanswered = [
        at
        for at, other, _ in _counted(book, one.key[1])
        if other.state in LEFT and other.channel in backoff.channels and (answered is None or at > answered)
    ]
    more = min(len(unanswered), backoff.after + len(backoff.gaps)) - backoff.after
    if more < 0 or not unanswered:
        return None
    if more >= len(backoff.gaps):
        return Held("backoff:silence", None)
    until = unanswered[0] + backoff.gaps[more]
    return Held(f"backoff:{span_text(backoff.gaps[more])}", until) if until > book.now else None
