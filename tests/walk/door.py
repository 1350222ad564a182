"""The oracle's door: what is due, what a worker takes, and what becomes of it at the threshold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.ledger.states import CampaignState, RunState, State
from tests.walk.cues import did, did_not, happened
from tests.walk.ledger import Book, Key, Message, lane_of
from tests.walk.planning import is_of, opening
from tests.walk.restraint import restrained

MINUTE = timedelta(minutes=1)
SUSPECT = 2
Lane = tuple[int, int, str]
"""Run, step, account."""


def due_lanes(book: Book) -> list[Lane]:
    """Lanes that may be claimed from and have something due; the most urgent first."""
    found = {(one.key[0], one.key[2], one.account) for one in book.messages.values() if _is_due(book, one)}
    free = [
        lane
        for lane in found
        if book.runs[lane[0]].state is RunState.ACTIVE
        and book.campaigns[book.runs[lane[0]].shape.name].state is CampaignState.RUNNING
        and lane[2] not in book.stops
    ]
    return sorted(free, key=lambda lane: (-book.runs[lane[0]].shape.priority, lane_of(*lane)))


def _is_due(book: Book, one: Message) -> bool:
    return one.state is State.PLANNED and one.due <= book.now


def claim(book: Book, worker: int, lane: Lane, n: int) -> list[Message]:
    """The first ``n`` due, in that order; a message that has seen two workers die comes alone."""
    mine = [one for one in book.messages.values() if (one.key[0], one.key[2], one.account) == lane]
    ready = sorted((one for one in mine if _is_due(book, one)), key=lambda one: (one.due, one.key))[:n]
    suspects = [one for one in ready if one.crashes >= SUSPECT]
    taken = [min(suspects, key=lambda one: one.key)] if suspects else ready
    for one in taken:
        one.state, one.worker = State.CLAIMED, worker
    return taken


def skipped_by_template(book: Book, one: Message) -> str | None:
    """The words of the walk's templates: they leave out important people."""
    return "template:vip" if book.audience.people[one.key[1]].tier == "vip" else None


@dataclass(frozen=True, slots=True)
class Send:
    until: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    until: datetime
    reason: str
    address: int | None = None


@dataclass(frozen=True, slots=True)
class Out:
    state: State
    reason: str


Verdict = Send | Wait | Out


def judge(book: Book, one: Message) -> Verdict:
    """What the gate says of a claimed message now."""
    run = book.runs[one.key[0]]
    for rule in (_over, _standing, _back, _before, _happened):
        if (said := rule(book, one)) is not None:
            return said
    now, member = book.now, run.members[one.key[1]]
    if now >= one.deadline:
        return Out(State.EXPIRED, "late")
    door = opening(run, one.arm, one.channel, member.key, member.country)
    end, again = door.end_of(now), door.next(now)
    if end is None:
        return Out(State.SKIPPED, door.why or "late") if again is None else Wait(again, "window")
    if run.shape.recheck and (gone := _moved_on(book, one)):
        return Out(State.SKIPPED, gone)
    held = restrained(book, run.shape, one)
    if held is not None:
        again = None if held.until is None else door.next(held.until)
        late = again is None or again >= one.deadline
        return Out(State.SKIPPED, held.reason) if late or again is None else Wait(again, held.reason)
    return Out(State.HELD_OUT, "holdout") if one.held else Send(end)


def _over(book: Book, one: Message) -> Verdict | None:
    run = book.runs[one.key[0]]
    campaign = book.campaigns[run.shape.name]
    if one.heard:
        return Out(State.ACCEPTED, "receipt")
    if CampaignState.STOPPED is campaign.state or run.state is RunState.STOPPED:
        return Out(State.SKIPPED, "stopped")
    return Wait(book.now, "paused") if campaign.state is CampaignState.PAUSED else None


def _standing(book: Book, one: Message) -> Verdict | None:
    """Consents, refusals, and the address to use."""
    audience, user, channel = book.audience, one.key[1], one.channel
    address = audience.addresses[one.address]
    refused = audience.refuses(address.value, channel)
    best: int | None = one.address
    if not audience.usable(address, book.now) or address.user != user or refused:
        best = audience.best(user, channel, book.now, used_by_others(book, one))
    if audience.refuses(user, channel) or (refused and best is None):
        return Out(State.SKIPPED, "suppressed")
    if not audience.agreed(user, channel):
        return Out(State.SKIPPED, "no_consent")
    if best is None:
        return Out(State.SKIPPED, "no_address")
    return None if best == one.address else Wait(book.now, "next_address", best)


