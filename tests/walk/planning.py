"""The oracle's plan: which runs there are, who their members are, and what is owed to whom and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from orchestrator.experiment.assign import arm_of, held_out
from orchestrator.ledger.states import CampaignState, RunState
from tests.walk.audience import Person
from tests.walk.cues import wake
from tests.walk.ledger import Batch, Book, Member, Message, Slot, carriers
from tests.walk.shapes import Shape
from tests.walk.wallclock import Hours, Open, opened

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ANCHOR = 0
CUT = 2
"""Users in the first chunk of a plan that is interrupted after it."""


def due(book: Book) -> None:
    """Make the runs whose date has begun somewhere and is not over everywhere."""
    for name in sorted(book.campaigns):
        launched = book.campaigns[name]
        if launched.state is CampaignState.RUNNING:
            for step in range(-4, 4):
                _fire(book, launched.shape, book.now.date() + step * DAY)


def _fire(book: Book, shape: Shape, day: date) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    begun = midnight - 15 * HOUR <= book.now < midnight + 60 * HOUR
    known = any((one.shape.name, one.day) == (shape.name, day) for one in book.runs.values())
    if begun and not known and day.weekday() in shape.weekdays and book.now < closes(shape, day):
        number = len(book.runs) + 1
        book.runs[number] = Batch(number, shape, day, book.now, closes(shape, day))


def closes(shape: Shape, day: date) -> datetime:
    """When the last window of the run shuts twelve hours behind UTC."""
    last = max(shape.dates(day))
    end = max([shape.hours_of(arm).end for arm, _, _ in shape.arms])
    return datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(hours=12, minutes=end)


def plan(book: Book, item: Batch, *, cut: bool = False) -> None:
    """Plan a run to its end; with ``cut`` only its first few users."""
    if item.state is not RunState.PLANNING:
        return
    if not item.begun:
        selected = [one for one in book.audience.in_use() if _selected(book, item, one)]
        if item.shape.max_audience is not None and len(selected) > item.shape.max_audience:
            item.state, item.reason = RunState.STOPPED, "max_audience"
            return
        item.begun = True
        for one in book.audience.people.values():
            _meet(book, item, one.key, one.country or "")
    left = sorted(user for user in book.audience.people if user > item.through)
    chunk = left[:CUT] if cut else left
    _take(book, item, [book.audience.people[user] for user in chunk])
    if not chunk or not cut:
        item.state = RunState.ACTIVE


def _selected(book: Book, item: Batch, one: Person) -> bool:
    return is_of(book, item, one.id, item.as_of)


def is_of(book: Book, item: Batch, user: int, as_of: datetime) -> bool:
    """Whether a user is of a run's audience."""
    own = item.shape.relative
    theirs = own is None or book.audience.has_date(own, user, item.day)
    return theirs and book.audience.selects(item.shape.segment, user, as_of)


def opening(item: Batch, arm: str, channel: str, key: str, country: str) -> Open:
    """When a member of a class may get something of a run on a channel."""
    return _opening(item, item.shape.hours_of(arm), channel, key, country)


def _opening(item: Batch, hours: Hours, channel: str, key: str, country: str) -> Open:
    return opened(hours, item.shape.dates(item.day), item.shape.expires, channel, key, country)


def _meet(book: Book, item: Batch, key: str, country: str) -> None:
    """The slots of a class, as of when the run first meets it."""
    shape = item.shape
    if (ANCHOR, "", key, country) in item.slots:
        return
    door = _opening(item, shape.hours, shape.legs[0].channel, key, country)
    item.slots[ANCHOR, "", key, country] = _slot(door, shape, book.now)
    for arm, _, _ in shape.arms:
        for step, leg in enumerate(shape.legs, 1):
            door = opening(item, arm, leg.channel, key, country)
            item.slots[step, arm, key, country] = _slot(door, shape, book.now)


def _slot(door: Open, shape: Shape, now: datetime) -> Slot:
    first = door.next(now)
    if first is None:
        return Slot(None, 0, None, door.why or "late")
    end = door.end_of(first)
    assert end is not None
    return Slot(first, round((end - first) / timedelta(microseconds=1) * shape.spread), door.closes, None)


def _take(book: Book, item: Batch, those: Iterable[Person]) -> None:
    """One chunk: members first, then step by step what is owed to them, then why not."""
    shape, added = item.shape, []
    for one in those:
        item.through = one.id
        if _selected(book, item, one):
            added.append(one)
            out = any(book.audience.selects(name, one.id, item.as_of) for name in shape.exclude)
            arm = arm_of(shape.name, one.name, [(name, weight) for name, weight, _ in shape.arms])
            held, decision = held_out(shape.name, one.name, shape.holdout), "skipped" if out else "planned"
            where = (one.key, one.country or "")
            _meet(book, item, *where)
            anchor = item.slots[(ANCHOR, "", *where)].due
            item.members[one.id] = Member(arm, held, decision, "excluded" if out else None, *where, anchor)
    item.audience += len(added)
    planned = [one for one in added if item.members[one.id].decision == "planned"]
    for step in range(1, len(shape.legs) + 1):
        for one in planned:
            _owe(book, item, one, step)
        opened_for = [one.id for one in planned if (at := item.members[one.id].anchor) is not None and at <= book.now]
        if item.leg(step).awaits:
            wake(book, item, step, opened_for)
    for one in planned:
        _explain(book, item, one)


def _owe(book: Book, item: Batch, one: Person, step: int) -> None:
    audience, channel, member = book.audience, item.leg(step).channel, item.members[one.id]
    slot, address = item.slots[step, member.arm, member.key, member.country], audience.best(one.id, channel, book.now)
    if slot.due is None or slot.deadline is None or address is None:
        return
    if not audience.agreed(one.id, channel) or audience.refuses(one.id, channel):
        return
    first = item.slots[1, member.arm, member.key, member.country]
    after = None if first.due is None else _spread(first, one.id) + _delay(item.shape, step)
    when = _spread(slot, one.id) if step == 1 else max(slot.due, after or slot.due)
    taken = any(other.address == address and other.key[2] == step for other in book.of_run(item.id))
    if when < slot.deadline and not taken:
        key, leg, account = (item.id, one.id, step), item.leg(step), carriers(channel)[0]
        due = min((after or slot.due) + leg.within, slot.deadline) if leg.awaits else when
        made = Message(key, account, address, member.arm, member.held, due, slot.deadline)
        made.reason = f"waiting:{leg.awaits}" if leg.awaits else None
        book.messages[key] = made


def _delay(shape: Shape, step: int) -> timedelta:
    """How long after the first step a step is due at the earliest."""
    before = sum((leg.latest for leg in shape.legs[: step - 1]), timedelta(0))
    return before + shape.legs[step - 1].soonest


def _spread(slot: Slot, user: int) -> datetime:
    assert slot.due is not None
    return slot.due + timedelta(microseconds=(user // 32 + 1) * 40503 % 65536 * slot.spread // 65536)


def _explain(book: Book, item: Batch, one: Person) -> None:
    if (item.id, one.id, 1) in book.messages:
        return
    member = item.members[one.id]
    slot = item.slots[1, member.arm, member.key, member.country]
    own = book.audience.reason(one.id, item.leg(1).channel, book.now)
    member.reason = own or slot.why or "address_taken"
    later = any((item.id, one.id, step) in book.messages for step in range(2, len(item.shape.legs) + 1))
    member.decision = "planned" if later else "skipped"
