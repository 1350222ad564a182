"""A push whose answer was lost waits to be sent again. Whatever ends it meanwhile: it may have arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.ledger.ids import MessageId
from orchestrator.ledger.leaving import MERGED, leave
from orchestrator.ledger.mark import Exit
from orchestrator.ledger.recover import POISON_AFTER, expire
from orchestrator.ledger.runs import skip_stopped
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import metadata
from tests.ledger.book import PUSH, RUN, Ledger

USER = 1


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Ledger]:
    store = Store(str(tmp_path / "t.db"), private=True)
    metadata.create_all(store.writer_engine)
    yield Ledger(store).open()
    store.close()


def expires(book: Ledger, _message: MessageId) -> None:
    book.clock.advance(timedelta(hours=3))
    with book.store.write() as connection:
        expire(connection, PUSH, book.clock.now())


def is_stopped(book: Ledger, _message: MessageId) -> None:
    with book.store.write() as connection:
        skip_stopped(connection, RUN, book.clock.now())


def is_merged(book: Ledger, _message: MessageId) -> None:
    with book.store.write() as connection:
        leave(connection, USER, MERGED, book.clock.now(), "operator t")


def is_skipped_at_the_door(book: Ledger, message: MessageId) -> None:
    worker = book.worker()
    book.claim(worker)
    book.mark(worker, out=[Exit(message, State.SKIPPED, "came_back")])


def is_late_at_the_door(book: Ledger, message: MessageId) -> None:
    worker = book.worker()
    book.claim(worker)
    book.mark(worker, out=[Exit(message, State.EXPIRED, "late")])


def is_refused(book: Ledger, _message: MessageId) -> None:
    worker = book.worker()
    [item] = book.send(worker)
    book.settle(worker, item, State.FAILED, reason="gone")


def comes_too_late(book: Ledger, _message: MessageId) -> None:
    worker = book.worker()
    [item] = book.send(worker)
    book.settle(worker, item, State.EXPIRED, reason="retry_too_late")


def is_poison(book: Ledger, _message: MessageId) -> None:
    for _ in range(POISON_AFTER):
        book.claim(book.worker())
        book.die()


End = Callable[[Ledger, MessageId], None]
ENDS: dict[End, tuple[State, str | None]] = {
    expires: (State.EXPIRED, "late"),
    is_stopped: (State.SKIPPED, "stopped"),
    is_merged: (State.SKIPPED, "merged"),
    is_skipped_at_the_door: (State.SKIPPED, "came_back"),
    is_late_at_the_door: (State.EXPIRED, "late"),
    is_refused: (State.FAILED, "gone"),
    comes_too_late: (State.EXPIRED, "retry_too_late"),
    is_poison: (State.FAILED, "poison"),
}
"""How a message leaves the queue for good, and what it is then if nothing of it ever left."""


def in_doubt(book: Ledger) -> MessageId:
    """A push that a worker died with on the wire: back in the queue, to be sent again."""
    message = book.owe(USER)
    book.send(book.worker())
    book.die()
    assert book.row(message).reason == "resend"
    return message


@pytest.mark.parametrize("end", ENDS)
def test_what_may_have_arrived_ends_as_unknown(book: Ledger, end: End) -> None:
    message = in_doubt(book)
    end(book, message)
    row = book.row(message)
    assert row.state == State.UNKNOWN
    assert row.reason == ("resend" if end is expires else ENDS[end][1])
    assert book.history(message)[-1][1:] == (State.UNKNOWN, row.reason)
    assert book.receipt(message, State.DELIVERED)
    assert book.state(message) is State.DELIVERED


@pytest.mark.parametrize("end", ENDS)
def test_a_receipt_that_came_before_is_not_lost(book: Ledger, end: End) -> None:
    message = in_doubt(book)
    book.receipt(message, State.DELIVERED)
    end(book, message)
    assert book.state(message) is State.DELIVERED


@pytest.mark.parametrize("end", ENDS)
def test_what_never_left_ends_as_it_always_did(book: Ledger, end: End) -> None:
    message = book.owe(USER)
    end(book, message)
    assert (book.state(message), book.row(message).reason) == ENDS[end]


def test_the_variant_that_forgets_says_that_it_was_not_sent(book: Ledger) -> None:
    """The naive end (as it was): a state that says "certainly not sent", which no receipt moves any more."""
    message = in_doubt(book)
    with book.store.write() as connection:
        connection.execute(text("UPDATE message SET state = 'expired', worker_id = NULL"))
    book.receipt(message, State.DELIVERED)
    assert book.state(message) is State.EXPIRED
