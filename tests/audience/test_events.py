"""Events as they come in: each kept once, whoever tells of it and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.people import UserRow, upsert_users
from orchestrator.store.engine import Store
from orchestrator.store.tables import event, users

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def test_events_are_kept_once_and_unknown_users_added(store: Store) -> None:
    first = IncomingEvent("known", "app_open", NOW, "1", {"screen": "首页"}, message_id=(7 << 40) | (1 << 4) | 1)
    twice = IncomingEvent("new", "app_open", NOW - timedelta(hours=1), "2")
    with store.write() as connection:
        upsert_users(connection, [UserRow("known", name="K")], NOW)
        done = record_events(connection, [first, twice, twice], NOW)
        assert (done.new, done.known) == (("1", "2"), ("2",))
        other_words = IncomingEvent("else", "order_paid", NOW, "1")
        done = record_events(connection, [other_words, IncomingEvent("known", "app_open", NOW, "3")], NOW)
        assert (done.new, done.known) == (("3",), ("1",))
        rows = connection.execute(select(event).order_by(event.c.id)).all()
        names = set(connection.execute(select(users.c.external_id)).scalars())
    assert names == {"known", "new"}
    assert [(row.source_id, row.name, row.at, row.properties) for row in rows[:2]] == [
        ("1", "app_open", NOW, {"screen": "首页"}),
        ("2", "app_open", NOW - timedelta(hours=1), None),
    ]
    assert rows[0].message_id == (7 << 40) | (1 << 4) | 1
    assert rows[0].received_at == NOW


def test_more_than_one_statement_can_name(store: Store) -> None:
    events = [IncomingEvent(f"u{n % 2100}", "e", NOW, str(n)) for n in range(2500)]
    with store.write() as connection:
        assert len(record_events(connection, events, NOW).new) == 2500
        assert len(record_events(connection, events, NOW).known) == 2500
        assert connection.execute(select(func.count()).select_from(event)).scalar() == 2500


def test_nothing_is_nothing(store: Store) -> None:
    with store.write() as connection:
        assert record_events(connection, [], NOW).new == ()
