"""Operations: what people do, what they agree to and refuse, and where they can be reached."""

from __future__ import annotations

from datetime import datetime

from orchestrator.ledger.ids import parts
from orchestrator.ledger.states import State
from tests.walk.audience import OWN_WORD, Person
from tests.walk.ledger import Key, Touch
from tests.walk.registry import DAY, SECOND, operation
from tests.walk.shapes import PLACES, TIERS
from tests.walk.walk import Walk

PEOPLE, TOKENS = 9, 12
CHANNELS = ("push", "sms")


def _anybody(walk: Walk, pick: int) -> Person | None:
    people = list(walk.book.audience.people.values())[-2 * PEOPLE :]
    return people[pick % len(people)] if people else None


@operation(weight=3, picks=3)
def join(walk: Walk, place: int, tier: int, how: int) -> None:
    """Somebody new, who can mostly be reached and has mostly agreed."""
    audience = walk.book.audience
    if len(audience.in_use()) >= PEOPLE:
        return
    name, dates = f"u{len(audience.people) + 1}", _dates(walk, tier, how)
    walk.town.profile(name, PLACES[place % len(PLACES)], TIERS[tier % len(TIERS)], dates=dates)
    one = audience.join(name, PLACES[place % len(PLACES)], TIERS[tier % len(TIERS)], dates)
    for bit, channel in enumerate(CHANNELS):
        if how >> bit & 15 != 15:
            _register(walk, one, channel, f"{channel}-{name}", how)
        if how >> (bit + 4) & 15 != 15:
            _agree(walk, one, channel, True)


def _dates(walk: Walk, one: int, other: int) -> dict[str, str]:
    """Dates of their own: around today, or so many years ago; now and then on 29 February."""
    born, renews = (f"{walk.now + (pick % 5 - 1) * DAY:%Y-%m-%d}" for pick in (one, other))
    leap = born[5:] == "02-28" and other % 2
    return {"birthday": "1992-02-29" if leap else f"1990{born[4:]}", "renews": renews}


def _register(walk: Walk, one: Person, channel: str, value: str, age: int) -> None:
    at = walk.now - (*(0,) * 8, 1, 30, 269, 271)[age % 12] * DAY
    walk.town.register(one.name, channel, value, at)
    walk.book.audience.register(one.id, channel, value, at)


def _agree(walk: Walk, one: Person, channel: str, granted: bool) -> None:
    walk.town.agree(one.name, channel, granted)
    walk.book.audience.agree(one.id, channel, granted, walk.now)


@operation(weight=5, picks=4)
def an_address_moves(walk: Walk, who: int, channel: int, value: int, age: int) -> None:
    """A token or number that somebody else may have had."""
    one = _anybody(walk, who)
    if one is not None:
        on = CHANNELS[channel % 2]
        _register(walk, one, on, f"{on}-u{value % TOKENS + 1}", age)


@operation(weight=5, picks=3)
def somebody_agrees_or_not(walk: Walk, who: int, channel: int, granted: int) -> None:
    one = _anybody(walk, who)
    if one is not None:
        _agree(walk, one, CHANNELS[channel % 2], granted % 4 > 0)


@operation(weight=3, picks=3)
def an_operator_suppresses(walk: Walk, who: int, channel: int, which: int) -> None:
    """A user, or the address of one; more often all that is known against both is lifted."""
    one, on, town, audience = _anybody(walk, who), CHANNELS[channel % 2], walk.town, walk.book.audience
    if one is None:
        return
    value = f"{on}-{one.name}"
    match which % 5:
        case 0:
            town.suppress(on, "operator", value, None)
            audience.suppress(on, "operator", value, walk.now)
        case 1:
            town.suppress(on, "operator", None, one.id)
            audience.suppress(on, "operator", one.id, walk.now)
        case _:
            town.lift(on, value, one.id)
            audience.lift(on, [value, one.id])


