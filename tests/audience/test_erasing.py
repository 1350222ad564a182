"""Somebody is erased: nothing says any more who they were, the figures stay, and what they had refused holds."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, select, update

from orchestrator.audience import erased, erasing
from orchestrator.audience.addresses import revive_address
from orchestrator.audience.erased import seal_with
from orchestrator.audience.erasing import Erased, erase_user, known_of
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.importing import import_file
from orchestrator.audience.merging import merge_users
from orchestrator.audience.people import (
    AddressRow,
    ConsentChange,
    UserRow,
    ensure_users,
    lift,
    set_consent,
    suppress,
    take_consents,
    upsert_addresses,
    upsert_users,
    user_ids,
)
from orchestrator.audience.segment import clause, count
from orchestrator.audience.users import UserIds
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError, InputError, NotFoundError
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.engine import Store
from orchestrator.store.tables import (
    address,
    consent,
    event,
    metadata,
    suppression,
    transition,
    user_alias,
    users,
)
from orchestrator.store.tables import erased as erased_table
from tests.audience.conftest import NOW

DAY = timedelta(days=1)
CANARIES = ("canary-id", "canary-old", "+491510000", "canary@example.com", "canary-token", "Canaria", "canary-tier")


@pytest.fixture(autouse=True)
def sealed(store: Store) -> None:
    seal_with(store.writer_engine, seal_of(b"k"))


def seal_of(key: bytes) -> Callable[[str], str]:
    return lambda text: hmac.digest(key, text.encode(), "sha256").hex()


def arrive(store: Store, name: str = "canary-id") -> None:
    """What an export of the app says of the person."""
    with store.write() as connection:
        upsert_users(connection, [UserRow(name, "Canaria", "en", "Europe/Berlin", "DE", {"tier": "canary-tier"})], NOW)
        ways = [("sms", "+491510000"), ("email", "canary@example.com"), ("push", "canary-token")]
        upsert_addresses(connection, [AddressRow(name, channel, value) for channel, value in ways], NOW)


@pytest.fixture
def person(store: Store) -> Store:
    """Somebody with two names, a history, a bystander, and three ways of having said no."""
    arrive(store)
    with store.write() as connection:
        ensure_users(connection, ["canary-old", "bystander"], NOW)
        upsert_addresses(connection, [AddressRow("canary-old", "push", "canary-token-2")], NOW)
        own = user_ids(connection, ["canary-id"])["canary-id"]
        suppress(connection, channel="email", reason="complaint", source="x", at=NOW, address="canary@example.com")
        suppress(connection, channel="sms", reason="stop", source="x", at=NOW, user_id=own)
        set_consent(connection, own, "push", "promotions", granted=True, source="x", at=NOW - 2 * DAY)
        set_consent(connection, own, "push", "promotions", granted=False, source="x", at=NOW - DAY)
        said: dict[str, Any] = {"agent": "canary-tier", "network": "canary-tier", "confidence": "human"}
        events = [IncomingEvent("canary-id", "app_open", NOW - n * DAY, f"canary-id-{n}", said) for n in range(5)]
        events += [IncomingEvent("canary-id", "message_opened", NOW, "open:canary-id", said, 4711)]
        for number, word in ((4712, "canary-tier"), (4713, 7)):
            said = {"confidence": word}
            events += [IncomingEvent("canary-id", "link_clicked", NOW, f"canary-id-{number}", said, number)]
        events += [IncomingEvent("bystander", "app_open", NOW, "b")]
        record_events(connection, events, NOW)
        copy = "seed canary-id: push, arm a, step 1, en: accepted 200"
        record(connection, [Transition(NOW, "test_sent", "daemon", None, copy, "lunch", 1)])
    merge_users(store, "canary-id", "canary-old", ManualClock(NOW), "operator test")
    return store


def erase(store: Store, name: str = "canary-id") -> Erased:
    return erase_user(store, name, ManualClock(NOW + DAY), "operator test")


def rows(store: Store, table: Table) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table)))


def dump(store: Store) -> str:
    return "\n".join(str(row) for table in metadata.sorted_tables for row in rows(store, table))


def current(store: Store, table: Table) -> list[Any]:
    return [row for row in rows(store, table) if row.valid_until is None]


def test_nothing_says_any_more_who_it_was(person: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "CHUNK", 2)
    assert all(canary in dump(person) for canary in CANARIES)
    with person.read() as connection:
        known = known_of(connection, "canary-old")
    done = erase(person, "canary-old")
    assert (done.users, done.addresses, done.events, done.touches) == (2, 4, 5, 3)
    assert (done.consents, done.suppressions) == (2, 2) == (known["consents"], known["suppressions"])
    found = dump(person)
    assert not [canary for canary in CANARIES if canary in found]
    assert {(row.name, row.message_id, str(row.properties)) for row in rows(person, event) if row.message_id} == {
        ("message_opened", 4711, "{'confidence': 'human'}"),
        ("link_clicked", 4712, "{'confidence': 'suspect'}"),
        ("link_clicked", 4713, "None"),
    }
    assert [row.actor for row in rows(person, transition) if row.new == "erased"] == ["operator test"]
    assert {row.source_id for row in rows(person, event)} > {"b"}
    assert not [row for row in rows(person, user_alias) if row.old_user_id != row.user_id]
    assert current(person, address) == current(person, consent) == current(person, suppression) == []


def test_nobody_known_is_erased_and_nobody_twice(person: Store) -> None:
    erase(person)
    name = next(row.external_id for row in rows(person, users) if row.external_id.startswith("erased:"))
    for gone in ("canary-id", "canary-old", "nobody", name):
        with pytest.raises(NotFoundError, match="there is no user") as raised:
            erase(person, gone)
        assert raised.value.hint


def test_the_erased_are_in_no_segment_and_the_id_is_a_new_users(person: Store) -> None:
    everybody = clause("s", {"s": {"name": "s", "where": {"not": {"did": "never"}}}})
    ids = UserIds()
    with person.write() as connection:
        before = ids.of(connection, ["canary-id"], NOW)["canary-id"]
        assert count(connection, everybody, NOW + DAY) == 2
    erase(person)
    with person.write() as connection:
        assert count(connection, everybody, NOW + DAY) == 1
        after = ids.of(connection, ["canary-id"], NOW)["canary-id"]
        assert count(connection, everybody, NOW + DAY) == 2
    assert after not in {before, *(row.user_id for row in rows(person, user_alias))}


def test_who_had_refused_has_refused_when_an_old_export_is_imported(person: Store) -> None:
    erase(person)
    assert {row.reason for row in rows(person, erased_table)} == {"complaint", "stop", "refused"}
    for _ in range(2):  # again changes nothing
        arrive(person)
        held = {(row.channel, row.address, row.reason, row.source) for row in current(person, suppression)}
        assert held == {("email", "canary@example.com", "complaint", "erased"), ("sms", None, "stop", "erased")}
        assert [(row.channel, row.topic, row.granted) for row in current(person, consent)] == [
            ("push", "promotions", False)
        ]
    assert len(current(person, suppression)) == 2


def test_their_other_name_has_refused_too_and_a_stranger_has_not(person: Store) -> None:
    erase(person)
    with person.write() as connection:
        ensure_users(connection, ["stranger", "canary-old"], NOW)
        upsert_addresses(connection, [AddressRow("stranger", "email", "somebody@example.com")], NOW)
        new = user_ids(connection, ["canary-old"])["canary-old"]
    assert {(row.user_id, row.reason) for row in current(person, suppression)} == {(new, "stop")}


def test_a_file_without_dates_takes_nothing_back_and_the_person_does(person: Store) -> None:
    erase(person)
    with person.write() as connection:
        new = ensure_users(connection, ["canary-id"], NOW)["canary-id"]
        agreed = ConsentChange(new, "push", "promotions", granted=True, source="old export", at=NOW + 2 * DAY)
        take_consents(connection, [agreed], NOW, lambda *_: False, renews=False)
    assert [row.granted for row in current(person, consent)] == [False]
    with person.write() as connection:
        take_consents(connection, [agreed], NOW, lambda *_: False)
        lift(connection, channel="sms", at=NOW + 2 * DAY, user_id=new)
    assert [row.granted for row in current(person, consent)] == [True]
    erase_user(person, "canary-id", ManualClock(NOW + 3 * DAY), "operator test")
    mine = seal_of(b"k")("user\0canary-id")
    assert not [row for row in rows(person, erased_table) if row.digest == mine]  # what they last said counts
    assert {row.reason for row in rows(person, erased_table)} == {
        "complaint",
        "stop",
        "refused",
    }  # their other ways


def test_an_address_that_somebody_shares_keeps_its_suppression(person: Store) -> None:
    with person.write() as connection:
        moved = AddressRow("bystander", "email", "canary@example.com", NOW + timedelta(hours=1))
        upsert_addresses(connection, [moved], NOW)
    erase(person)
    assert [(row.address, row.reason) for row in current(person, suppression)] == [("canary@example.com", "complaint")]
    assert [row.value for row in current(person, address)] == ["canary@example.com"]


def test_interrupted_it_is_finished_by_repeating_it(person: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "CHUNK", 2)
    steps = 0

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    whole = erasing._erase_names, erasing._erase_events  # where it may be killed

    def some(*given: Any) -> bool:
        nonlocal steps
        steps += 1
        return killed() > 0 if steps == 2 else whole[1](*given)

    monkeypatch.setattr(erasing, "_erase_events", some)
    with pytest.raises(KeyboardInterrupt):
        erase(person)
    with person.write() as connection:
        assert count(connection, clause("s", {"s": {"name": "s", "where": {"not": {"did": "never"}}}}), NOW + DAY) == 1
        record_events(connection, [IncomingEvent("canary-id", "app_open", NOW, "canary-meanwhile")], NOW)
    monkeypatch.setattr(erasing, "_erase_events", whole[1])
    monkeypatch.setattr(erasing, "_erase_names", killed)
    with pytest.raises(KeyboardInterrupt):
        erase(person)
    assert len(rows(person, erased_table)) == 0  # all or nothing
    monkeypatch.setattr(erasing, "_erase_names", whole[0])
    assert erase(person, "canary-old").users == 2
    assert not [canary for canary in CANARIES if canary in dump(person)]
    arrive(person)
    assert len(current(person, suppression)) == 2


def test_what_comes_in_meanwhile_goes_too(person: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = erasing._look

    def meanwhile(*given: Any) -> Any:
        with person.write() as connection:
            record_events(connection, [IncomingEvent("canary-id", "app_open", NOW, "canary-meanwhile")], NOW)
            upsert_addresses(connection, [AddressRow("canary-old", "push", "canary-token-3")], NOW)
        return whole(*given)

    monkeypatch.setattr(erasing, "_look", meanwhile)
    assert erase(person).events == 6
    assert not [canary for canary in ("canary-meanwhile", *CANARIES) if canary in dump(person)]


def test_another_key_is_noticed_before_an_opt_out_is_missed(person: Store) -> None:
    erase(person)
    seal_with(person.writer_engine, seal_of(b"another"))
    with person.write() as connection, pytest.raises(ConfigError, match="erasure_key_file: is not the key"):
        erased.settle(connection)
    with pytest.raises(ConfigError, match="is not the key"):
        arrive(person)
    with pytest.raises(ConfigError, match="is not the key"):
        erase(person, "bystander")
    assert "bystander" in dump(person)


def test_until_there_is_an_opt_out_the_daemons_key_may_be_another(store: Store) -> None:
    """And whoever erases has to have theirs: a key that was made elsewhere by mistake would lock everybody out."""
    arrive(store)
    for key in (b"one", b"two"):
        seal_with(store.writer_engine, seal_of(key))
        with store.write() as connection:
            erased.settle(connection)
    seal_with(store.writer_engine, seal_of(b"one"))
    with pytest.raises(ConfigError, match="is not the key"):
        erase(store)
    seal_with(store.writer_engine, seal_of(b"two"))
    assert erase(store).users == 1


def test_nobody_is_merged_who_is_being_erased(person: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with person.write() as connection:
        upsert_users(connection, [UserRow("another")], NOW)

    def meanwhile(*_: Any) -> Any:
        for keep, other in (("canary-id", "another"), ("another", "canary-id")):
            with pytest.raises(InputError, match="being erased"):
                merge_users(person, keep, other, ManualClock(NOW), "operator test")
        raise InterruptedError

    monkeypatch.setattr(erasing, "_look", meanwhile)
    with pytest.raises(InterruptedError):
        erase(person)


def test_a_suppression_of_an_address_that_moves_meanwhile_stays(person: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = erasing._look

    def meanwhile(*given: Any) -> Any:
        found = whole(*given)
        with person.write() as connection:
            upsert_addresses(connection, [AddressRow("bystander", "email", "canary@example.com")], NOW + DAY)
        return found

    monkeypatch.setattr(erasing, "_look", meanwhile)
    erase(person)
    assert [(row.channel, row.address) for row in current(person, suppression)] == [("email", "canary@example.com")]


def test_a_husk_is_never_revived(person: Store) -> None:
    with person.write() as connection:
        mine = address.c.value == "canary-token"
        number = connection.execute(select(address.c.id).where(mine)).scalar_one()
        connection.execute(update(address).where(mine).values(valid_until=NOW, end_reason="dead"))
    erase(person)
    with person.write() as connection:
        assert not revive_address(connection, number)


def test_where_nobody_was_erased_nothing_is_hashed(store: Store) -> None:
    def never(_text: str) -> str:
        raise AssertionError("hashed")

    seal_with(store.writer_engine, never)
    arrive(store)


def test_a_file_that_is_imported_holds_them_too(person: Store, tmp_path: Any) -> None:
    erase(person)
    (tmp_path / "e.csv").write_text("u,at\ncanary-id,2026-01-01\n")
    columns = {"columns": {"user": "u", "name": {"value": "app_open"}, "at": {"column": "at"}}}
    import_file(person, "events", tmp_path / "e.csv", columns, ManualClock(NOW))
    assert [row.reason for row in current(person, suppression)] == ["stop"]


def test_a_husk_keeps_its_number_from_others(person: Store) -> None:
    with person.write() as connection:
        newest = connection.execute(select(func.max(address.c.id))).scalar()
        connection.execute(update(address).where(address.c.id == newest).values(details={"app": "canary-tier"}))
    erase(person)
    with person.write() as connection:
        upsert_addresses(connection, [AddressRow("bystander", "push", "other")], NOW)
        [own] = connection.execute(select(address.c.id).where(address.c.value == "other")).scalars()
    assert own > (newest or 0)
    assert "canary-tier" not in dump(person)