def used_by_others(book: Book, one: Message) -> set[int]:
    """Addresses that somebody else's message of the same run and step goes to."""
    others = (other for other in book.of_run(one.key[0]) if other.key[2] == one.key[2] and other is not one)
    return {other.address for other in others}


def _back(book: Book, one: Message) -> Verdict | None:
    run, audience, user = book.runs[one.key[0]], book.audience, one.key[1]
    if run.shape.drop_if_back and audience.did_since(user, "app_open", run.as_of):
        return Out(State.SKIPPED, "came_back")
    if run.shape.exits and happened(book, one.key, "converted"):
        return Out(State.SKIPPED, "converted")
    unless = run.leg(one.key[2]).unless
    return Out(State.SKIPPED, did(unless)) if unless and happened(book, one.key, unless) else None


def _before(book: Book, one: Message) -> Verdict | None:
    """The last step before that there is: settled, and long enough ago."""
    before = _step_before(book, one)
    if before is None:
        return None
    if before.state in {State.PLANNED, State.CLAIMED, State.SENDING}:
        wait = book.now + MINUTE
        return Wait(wait, "step_before") if wait < one.deadline else None
    after = book.runs[one.key[0]].leg(one.key[2]).soonest
    if before.sent_at is None or before.sent_at + after <= book.now:
        return None
    return Wait(before.sent_at + after, "step_before")


def _step_before(book: Book, one: Message) -> Message | None:
    run, user, step = one.key
    earlier = (book.messages.get((run, user, n)) for n in range(step - 1, 0, -1))
    return next((message for message in earlier if message is not None), None)


def _happened(book: Book, one: Message) -> Verdict | None:
    """What the step asks for, and what it waits for."""
    leg = book.runs[one.key[0]].leg(one.key[2])
    if leg.needs and not happened(book, one.key, leg.needs):
        return Out(State.SKIPPED, did_not(leg.needs))
    if not leg.awaits:
        return None
    before, at = _step_before(book, one), happened(book, one.key, leg.awaits)
    sent = before.sent_at if before is not None else None
    end = min(one.due if sent is None else sent + leg.within, one.deadline)
    if at is None or at > end:
        return Wait(end, f"waiting:{leg.awaits}") if end > book.now else Out(State.SKIPPED, did_not(leg.awaits))
    if at + leg.after >= one.deadline:
        return Out(State.SKIPPED, "too_late_for_step")
    return Wait(at + leg.after, f"after:{leg.awaits}") if at + leg.after > book.now else None


def _moved_on(book: Book, one: Message) -> str | None:
    run, user = book.runs[one.key[0]], one.key[1]
    shape = run.shape
    if not is_of(book, run, user, book.now):
        return "no_longer_in_segment"
    return "excluded" if any(book.audience.selects(name, user, book.now) for name in shape.exclude) else None


def mark(book: Book, taken: list[Message]) -> dict[Key, datetime]:
    """Judge and write; who may leave, and until when."""
    sending: dict[Key, datetime] = {}
    verdicts = [(one, judge(book, one)) for one in taken]
    for one, said in verdicts:
        shape = book.runs[one.key[0]].shape
        one.crashes = 0
        match said:
            case Send() if _unpaid(book, one):
                one.end(State.SKIPPED, "budget")
            case Send():
                book.spent[shape.name] += one.channel == "sms" and not one.attempts
                one.state, one.attempts, one.sent_at = State.SENDING, one.attempts + 1, book.now
                one.caps = book.caps
                sending[one.key] = said.until
            case Wait():
                one.wait(said.until, said.reason, said.address)
            case Out():
                one.end(said.state, said.reason)
    return sending


def _unpaid(book: Book, one: Message) -> bool:
    shape = book.runs[one.key[0]].shape
    budget = shape.sms_budget
    return budget is not None and one.channel == "sms" and not one.attempts and book.spent[shape.name] >= budget
