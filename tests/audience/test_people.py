"""Users, addresses, consents and suppressions: what is news, what is not, and what held when."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, delete, select

from orchestrator.audience.facts import facts_of
from orchestrator.audience.people import (
    AddressRow,
    ConsentChange,
    UserRow,
    end_address,
    lift,
    quarantine_address,
    revive_address,
    set_consent,
    set_consents,
    suppress,
    upsert_addresses,
    upsert_users,
    user_ids,
)
from orchestrator.errors import InputError
from orchestrator.store.engine import Store
from orchestrator.store.tables import address, consent, suppression, users

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings()]


def user(connection: Connection, name: str) -> dict[str, Any]:
    return dict(connection.execute(select(users).where(users.c.external_id == name)).mappings().one())


# --- users -----------------------------------------------------------------------------------------------------------


def test_a_user_is_added_merged_and_left_alone(store: Store) -> None:
    first = UserRow("u", name="李雷", locale="zh-CN", zone="Asia/Shanghai", attributes={"a": 1, "b": "x"})
    with store.write() as connection:
        assert upsert_users(connection, [first], NOW).written == 1
        assert upsert_users(connection, [first], NOW + DAY).written == 0
        assert user(connection, "u")["updated_at"] == NOW
        assert upsert_users(connection, [UserRow("u", country="cn", attributes={"b": "y"})], NOW + DAY).written == 1
        found = user(connection, "u")
    assert (found["name"], found["locale"], found["country"]) == ("李雷", "zh-CN", "CN")
    assert found["attributes"] == {"a": 1, "b": "y"}
    assert (found["zone_key"], found["created_at"], found["updated_at"]) == ("Asia/Shanghai", NOW, NOW + DAY)


def test_unknown_zones_and_countries_are_counted_and_never_in_the_way(store: Store) -> None:
    """Parcelvoy #610: a few invalid zone names lost 600,000 rows."""
    people = [
        UserRow("a", zone="Europe/Berln", country="DE"),
        UserRow("b", zone="China Standard Time"),
        UserRow("c", zone=" Europe/Berlin ", country="Germany"),
        UserRow("d", zone="Factory", country="UK"),
    ]
    with store.write() as connection:
        done = upsert_users(connection, people, NOW)
        keys = [user(connection, name)["zone_key"] for name in "abcd"]
    assert (done.written, done.zones_unknown, done.countries_unknown) == (4, 3, 2)
    assert keys == ["country:DE", "", "Europe/Berlin", ""]


def test_a_phone_that_arrives_later_gives_its_country_to_who_has_none(store: Store) -> None:
    phones = [AddressRow(name, "sms", f"+4915123456{place}", NOW, country="DE") for place, name in enumerate("abc")]
    with store.write() as connection:
        upsert_users(connection, [UserRow("a"), UserRow("b", country="FR"), UserRow("c", zone="Asia/Tokyo")], NOW)
        upsert_addresses(connection, phones, NOW)
        found = [(user(connection, name)["country"], user(connection, name)["zone_key"]) for name in "abc"]
        upsert_users(connection, [UserRow("a", name="A")], NOW)
        assert user(connection, "a")["country"] == "DE"
    assert found == [("DE", "country:DE"), ("FR", "country:FR"), ("DE", "Asia/Tokyo")]


def test_facts_are_what_templates_may_say(store: Store) -> None:
    with store.write() as connection:
        upsert_users(connection, [UserRow("u", "Ann", "en", country="US", attributes={"dish": "soup", "id": "x"})], NOW)
        number = user_ids(connection, ["u"])["u"]
        found = facts_of(connection, [number, number, number + 1])
    assert found == {number: {"id": "u", "name": "Ann", "locale": "en", "country": "US", "dish": "soup"}}


# --- addresses -------------------------------------------------------------------------------------------------------


def test_an_address_that_arrives_for_another_user_moves(store: Store) -> None:
    with store.write() as connection:
        assert upsert_addresses(connection, [AddressRow("a", "push", "tok", NOW)], NOW) == 1
        assert upsert_addresses(connection, [AddressRow("b", "push", "tok", NOW + DAY)], NOW) == 1
        old, new = rows(connection, address)
    assert (old["valid_until"], old["end_reason"]) == (NOW + DAY, "moved")
    assert (new["valid_from"], new["valid_until"], new["kind"]) == (NOW + DAY, None, "token")
    assert old["user_id"] != new["user_id"]


def test_old_news_moves_and_revives_nothing(store: Store) -> None:
    undated = [AddressRow("a", "push", "tok"), AddressRow("b", "push", "tok"), AddressRow("a", "sms", "+49301")]
    with store.write() as connection:
        assert upsert_addresses(connection, undated, NOW) == 3
        before = rows(connection, address)
        assert upsert_addresses(connection, undated, NOW + DAY) == 0
        assert upsert_addresses(connection, [AddressRow("a", "push", "tok", NOW - DAY)], NOW) == 0
        assert rows(connection, address) == before
        current = next(row for row in before if row["valid_until"] is None and row["channel"] == "push")
        assert end_address(connection, current["id"], "dead", NOW + DAY)
        assert upsert_addresses(connection, undated, NOW + 2 * DAY) == 0
        assert upsert_addresses(connection, [AddressRow("b", "push", "tok", NOW + DAY)], NOW) == 0
        assert upsert_addresses(connection, [AddressRow("b", "push", "tok", NOW + 2 * DAY)], NOW) == 1


