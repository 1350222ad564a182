"""Unsubscribes and complaints: whom they are laid to, and when not."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from orchestrator.report.findings import Guard, findings, guard
from orchestrator.report.refusals import refused
from orchestrator.report.statistics import share
from orchestrator.report.tally import tally
from orchestrator.report.values import HOLDOUT, Group, Launched, Tally
from orchestrator.store import Store
from orchestrator.store import tables as t
from tests.report.book import ANCHOR, AS_OF, NOW, Book

HOUR = timedelta(hours=1)


def counted(store: Store, launched: Launched) -> Tally:
    with store.read() as connection:
        return tally(connection, launched, NOW + timedelta(days=30))


def refusals(found: Tally, name: str = "dish") -> tuple[int, int]:
    group: Group = next(group for group in found.groups if group.name == name)
    return group.unsubscribed, group.complained


def sent(book: Book, user: int, run: int = 1, step: int = 1) -> None:
    row = book.member(run, book.user(user), anchor=ANCHOR)
    book.message(row, step, "accepted", ANCHOR, sent_at=ANCHOR, attempts=1)


def suppress(book: Book, at: datetime, reason: str = "stop", channel: str = "push", **target: object) -> None:
    row = {"channel": channel, "reason": reason, "source": "test", "valid_from": at, "valid_until": None}
    book.add(t.suppression, **(row | {"user_id": None, "address": None} | target))


def consent(book: Book, user: int, at: datetime, topic: str = "promotions", *, granted: bool = False) -> None:
    book.add(t.consent, user_id=user, channel="push", topic=topic, granted=granted, source="test", valid_from=at)


@pytest.mark.parametrize(
    ("delay", "reason", "channel", "expected"),
    [
        (HOUR, "stop", "push", (1, 0)),
        (HOUR, "unsubscribe", "push", (1, 0)),
        (timedelta(days=7), "complaint", "push", (0, 1)),
        (timedelta(days=7, microseconds=1), "complaint", "push", (0, 0)),
        (-HOUR, "stop", "push", (0, 0)),
        (HOUR, "provider", "push", (0, 0)),
        (HOUR, "operator", "push", (0, 0)),
        (HOUR, "stop", "sms", (0, 0)),
    ],
)
def test_a_suppression_within_a_week_after_the_message_on_its_channel_counts(
    book: Book,
    store: Store,
    launched: Launched,
    delay: timedelta,
    reason: str,
    channel: str,
    expected: tuple[int, int],
) -> None:
    book.run(1, audience=1)
    sent(book, 1)
    suppress(book, ANCHOR + delay, reason, channel, user_id=1)
    book.write()
    found = counted(store, launched)
    assert refusals(found) == expected
    assert (found.channels[0].unsubscribed, found.channels[0].complained) == expected


def test_a_stop_is_counted_once_though_it_is_written_for_address_and_user(
    book: Book, store: Store, launched: Launched
) -> None:
    book.run(1, audience=1)
    sent(book, 1)
    instants = {"last_seen_at": AS_OF, "valid_from": AS_OF}
    book.add(t.address, id=3, user_id=1, channel="push", kind="token", value="token-1", **instants)
    suppress(book, ANCHOR + HOUR, user_id=1)
    suppress(book, ANCHOR + HOUR, address="token-1")
    book.write()
    assert refusals(counted(store, launched)) == (1, 0)


def test_a_complaint_about_an_address_is_its_users(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=1)
    sent(book, 1)
    book.add(t.address, id=3, user_id=1, channel="push", kind="token", value="a", last_seen_at=AS_OF, valid_from=AS_OF)
    suppress(book, ANCHOR + HOUR, "complaint", address="a")
    book.write()
    assert refusals(counted(store, launched)) == (0, 1)


def test_only_a_consent_that_was_given_can_be_taken_back(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=3)
    for user in (1, 2, 3):
        sent(book, user)
        if user != 2:
            book.add(
                t.consent,
                user_id=user,
                channel="push",
                topic="promotions",
                granted=True,
                source="test",
                valid_from=AS_OF,
                valid_until=ANCHOR + HOUR,
            )
    consent(book, 1, ANCHOR + HOUR)
    consent(book, 2, ANCHOR + HOUR)  # refused without ever having agreed: nothing was taken back
    consent(book, 3, ANCHOR + HOUR, topic="news")  # another topic
    book.write()
    assert refusals(counted(store, launched)) == (1, 0)


def test_the_held_out_are_asked_from_when_theirs_would_have_left(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=2)
    for user, after in ((1, HOUR), (2, -HOUR)):
        row = book.member(1, user, held_out=True, anchor=ANCHOR)
        book.message(row, 1, "held_out", ANCHOR)
        suppress(book, ANCHOR + after, user_id=user)
    book.write()
    found = counted(store, launched)
    assert refusals(found, HOLDOUT) == (1, 0)
    assert found.channels[0].unsubscribed == 0, "nothing left on the channel"


def test_a_refusal_after_a_later_run_counts_for_the_user(book: Book, store: Store, launched: Launched) -> None:
    for run in (1, 2):
        book.run(run, AS_OF.date() + timedelta(days=run), audience=1)
    row = book.member(1, 1, anchor=ANCHOR)
    book.message(row, 1, "accepted", ANCHOR, sent_at=ANCHOR, attempts=1)
    later = ANCHOR + timedelta(days=20)
    row = book.member(2, 1, anchor=later)
    book.message(row, 1, "accepted", later, sent_at=later, attempts=1)
    suppress(book, later + HOUR, user_id=1)
    book.write()
    assert refusals(counted(store, launched)) == (1, 0)


def test_guardrails_are_crossed_only_when_it_is_sure() -> None:
    assert guard(share(0, 10_000), 0.005) is Guard.KEPT
    assert guard(share(60, 10_000), 0.005) is Guard.UNCLEAR
    assert guard(share(100, 10_000), 0.005) is Guard.CROSSED
    assert guard(share(0, 0), 0.005) is Guard.UNCLEAR


def test_a_crossed_guardrail_is_a_caveat(book: Book, store: Store, launched: Launched) -> None:
    from orchestrator.report.html import page
    from orchestrator.report.sentences import caveats

    book.run(1, audience=100)
    for user in range(1, 101):
        sent(book, user)
        if user <= 20:
            suppress(book, ANCHOR + HOUR, user_id=user)
    book.write()
    found = counted(store, launched)
    said = caveats(found, findings(found), "en")
    assert any(note.startswith("Guardrail crossed: unsubscribed") for note in said)
    assert "guard-crossed" in page(found, findings(found))


def test_no_consent_makes_the_report_look_at_all_the_others(store: Store, launched: Launched) -> None:
    if store.dialect == "postgresql":
        pytest.skip("how SQLite says it")
    query = refused(launched).select()
    sql = str(query.compile(store.writer_engine, compile_kwargs={"literal_binds": True}))
    with store.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
    assert any("SEARCH earlier USING" in line for line in plan)