@operation(weight=3, picks=2)
def somebody_writes_back(walk: Walk, who: int, what: int) -> None:
    """STOP, or START, from a number that may be nobody's."""
    value, stop, audience = f"sms-u{who % TOKENS + 1}", what % 2 == 0, walk.book.audience
    walk.town.reply(value, "STOP" if stop else "START")
    holder = audience.current("sms", value)
    targets: list[str | int] = [value, *([holder.user] if holder is not None else [])]
    if stop:
        for target in targets:
            audience.suppress("sms", "stop", target, walk.now)
    else:
        audience.lift("sms", targets, OWN_WORD)


@operation(weight=5, picks=3)
def somebody_does_something(walk: Walk, who: int, what: int, when: int) -> None:
    """Opens the app or pays; told at once, or later."""
    one = _anybody(walk, who)
    if one is not None:
        name, at = ("app_open", "app_open", "order_paid")[what % 3], walk.now - (0, 0, 60, 7200)[when % 4] * SECOND
        _does(walk, one, name, at)


TOUCHES = ("message_opened", "link_clicked")
MAKERS = ("human", "human", "", "suspect", "machine")


@operation(weight=4, picks=4)
def somebody_touches_a_message(walk: Walk, which: int, what: int, who: int, when: int) -> None:
    """Opens one of the latest, or clicks in it; or a machine does, which does not count."""
    delivered = [parts(one.message) for one in walk.town.heard if one.took][-12:]
    if delivered:
        at = walk.now - (0, 0, 30, 600)[when % 4] * SECOND
        _touch(walk, delivered[which % len(delivered)], TOUCHES[what % 2], MAKERS[who % 5], at)


@operation(7, 4, "until_something_is_due", "until_something_is_due", "the_sweeper_comes")
def somebody_answers(walk: Walk, which: int, what: int, who: int, when: int) -> None:
    """One of those to whom a later step is still owed comes back, pays, or does something with an earlier message."""
    owed = [one for one in walk.book.messages.values() if one.state is State.PLANNED and one.key[2] > 1]
    if not owed:
        return
    run, user, step = owed[which % len(owed)].key
    had = [key for each in walk.town.heard if each.took and (key := parts(each.message))[:2] == (run, user)]
    at = walk.now - (0, 0, 60, 900)[when % 4] * SECOND
    if had and what % 2:
        _touch(walk, had[step % len(had)], TOUCHES[what // 2 % 2], MAKERS[who % 5], at)
    else:
        _does(walk, walk.book.audience.people[user], ("app_open", "order_paid", "order_paid")[what // 2 % 3], at)


def _touch(walk: Walk, key: Key, name: str, who: str, at: datetime) -> None:
    walk.town.did(walk.book.audience.people[key[1]].name, name, at, key, who)
    walk.book.arrivals.append(walk.now)
    if who in {"human", ""}:
        walk.book.audience.did(key[1], name, at)
        walk.book.touches.append(Touch(key, name, at))


def _does(walk: Walk, one: Person, name: str, at: datetime) -> None:
    walk.town.did(one.name, name, at)
    walk.book.did(one.id, name, at)


@operation(weight=2, picks=3)
def somebody_changes(walk: Walk, who: int, tier: int, locale: int) -> None:
    """Their tier; and whether they are in anybody's audience at all."""
    one = _anybody(walk, who)
    if one is not None:
        one = walk.book.audience.people[walk.book.audience.now_called(one.id)]
        one.tier, one.locale = TIERS[tier % len(TIERS)], ("en", "en", "nowhere")[locale % 3]
        walk.town.profile(one.name, (None, None), one.tier, one.locale)


@operation(weight=1, picks=2)
def two_are_one(walk: Walk, keep: int, other: int) -> None:
    """A user is merged into another."""
    stays, goes, audience = _anybody(walk, keep), _anybody(walk, other), walk.book.audience
    if stays is None or goes is None or audience.now_called(stays.id) == audience.now_called(goes.id):
        return
    kept, old = audience.now_called(stays.id), audience.now_called(goes.id)
    walk.town.merge(stays.name, goes.name)
    audience.merge(kept, old, walk.now)
    for one in walk.book.messages.values():
        if one.key[1] == old and one.state is State.PLANNED and walk.book.runs[one.key[0]].live:
            one.end(State.SKIPPED, "merged")