def test_a_confirmation_is_remembered_and_saves_a_newer_registration_from_an_older_death(store: Store) -> None:
    with store.write() as connection:
        upsert_addresses(connection, [AddressRow("a", "push", "tok", NOW)], NOW)
        assert upsert_addresses(connection, [AddressRow("a", "push", "tok", NOW + DAY)], NOW) == 1
        (row,) = rows(connection, address)
        assert row["last_seen_at"] == NOW + DAY
        assert not end_address(connection, row["id"], "dead", NOW + 2 * DAY, registered_before=NOW + DAY)
        assert end_address(connection, row["id"], "dead", NOW + 2 * DAY, registered_before=NOW + DAY * 1.5)
        assert not end_address(connection, row["id"], "dead", NOW + 3 * DAY)
        assert rows(connection, address)[0]["valid_until"] == NOW + 2 * DAY


def test_a_quarantine_is_never_cut_short(store: Store) -> None:
    with store.write() as connection:
        upsert_addresses(connection, [AddressRow("a", "push", "tok", NOW)], NOW)
        number = rows(connection, address)[0]["id"]
        assert quarantine_address(connection, number, NOW + DAY)
        assert not quarantine_address(connection, number, NOW + DAY / 2)
        assert rows(connection, address)[0]["quarantined_until"] == NOW + DAY


def test_a_death_is_taken_back_unless_somebody_holds_the_address_by_now(store: Store) -> None:
    with store.write() as connection:
        upsert_addresses(connection, [AddressRow("a", "push", "tok", NOW)], NOW)
        number = rows(connection, address)[0]["id"]
        assert not revive_address(connection, number)
        end_address(connection, number, "dead", NOW + DAY)
        assert revive_address(connection, number)
        assert rows(connection, address)[0]["valid_until"] is None
        end_address(connection, number, "dead", NOW + DAY)
        upsert_addresses(connection, [AddressRow("b", "push", "tok", NOW + 2 * DAY)], NOW)
        assert not revive_address(connection, number)


# --- consents --------------------------------------------------------------------------------------------------------


def held(connection: Connection, at: datetime) -> bool | None:
    for row in rows(connection, consent):
        if row["valid_from"] <= at and (row["valid_until"] is None or at < row["valid_until"]):
            return bool(row["granted"])
    return None


def test_consents_are_versions_and_saying_it_again_is_no_news(store: Store) -> None:
    def say(at: datetime, *, granted: bool) -> bool:
        return set_consent(connection, 1, "push", "news", granted=granted, source="app", at=at)

    with store.write() as connection:
        news = [say(NOW, granted=True), say(NOW + DAY, granted=True), say(NOW + 2 * DAY, granted=False)]
        assert news == [True, False, True]
        assert not say(NOW + 2 * DAY, granted=True), "at the same instant the refusal wins"
        assert [held(connection, NOW + n * DAY) for n in (-1, 0, 1, 2, 3)] == [None, True, True, False, False]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=8), st.integers(0, 99), st.integers(1, 4))
def test_dated_consents_come_in_any_order_and_twice(
    store: Store, stated: list[tuple[int, bool]], seed: int, batch: int
) -> None:
    changes = [ConsentChange(1, "sms", "news", yes, "t", NOW + day * DAY, dated=True) for day, yes in stated]
    shuffled = random.Random(seed).sample(changes, len(changes))
    with store.write() as connection:
        connection.execute(delete(consent))
        for start in range(0, len(shuffled), batch):
            set_consents(connection, shuffled[start : start + batch])
        before = rows(connection, consent)
        assert set_consents(connection, changes) == 0
        assert rows(connection, consent) == before
        for day in range(-1, 8):
            latest = max((one for one, _ in stated if one <= day), default=None)
            expected = None if latest is None else all(yes for one, yes in stated if one == latest)
            assert held(connection, NOW + day * DAY) is expected


# --- suppressions ----------------------------------------------------------------------------------------------------


def test_a_suppression_is_kept_once_lifted_and_not_revived_by_an_old_list(store: Store) -> None:
    def stop(at: datetime, reason: str = "stop") -> bool:
        return suppress(connection, channel="sms", address="+49301", reason=reason, source="reply", at=at)

    with store.write() as connection:
        assert [stop(NOW), stop(NOW + DAY), stop(NOW + DAY, "complaint")] == [True, False, True]
        assert lift(connection, channel="sms", address="+49301", at=NOW + 2 * DAY, reasons=["stop"])
        assert not lift(connection, channel="sms", address="+49301", at=NOW + 2 * DAY, reasons=["stop"])
        assert not stop(NOW + DAY)
        assert stop(NOW - DAY), "earlier than what was known"
        assert not stop(NOW - DAY)
        assert stop(NOW + 3 * DAY)
        spans = [(row["reason"], row["valid_from"], row["valid_until"]) for row in rows(connection, suppression)]
    assert spans == [
        ("stop", NOW, NOW + 2 * DAY),
        ("complaint", NOW + DAY, None),
        ("stop", NOW - DAY, NOW),
        ("stop", NOW + 3 * DAY, None),
    ]


def test_a_user_is_suppressed_on_one_channel(store: Store) -> None:
    with store.write() as connection:
        assert suppress(connection, channel="push", user_id=7, reason="unsubscribe", source="web", at=NOW)
        assert not suppress(connection, channel="push", user_id=7, reason="unsubscribe", source="web", at=NOW)
        assert suppress(connection, channel="sms", user_id=7, reason="unsubscribe", source="web", at=NOW)
        assert lift(connection, channel="push", user_id=7, at=NOW)
        assert [row["valid_until"] for row in rows(connection, suppression)] == [NOW, None]


@pytest.mark.parametrize("target", [{}, {"address": "+49301", "user_id": 1}])
def test_a_suppression_is_of_one_thing(store: Store, target: dict[str, Any]) -> None:
    with store.write() as connection, pytest.raises(InputError, match="one of the two"):
        suppress(connection, channel="sms", reason="stop", source="t", at=NOW, **target)
