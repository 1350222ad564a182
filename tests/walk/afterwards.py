"""The oracle's aftermath: answers, receipts, dead workers, passed deadlines, runs that are over."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.ledger.states import RunState, State
from tests.walk.cues import hear
from tests.walk.door import used_by_others
from tests.walk.ledger import Book, Message, carriers
from tests.walk.shapes import RESEND, Say

SECOND = timedelta(seconds=1)
STORM_WINDOW = timedelta(minutes=10)
STORM_LEAST = 4
"""So few people hardly make a storm of ten: the walk sets the bound lower, for both sides."""
QUARANTINE = timedelta(hours=24)
MOST_TRIES, POISON = 5, 3
CODES = {"dead": "gone", "refuses": "no_more", "unfit": "bad_words", "stop": "bad_key"}


@dataclass(slots=True)
class Guard:
    """The storm guard of an account, in one process: with so few people only "nobody was accepted" can be a storm."""

    answers: list[tuple[datetime, bool, bool]] = field(default_factory=list)
    called_dead: list[tuple[datetime, int]] = field(default_factory=list)

    def record(self, now: datetime, address: int, *, dead: bool, accepted: bool) -> None:
        self.answers.append((now, dead, accepted))
        if dead:
            self.called_dead.append((now, address))

    def storming(self, now: datetime) -> bool:
        recent = [one for one in self.answers if one[0] >= now - STORM_WINDOW]
        dead = sum(one[1] for one in recent)
        return len(recent) >= STORM_LEAST and dead > 1 and not any(one[2] for one in recent)

    def suspects(self, now: datetime) -> list[int]:
        found = [address for at, address in self.called_dead if at >= now - STORM_WINDOW]
        self.called_dead.clear()
        return found


def bury(book: Book, guard: Guard, address: int) -> None:
    """End a dead address, or in a storm set aside all that were called so."""
    if not guard.storming(book.now):
        book.audience.end(address, book.now)
        return
    for suspect in guard.suspects(book.now):
        book.audience.set_aside(suspect, book.now + QUARANTINE)


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: to which request, what was said (None: nothing was asked), and when."""

    message: Message
    account: str
    address: int
    said: Say | None
    at: datetime


def settle(book: Book, guards: dict[str, Guard], answers: Iterable[Heard]) -> None:
    """Write answers: first what they mean for people and addresses, in turn, then the messages."""
    known = list(answers)
    following = [_consequences(book, guards[one.account], one) for one in known]
    for one, address in zip(known, following, strict=True):
        message, said = one.message, one.said.name if one.said else "not_begun"
        message.tries.append((message.attempts, one.account, OUTCOMES[said]))
        _next(message, one, said, address)


OUTCOMES = {
    "accepted": "accepted",
    "not_begun": "retry",
    "retry": "retry",
    "retry_unsent": "retry",
    "retry_once": "retry",
    "retry_after": "retry_after",
    "account_wait": "retry_after",
    "dead": "drop_address",
    "refuses": "suppress",
    "unfit": "drop_message",
    "stop": "stop_channel",
    "lost": "ambiguous",
    "lost_before": "ambiguous",
}


def _consequences(book: Book, guard: Guard, one: Heard) -> int | None:
    """For addresses, people and accounts; the address to go on with, if there is one."""
    message, said = one.message, one.said.name if one.said else ""
    guard.record(book.now, one.address, dead=said == "dead", accepted=said == "accepted")
    if said == "dead":
        bury(book, guard, one.address)
        others = {one.address, *used_by_others(book, message)}
        return book.audience.best(message.key[1], message.channel, book.now, others)
    if said == "refuses":
        refuse(book, message.channel, "provider", one.address, message.key[1])
    if said == "stop":
        book.stops.add(one.account)
    return None


def refuse(book: Book, channel: str, reason: str, address: int, user: int) -> None:
    """The address, whoever has it next, and the user, whatever they take next."""
    book.audience.suppress(channel, reason, book.audience.addresses[address].value, book.now)
    book.audience.suppress(channel, reason, user, book.now)


