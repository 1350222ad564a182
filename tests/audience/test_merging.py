"""Two users become one: everything moves, the ledger stays, and the old name goes on working."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from orchestrator.audience import merging
from orchestrator.audience.aliases import family
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.merging import merge_users, show_user
from orchestrator.audience.people import (
    AddressRow,
    UserRow,
    end_address,
    ensure_users,
    lift,
    quarantine_address,
    set_consent,
    suppress,
    upsert_addresses,
    upsert_users,
    user_ids,
)
from orchestrator.audience.segment import clause, count
from orchestrator.clock import ManualClock
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ledger.ids import message_id
from orchestrator.report.explain import explain
from orchestrator.report.values import Launched
from orchestrator.store.engine import Store
from orchestrator.store.tables import address, consent, event, member, message, run, suppression, transition, users
from tests.audience.conftest import NOW

DAY = timedelta(days=1)


def rows(store: Store, table: Table) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table).order_by(next(iter(table.c)))))


@pytest.fixture
def pair(store: Store) -> tuple[int, int]:
    with store.write() as connection:
        people = [
            UserRow("a", name="Ann", attributes={"tier": "gold"}),
            UserRow("b", name="Bee", zone="Europe/Berlin", attributes={"tier": "silver", "orders": 3}),
        ]
        upsert_users(connection, people, NOW - 9 * DAY)
        upsert_addresses(connection, [AddressRow("b", "push", "tok", NOW - 8 * DAY)], NOW)
        suppress(connection, channel="sms", reason="stop", source="t", at=NOW - DAY, user_id=2)
        record_events(connection, [event_of("b", n) for n in range(5)], NOW)
    return 1, 2


def event_of(user: str, number: int) -> IncomingEvent:
    return IncomingEvent(user, "app_open", NOW - number * DAY, f"{user}-{number}")


def merge(store: Store, keep: str = "a", other: str = "b") -> merging.Merged:
    return merge_users(store, keep, other, ManualClock(NOW), "operator test")


def consents_of(store: Store) -> list[tuple[int, bool, datetime, datetime | None]]:
    found = [(row.user_id, row.granted, row.valid_from, row.valid_until) for row in rows(store, consent)]
    return sorted(found, key=lambda version: version[2])


@pytest.mark.usefixtures("pair")
def test_everything_moves_and_the_old_name_means_the_one_who_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "CHUNK", 2)
    done = merge(store)
    assert (done.events, done.addresses, done.suppressions, done.messages) == (5, 1, 1, 0)
    assert {row.user_id for table in (event, address, suppression) for row in rows(store, table)} == {1}
    kept, old = rows(store, users)
    assert (kept.name, kept.zone, kept.zone_key, kept.attributes) == (
        "Ann", "Europe/Berlin", "Europe/Berlin", {"tier": "gold", "orders": 3},
    )  # fmt: skip
    assert old.attributes == {"tier": "silver", "orders": 3}
    with store.write() as connection:
        assert user_ids(connection, ["a", "b"]) == {"a": 1, "b": 1}
        assert ensure_users(connection, ["b"], NOW) == {"b": 1}
        upsert_users(connection, [UserRow("b", attributes={"n": 1}), UserRow("a", attributes={"n": 2})], NOW)
        record_events(connection, [event_of("b", 9)], NOW)
        assert set_consent(connection, 2, "push", "t", granted=True, source="t", at=NOW)
        assert lift(connection, channel="sms", at=NOW, user_id=2)
        assert count(connection, clause("s", {"s": {"name": "s", "where": {"not": {"did": "never"}}}}), NOW) == 1
        shown = show_user(connection, "b")
    assert (shown["user"], shown["also_called"], shown["events"]) == ("a", ["b"], {"app_open": 6})
    assert shown["attributes"]["n"] == 2
    assert [one["address"] for one in shown["addresses"]] == ["…tok"]
    assert [row.user_id for row in rows(store, consent)] == [1]
    assert [row.actor for row in rows(store, transition)] == ["operator test"]


@pytest.mark.parametrize(
    ("mine", "theirs", "granted"),
    [
        ([(2, True)], [], True),
        ([], [(2, True)], True),
        ([(3, True)], [(2, False)], False),
        ([(3, False)], [(2, True)], False),
        ([(2, False)], [(3, True)], False),
        ([(2, False), (1, True)], [(3, True)], True),
    ],
)
@pytest.mark.usefixtures("pair")
def test_history_in_order_of_time_and_a_refusal_holds(
    store: Store, mine: list[tuple[int, bool]], theirs: list[tuple[int, bool]], granted: bool
) -> None:
    with store.write() as connection:
        for user_id, statements in ((1, mine), (2, theirs)):
            for ago, said in sorted(statements, reverse=True):
                set_consent(connection, user_id, "push", "t", granted=said, source="t", at=NOW - ago * DAY)
    merge(store)
    versions = consents_of(store)
    assert {version[0] for version in versions} == {1}
    assert [one[3] for one in versions] == [one[2] for one in versions[1:]] + [None]
    assert versions[-1][1] is granted
    assert {(said, NOW - ago * DAY) for ago, said in (*mine, *theirs)} <= {version[1:3] for version in versions}


def test_merges_follow_one_another_and_mistakes_are_refused(store: Store, pair: tuple[int, int]) -> None:
    with store.write() as connection:
        ensure_users(connection, ["c"], NOW)
    merge(store)
    with pytest.raises(InputError, match="one user already"):
        merge(store, "b", "a")
    with pytest.raises(NotFoundError, match="no user 'x'"):
        merge(store, "a", "x")
    merge(store, "c", "a")
    with store.read() as connection:
        assert user_ids(connection, ["a", "b", "c"]) == {"a": 3, "b": 3, "c": 3}
        assert family(connection, 2) == (3, *pair)


@pytest.mark.usefixtures("pair")
def test_waiting_messages_leave_with_a_reason_and_both_stories_are_told(store: Store) -> None:
    with store.write() as connection:
        row = {"id": 1, "campaign": "c", "version": "v", "local_date": "2026-12-01", "state": "active"}
        connection.execute(insert(run).values(**row, as_of=NOW, closes_at=NOW + DAY, created_at=NOW))
        for user_id, state in ((1, "accepted"), (2, "planned")):
            ids = {"run_id": 1, "user_id": user_id, "arm": "a", "held_out": False}
            connection.execute(insert(member).values(**ids, decision="planned", zone_key="", country="", anchor=NOW))
            own = {"id": message_id(1, user_id, 1), "step": 1, "lane_id": 17, "address_id": user_id, "state": state}
            connection.execute(insert(message).values(**ids, **own, due_at=NOW, deadline=NOW, state_at=NOW))
    assert merge(store).messages == 1
    assert [(row.user_id, row.state, row.reason) for row in rows(store, message)] == [
        (1, "accepted", None), (2, "skipped", "merged"),
    ]  # fmt: skip
    with store.read() as connection:
        stories = [explain(connection, name, _launched(), NOW) for name in ("a", "b")]
    assert [[one.messages[0].state for one in story.members] for story in stories] == [["accepted", "skipped"]] * 2


def _launched() -> Launched:
    known = {"name": "c", "state": "running", "version": "v", "launched_at": NOW}
    fields = {name: known.get(name) for name in Launched.__dataclass_fields__}
    return Launched(**fields)  # type: ignore[arg-type]  # only the name matters here


def test_ended_and_set_aside_addresses_are_shown_with_reason_and_date(store: Store) -> None:
    with store.write() as connection:
        rows_of = [AddressRow("u", "push", f"token-{name}", NOW) for name in ("dead", "gone", "held")]
        upsert_addresses(connection, rows_of, NOW)
        ids = {row.value: row.id for row in connection.execute(select(address))}
        later = NOW + timedelta(hours=1)
        end_address(connection, ids["token-dead"], "dead", later)
        end_address(connection, ids["token-gone"], "removed", later)
        quarantine_address(connection, ids["token-held"], later)
        shown = show_user(connection, "u")
    assert [(one["address"], one["set_aside_until"]) for one in shown["addresses"]] == [("…held", later)]
    assert {(one["address"], one["reason"], one["ended_at"]) for one in shown["ended_addresses"]} == {
        ("…dead", "dead", later),
        ("…gone", "removed", later),
    }
