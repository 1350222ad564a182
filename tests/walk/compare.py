"""Both sides, column by column; and what has to hold of the wire whatever either of them thinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger.ids import message_id, parts
from orchestrator.ledger.states import TRANSITIONS, State
from orchestrator.policy.caps import CapRule, Caps
from orchestrator.store import Store
from tests.walk.ledger import Book, lane_of
from tests.walk.shapes import ACCOUNTS, RESEND
from tests.walk.wallclock import shown, tick_of, zones_of
from tests.walk.wire import Request

Row = tuple[Any, ...]


def _at(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)


def _runs(book: Book) -> dict[Any, Row]:
    return {
        one.id: (
            *(one.shape.name, one.day.isoformat(), one.state, one.reason, _at(one.as_of), _at(one.closes)),
            *(one.through, one.audience),
        )
        for one in book.runs.values()
    }


def _members(book: Book) -> dict[Any, Row]:
    return {
        (run.id, user): (one.arm, one.held, one.decision, one.reason, one.key, one.country, _at(one.anchor))
        for run in book.runs.values()
        for user, one in run.members.items()
    }


def _messages(book: Book) -> dict[Any, Row]:
    return {
        message_id(*one.key): (
            *(one.state, one.reason, lane_of(one.key[0], one.key[2], one.account), one.address, one.arm, one.held),
            *(_at(one.due), _at(one.deadline), one.worker, one.attempts, one.crashes, _at(one.sent_at)),
        )
        for one in book.messages.values()
    }


def _attempts(book: Book) -> dict[Any, Row]:
    return {
        (message_id(*one.key), n): (account, outcome)
        for one in book.messages.values()
        for n, account, outcome in one.tries
    }


def _addresses(book: Book) -> dict[Any, Row]:
    return {
        one.id: (one.user, one.channel, one.value, _at(one.seen), _at(one.until), one.why, _at(one.aside))
        for one in book.audience.addresses.values()
    }


def _consents(book: Book) -> dict[Any, Row]:
    lines = book.audience.consents.items()
    return {key: (line[-1][1], _at(line[-1][0])) for key, line in lines if line}


def _suppressions(book: Book) -> dict[Any, Row]:
    return {(channel, str(target), reason): () for channel, target, reason in book.audience.suppressed}


SIDES: Mapping[str, tuple[int, str, Callable[[Book], dict[Any, Row]]]] = {
    "run": (
        1,
        "SELECT id, campaign, local_date, state, reason, as_of, closes_at, planned_through, audience FROM run",
        _runs,
    ),
    "member": (
        2,
        "SELECT run_id, user_id, arm, held_out, decision, reason, zone_key, country, anchor FROM member",
        _members,
    ),
    "message": (
        1,
        """SELECT id, state, reason, lane_id, address_id, arm, held_out, due_at, deadline, worker_id, attempts, crashes,
                  sent_at FROM message""",
        _messages,
    ),
    "attempt": (2, "SELECT message_id, n, account, outcome FROM attempt", _attempts),
    "address": (
        1,
        "SELECT id, user_id, channel, value, last_seen_at, valid_until, end_reason, quarantined_until FROM address",
        _addresses,
    ),
    "consent": (2, "SELECT user_id, channel, granted, valid_from FROM consent WHERE valid_until IS NULL", _consents),
    "suppression": (
        3,
        """SELECT DISTINCT channel, coalesce(address, CAST(user_id AS TEXT)), reason FROM suppression
           WHERE valid_until IS NULL""",
        _suppressions,
    ),
    "stop": (1, "SELECT account FROM stop", lambda book: dict.fromkeys(book.stops, ())),
}
"""Each table: how many columns are its key, what is read of it, and what the oracle says it holds."""


def differences(store: Store, book: Book) -> list[str]:
    """Where the database and the oracle disagree."""
    with store.read() as connection:
        return [
            words
            for table, (width, sql, expected) in SIDES.items()
            for words in _differ(table, _read(connection, sql, width), expected(book))
        ]


def _read(connection: Connection, sql: str, width: int) -> dict[Any, Row]:
    rows = connection.exec_driver_sql(sql).all()
    return {row[0] if width == 1 else tuple(row[:width]): tuple(row[width:]) for row in rows}


def _differ(table: str, found: dict[Any, Row], expected: dict[Any, Row]) -> Iterator[str]:
    if found == expected:
        return
    for key in sorted(found.keys() | expected.keys(), key=str):
        if found.get(key) != expected.get(key):
            name = tuple(parts(key)) if table == "message" else key
            yield f"{table} {name}: is {_shown(found.get(key))}, should be {_shown(expected.get(key))}"


def _shown(row: Row | None) -> str:
    def word(value: Any) -> str:
        late = isinstance(value, int) and value > 1 << 48
        return f"{from_micros(value):%m-%d %H:%M:%S}" if late else str(value)

    return "nothing" if row is None else " ".join(word(value) for value in row)


def history(store: Store) -> list[str]:
    """Changes of messages that may not happen."""
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT DISTINCT old, new FROM transition WHERE message_id IS NOT NULL AND old IS NOT NULL"
        ).all()
    moves = {(State(old), State(new)) for old, new in rows if old != new}  # another account, still planned
    return [f"history: {old} → {new}" for old, new in sorted(moves - TRANSITIONS)]


# --- from first principles -------------------------------------------------------------------------------------------


def improper(book: Book, new: list[Request], every: list[Request]) -> Iterator[str]:
    """What no request may be, whatever was planned: asked of the newest ones right after they were made."""
    for one in new:
        run, user, step = parts(one.message)
        message, member = book.messages.get((run, user, step)), book.runs[run].members.get(user)
        if message is None or member is None:
            yield f"wire: {one.id} is owed to nobody"
            continue
        if message.held:
            yield f"wire: {one.id} to somebody held out"
        if not _in_window(book, run, message.arm, member.key, one.at):
            yield f"wire: {one.id} at {one.at} is outside the window of {member.key!r}"
        if not _in_window(book, run, message.arm, member.key, one.until, before=True):
            yield f"wire: {one.id} may arrive until {one.until}, when the window of {member.key!r} is shut"
        yield from _twice(one, every)


def _in_window(book: Book, run: int, arm: str, key: str, at: datetime, *, before: bool = False) -> bool:
    """Whether every clock that may be somebody's shows a time within the window; ``before``: just before ``at``."""
    item = book.runs[run]
    hours, tick = item.shape.hours_of(arm), tick_of(at) - before
    walls = [shown(name, tick) for name in zones_of(key)]
    return any(
        all(hours.start <= (ordinal - day.toordinal()) * 1440 + minute < hours.end for ordinal, minute in walls)
        for day in item.shape.dates(item.day)
    )


