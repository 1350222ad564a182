"""Kinds and details of addresses: what may be imported, what is refused, and what newer news does to what is known."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from orchestrator.audience.addresses import AddressRow, upsert_addresses
from orchestrator.audience.cells import CellError
from orchestrator.audience.contacts import KINDS_OF, check_contact
from orchestrator.audience.mapping import AddressColumns
from orchestrator.audience.merging import merge_users
from orchestrator.audience.takers import Addresses
from orchestrator.audience.users import UserRow, upsert_users
from orchestrator.clock import ManualClock
from orchestrator.errors import InputError
from orchestrator.store import Store
from orchestrator.store.tables import address
from orchestrator.tracking.ingest import Refusal
from orchestrator.tracking.profiles import keep, read_users

NOW = datetime(2026, 12, 1, tzinfo=UTC)
POINT = base64.urlsafe_b64encode(b"\x04" + bytes(range(64))).decode().rstrip("=")
AUTH = base64.urlsafe_b64encode(bytes(16)).decode().rstrip("=")
KEYS = {"p256dh": POINT, "auth": AUTH}
ENDPOINT = "https://push.example/send/canary"


@pytest.mark.parametrize(
    ("channel", "kind"), [(channel, kind) for channel, kinds in KINDS_OF.items() for kind in kinds]
)
def test_every_kind_belongs_to_its_channel(channel: str, kind: str) -> None:
    check_contact(channel, kind, ENDPOINT, KEYS if kind == "webpush" else None)
    for other in set(KINDS_OF) - {channel, *(c for c, kinds in KINDS_OF.items() if kind in kinds)}:
        with pytest.raises(InputError, match=f"kind: {kind} is none of channel {other}"):
            check_contact(other, kind, ENDPOINT, KEYS)


@pytest.mark.parametrize(
    ("kind", "value", "details", "words"),
    [
        ("webpush", ENDPOINT, {}, "details.p256dh: a webpush address needs it"),
        ("webpush", ENDPOINT, {"p256dh": POINT}, "details.auth: a webpush address needs it"),
        ("webpush", "http://push.example/canary", KEYS, "value: a webpush address is the https address"),
        ("webpush", "https://user@push.example/canary", KEYS, "value: a webpush address is the https address"),
        ("webpush", "https://[canary", KEYS, "value: a webpush address is the https address"),
        ("webpush", ENDPOINT, {**KEYS, "auth": "canary"}, "details.auth: is not 16 bytes in base64url"),
        ("webpush", ENDPOINT, {**KEYS, "auth": "canaryé"}, "details.auth: is not 16 bytes in base64url"),
        ("webpush", ENDPOINT, {**KEYS, "p256dh": AUTH}, "details.p256dh: is not 65 bytes"),
        ("webpush", ENDPOINT, {**KEYS, "p256dh": POINT.replace("B", "A", 1)}, "details.p256dh: is not 65 bytes"),
        ("apns", "canary", {"environment": "canary"}, "details.environment: is neither production nor sandbox"),
        ("apns", "canary", {"app": "com example"}, "details.app: is no bundle id"),
        ("apns", "canary", {"ap": "x"}, r"details: unknown field 'ap' \(did you mean 'app'\?\)"),
    ],
)
def test_what_could_not_be_sent_to_is_refused(kind: str, value: str, details: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_contact("push", kind, value, details)
    assert "canary" not in str(caught.value)


def test_padded_and_plain_base64_are_taken_too() -> None:
    plain = base64.b64encode(b"\x04" + b"\xfb" * 64).decode()
    check_contact("push", "webpush", ENDPOINT, {"p256dh": plain, "auth": AUTH + "=="})


HEADER = ["who", "token", "kind", "os", "env", "bundle"]
COLUMNS: dict[str, Any] = {
    "user": "who",
    "channel": {"value": "push"},
    "value": "token",
    "kind": "kind",
    "platform": "os",
    "details": {"environment": "env", "app": "bundle"},
}


def test_a_file_brings_platform_and_details() -> None:
    taker = Addresses(AddressColumns.model_validate(COLUMNS), HEADER)
    row = taker.read(["ada", "t", "apns", "", "sandbox", None])
    assert (row.kind, row.platform, row.details) == ("apns", None, {"environment": "sandbox"})
    assert taker.read(["ada", "t", "token", "harmony", None, None]).platform == "harmony"
    for cells, words in (
        (["ada", "t", "apns", "", "staging", None], "the address's details.environment: is neither"),
        (["ada", "t", "apsn", "", None, None], "unknown kind of address 'apsn'"),
        (["ada", "t", "phone", "", None, None], "kind: phone is none of channel push"),
        (["ada", "t", "token", "symbian", None, None], "unknown platform 'symbian'"),
    ):
        with pytest.raises(CellError, match=words):
            taker.read(cells)


def known(store: Store) -> list[tuple[str, str | None, Any]]:
    with store.read() as connection:
        query = select(address.c.kind, address.c.platform, address.c.details).order_by(address.c.id)
        return [tuple(row) for row in connection.execute(query)]


def post(store: Store, **given: Any) -> Refusal | None:
    read = read_users(orjson.dumps({"users": [{"id": "ada", "addresses": [given]}]}), NOW)
    if isinstance(read, Refusal):
        return read
    with store.write() as connection:
        keep(connection, [read], NOW)
    return None


def test_the_api_takes_them_too(store: Store) -> None:
    assert post(store, channel="push", value=ENDPOINT, kind="webpush", details=KEYS) is None
    assert known(store) == [("webpush", "web", KEYS)]
    assert post(store, channel="inbox", value="ada") is None
    assert known(store)[1] == ("user", None, None)
    refused = post(store, channel="push", value="x", kind="apns", details={"environment": "qa"})
    assert refused is not None
    [fault] = refused.faults
    assert (fault.field, fault.reason) == ("addresses.0.details.environment", "is neither production nor sandbox")


def tell(store: Store, days: int | None, **more: Any) -> int:
    at = None if days is None else NOW + timedelta(days=days)
    with store.write() as connection:
        return upsert_addresses(connection, [AddressRow("ada", "push", "t", at, "apns", **more)], NOW)


def test_newer_news_replaces_and_any_news_fills_in(store: Store) -> None:
    production, sandbox = {"environment": "production"}, {"environment": "sandbox"}
    assert tell(store, None) == 1
    assert known(store) == [("apns", "ios", None)]
    assert tell(store, None, details=sandbox) == 1  # was not known
    assert tell(store, None, details=production) == 0  # undated: old news for all we know
    assert tell(store, -5, details=production) == 0
    assert known(store) == [("apns", "ios", sandbox)]
    assert tell(store, 5, details=production) == 1
    assert known(store) == [("apns", "ios", production)]
    assert tell(store, 6) == 1  # seen again; nothing is said of its details
    assert known(store) == [("apns", "ios", production)]


def test_merging_two_users_does_not_give_one_two_ids_of_their_own(store: Store) -> None:
    with store.write() as connection:
        upsert_users(connection, [UserRow("ada"), UserRow("old-ada")], NOW)
        rows = [AddressRow(name, "inbox", name, NOW) for name in ("ada", "old-ada")]
        upsert_addresses(connection, [*rows, AddressRow("old-ada", "push", "t", NOW)], NOW)
    merge_users(store, "ada", "old-ada", ManualClock(NOW), "operator test")
    with store.read() as connection:
        current = select(address.c.channel, address.c.value, address.c.user_id).where(address.c.valid_until.is_(None))
        found = connection.execute(current.order_by(address.c.channel)).all()
    assert [(row.channel, row.value) for row in found] == [("inbox", "ada"), ("push", "t")]
    assert len({row.user_id for row in found}) == 1