def _next(message: Message, one: Heard, said: str, address: int | None) -> None:
    """What becomes of the message."""
    match said:
        case "accepted":
            message.end(State.ACCEPTED, None)
        case "dead" if address is not None:
            message.wait(one.at, "next_address", address)
        case "dead":
            message.end(State.FAILED, "address_dead")
        case "refuses" | "unfit":
            message.end(State.FAILED, CODES[said])
        case "stop":
            message.wait(one.at, CODES[said])
        case "retry_after" | "account_wait":
            assert one.said is not None
            _again(message, one.at + one.said.wait * SECOND, said)
        case "lost" | "lost_before":
            _in_doubt(message, one, said)
        case _:
            _retry(message, one, said)


def _again(message: Message, due: datetime, code: str, *, doubtful: bool = False) -> None:
    """Back to the queue, if that is not too late: after a doubtful answer it has not expired then."""
    if due < message.deadline:
        message.wait(due, code)
    elif doubtful:
        message.end(State.UNKNOWN, code)
    else:
        message.end(State.EXPIRED, "retry_too_late")


def _wait(message: Message) -> timedelta:
    """The walk's chance always says the most: 1 s, 2 s, 4 s … an hour."""
    return min(timedelta(seconds=1 << (message.attempts - 1)), timedelta(hours=1))


def _retry(message: Message, one: Heard, said: str) -> None:
    most, patient = (2, False) if said == "retry_once" else (MOST_TRIES, said in {"retry_unsent", "not_begun"})
    doubtful = said == "retry_once" and not RESEND[one.account]
    if message.attempts >= most and not patient:
        message.end(State.UNKNOWN if doubtful else State.FAILED, said)
        return
    _again(message, one.at + _wait(message), said, doubtful=doubtful)


def _in_doubt(message: Message, one: Heard, said: str) -> None:
    if not RESEND[one.account] or message.attempts >= MOST_TRIES:
        message.end(State.UNKNOWN, said)
    else:
        _again(message, one.at + _wait(message), said, doubtful=True)


# --- receipts --------------------------------------------------------------------------------------------------------


def receipt(book: Book, message: Message, state: State, code: str) -> None:
    """A receipt that is news."""
    message.heard.append((state, code))
    forward = message.state is State.ACCEPTED and state is not State.ACCEPTED
    if forward or message.state is State.UNKNOWN:
        message.end(state, code or None)


# --- the sweeper -----------------------------------------------------------------------------------------------------


def recover(book: Book, dead: Collection[int]) -> None:
    """Take back what dead workers held."""
    for one in book.messages.values():
        if one.worker not in dead:
            continue
        if one.state is State.SENDING:
            one.tries.append((one.attempts, one.account, "ambiguous"))
            again = RESEND[one.account] and one.attempts < MOST_TRIES and book.now < one.deadline
            if again:
                one.wait(reason="resend")
            else:
                one.end(State.UNKNOWN, "ambiguous")
        else:
            one.crashes += 1
            if one.crashes >= POISON:
                one.end(State.FAILED, "poison")
            else:
                one.wait(reason="worker_died")


def sweep(book: Book, dead: Collection[int]) -> None:
    """One round of housekeeping."""
    hear(book)
    recover(book, dead)
    for one in book.messages.values():
        late = one.state is State.PLANNED and one.due <= book.now and one.deadline <= book.now
        if late and book.runs[one.key[0]].state is RunState.ACTIVE:
            one.end(State.EXPIRED, one.reason or "late")
    for run in book.runs.values():
        if run.state is RunState.ACTIVE and not book.pending(run.id):
            run.state, run.reason = RunState.DONE, None
        elif run.state is RunState.STOPPED:
            for one in book.waiting(run.id):
                one.end(State.SKIPPED, "stopped")
    _leave_stopped(book)


def _leave_stopped(book: Book) -> None:
    """What waits for a stopped account goes to the next one of its channel."""
    for one in book.messages.values():
        free = [name for name in carriers(one.channel) if name not in book.stops]
        live = book.runs[one.key[0]].state is RunState.ACTIVE
        if live and one.state is State.PLANNED and one.account in book.stops and free:
            one.account = free[0]