def _twice(one: Request, every: list[Request]) -> Iterator[str]:
    same = [other for other in every if other.message == one.message]
    delivered = sum(other.took for other in same)
    if delivered > 1 and not RESEND[one.account]:
        yield f"wire: text message {one.message} is delivered {delivered} times"
    if len({other.collapse for other in same}) > 1:
        yield f"wire: {one.message} went out under several collapse keys"


NOT_SENT = {State.SKIPPED, State.EXPIRED, State.HELD_OUT, State.FAILED}


def _decided(book: Book, one: Request) -> bool:
    """An operator has said that it never arrived, and is believed."""
    message = book.messages[parts(one.message)]
    return (message.state, message.reason) == (State.FAILED, "resolved")


def denied(book: Book, every: list[Request]) -> Iterator[str]:
    """What arrived, and the ledger says that it was certainly not sent."""
    for one in (each for each in every if each.took and not _decided(book, each)):
        message = book.messages[parts(one.message)]
        if message.state in NOT_SENT:
            yield f"wire: {one.id} was delivered, and {message.key} is {message.state} ({message.reason})"


def too_many(book: Book, new: list[Request], every: list[Request]) -> Iterator[str]:
    """Rolling caps over what was delivered, by the rules under which a request was marked."""
    delivered = [each for each in every if each.took and not _decided(book, each)]
    for one in (each for each in new if each.took):
        user, caps = parts(one.message).user, book.messages[parts(one.message)].caps
        theirs = [each for each in delivered if parts(each.message).user == user]
        for rule in _rules(book, caps, one):
            recent = {
                each.message
                for each in theirs
                if one.at - rule.within < each.at <= one.at and rule in _rules(book, caps, each)
            }
            if len(recent) > rule.most:
                yield f"wire: {one.id} is one more than {rule.label}"


def _rules(book: Book, caps: Caps, one: Request) -> tuple[CapRule, ...]:
    shape = book.runs[parts(one.message).run].shape
    return caps.rules_for(ACCOUNTS[one.account], shape.tagged)
