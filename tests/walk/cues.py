"""The oracle's follow-ups: what has happened to a member since the run opened for them, and who is woken by it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from orchestrator.ledger.states import State
from tests.walk.ledger import Batch, Book, Key, Message

OF_MESSAGES = {"delivered": {"message_opened", "link_clicked"}, "opened": {"message_opened", "link_clicked"}}
OF_MESSAGES["clicked"] = {"link_clicked"}
GOALS = {"reopened": "app_open", "converted": "order_paid"}
SETTLED = timedelta(minutes=1)


def happened(book: Book, key: Key, word: str) -> datetime | None:
    """When it first did; None: it has not."""
    return min(_times(book, key, word), default=None)


def _times(book: Book, key: Key, word: str) -> Iterator[datetime]:
    run, user, step = key
    if word not in OF_MESSAGES:
        name, since = GOALS.get(word, word), book.runs[run].members[user].anchor
        yield from (at for what, at in book.audience.events.get(user, []) if what == name and since and at >= since)
        return
    for touch in book.touches:
        if touch.key[:2] == (run, user) and touch.key[2] < step and touch.name in OF_MESSAGES[word]:
            yield touch.at
    if word == "delivered":
        earlier = (book.messages.get((run, user, n)) for n in range(1, step))
        yield from (one.state_at or book.now for one in earlier if one is not None and one.state is State.DELIVERED)


def did(word: str) -> str:
    """Why a message is dropped since it has happened."""
    return word if word in OF_MESSAGES or word in GOALS else f"did:{word}"


def did_not(word: str) -> str:
    """Why one is dropped since it has not."""
    return f"not_{word}" if word in OF_MESSAGES or word in GOALS else f"did_not:{word}"


def wake(book: Book, item: Batch, step: int, users: Collection[int]) -> None:
    """Bring forward what these members' step waited for."""
    leg = item.leg(step)
    for user in users:
        one = book.messages.get((item.id, user, step))
        if one is None or one.state is not State.PLANNED or one.reason != f"waiting:{leg.awaits}":
            continue
        at = happened(book, one.key, leg.awaits)
        if at is not None and at <= one.due:
            one.due, one.reason = at + leg.after, None


def hear(book: Book) -> None:
    """What is new, read by cursor; then what has waited until its deadline is given up."""
    waits = [
        (run, n) for run in book.runs.values() if run.live for n, leg in enumerate(run.shape.legs, 1) if leg.awaits
    ]
    if not waits:
        book.heard_to = None
        return
    if len(book.arrivals) > (book.heard_to or 0):
        for run, step in waits:
            wake(book, run, step, run.members)
        settled = sum(at <= book.now - SETTLED for at in book.arrivals)
        book.heard_to = max(book.heard_to or 0, settled)
    for run, step in waits:
        for one in _overdue(book, run, step):
            one.end(State.SKIPPED, did_not(run.leg(step).awaits))


def _overdue(book: Book, run: Batch, step: int) -> Iterator[Message]:
    reason = f"waiting:{run.leg(step).awaits}"
    for one in book.of_run(run.id):
        late = one.due <= book.now and one.deadline <= book.now
        if one.key[2] == step and one.state is State.PLANNED and one.reason == reason and late and not one.attempts:
            yield one
