"""``POST /v1/users``, ``POST /v1/consents`` and ``GET /openapi.json``, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Table, select

from orchestrator.store import Store
from orchestrator.store.tables import address, consent, users
from orchestrator.web.openapi import EXAMPLES
from tests.web.server import KEY, Answer, Client

BEARER = {"Authorization": f"Bearer {KEY}"}


def post(client: Client, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
    return client.request("POST", path, json.dumps(body).encode(), BEARER if headers is None else headers)


def rows(store: Store, table: Table) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


def new(answer: Answer) -> tuple[int, int, int]:
    assert answer.status == 202, answer.body
    return tuple(answer.json["new"][name] for name in ("users", "addresses", "consents"))


def test_the_documented_examples_are_taken_in_and_change_nothing_again(client: Client, store: Store) -> None:
    assert new(post(client, "/v1/users", EXAMPLES["/v1/users"])) == (1, 2, 0)
    assert new(post(client, "/v1/consents", EXAMPLES["/v1/consents"])) == (0, 0, 1)
    assert post(client, "/v1/events", EXAMPLES["/v1/events"]).json == {"accepted": 2, "known": 0}
    assert new(post(client, "/v1/users", EXAMPLES["/v1/users"])) == (0, 0, 0)
    assert new(post(client, "/v1/consents", EXAMPLES["/v1/consents"])) == (0, 0, 0)
    (user,) = rows(store, users)
    assert (user.zone_key, user.country, user.attributes) == ("Asia/Shanghai", "CN", {"tier": "gold", "orders": 12})
    assert [row.value for row in rows(store, address)] == ["a-token-of-the-app", "+8613812345678"]
    assert [(row.channel, row.granted, row.source) for row in rows(store, consent)] == [("sms", True, "api")]


def test_a_token_moves_to_who_registered_it_last(client: Client, store: Store) -> None:
    def told(user: str, at: str) -> dict[str, Any]:
        return {"users": [{"id": user, "addresses": [{"channel": "push", "value": "t", "at": at}]}]}

    assert new(post(client, "/v1/users", told("a", "2026-11-01T00:00Z"))) == (1, 1, 0)
    assert new(post(client, "/v1/users", told("b", "2026-11-02T00:00Z"))) == (1, 1, 0)
    assert new(post(client, "/v1/users", told("a", "2026-11-01T12:00Z"))) == (0, 0, 0)
    assert [(row.user_id, row.end_reason) for row in rows(store, address)] == [(1, "moved"), (2, None)]


EARLY = "lies more than 5 minutes in the future: check the clock, and that the offset is right"
AGREED = {"user": "a", "channel": "push", "topic": "t"}
WRONG: list[tuple[str, dict[str, Any], list[tuple[int, str, str]]]] = [
    ("users", {"id": "a", "nam": "A"}, [(0, "nam", "unknown field (did you mean 'name'?)")]),
    ("users", {"name": "A"}, [(0, "id", "is required")]),
    (
        "users",
        {"id": "a", "addresses": [{"channel": "email", "value": "x@"}]},
        [(0, "addresses.0.value", "is not a mailbox")],
    ),
    (
        "users",
        {"id": "a", "addresses": [{"channel": "sms", "value": "0151 1", "regio": "DE"}]},
        [(0, "addresses.0.regio", "unknown field (did you mean 'region'?)")],
    ),
    ("consents", AGREED, [(0, "granted", "is required")]),
    ("consents", {**AGREED, "granted": True, "at": "2027-01-01T00:00Z"}, [(0, "at", EARLY)]),
]


@pytest.mark.parametrize(("kind", "item", "faults"), WRONG)
def test_nothing_is_kept_unless_all_is_right(
    client: Client, store: Store, kind: str, item: dict[str, Any], faults: list[tuple[int, str, str]]
) -> None:
    answer = post(client, f"/v1/{kind}", {kind: [item]})
    assert answer.status == 422
    assert [(one["index"], one["field"], one["reason"]) for one in answer.json["errors"]] == faults
    assert rows(store, users) == []


def test_keys_and_limits_are_those_of_events(client: Client) -> None:
    for path in ("/v1/users", "/v1/consents"):
        word = path.removeprefix("/v1/")
        assert post(client, path, {word: []}, {}).status == 401
        assert post(client, path, {word: [{}] * 1001}).status == 422
        assert client.request("POST", path, b"{", BEARER).status == 400
        assert client.request("POST", path, b" " * 1_000_001, BEARER).status == 413
        assert post(client, path, {word: []}).status == 202


def test_openapi_describes_every_door_without_loose_ends(client: Client) -> None:
    answer = client.request("GET", "/openapi.json")
    assert answer.status == 200
    document = answer.json
    phones = {"/v1/inbox/{user}", "/v1/inbox/{user}/read", "/v1/inbox-tokens", "/v1/acks"}
    assert set(document["paths"]) == {*EXAMPLES, *phones}
    refs = {one for one in str(document).split("'") if one.startswith("#/")}
    for ref in refs:
        found = document
        for part in ref.removeprefix("#/").split("/"):
            found = found[part]
    own = {"EventIn", "UserIn", "AddressIn", "ConsentIn", "Refusal"}
    assert own | {"AckIn", "AcksIn", "Deed", "ReadIn", "TokenIn"} == set(document["components"]["schemas"])
    assert document["components"]["schemas"]["EventIn"]["properties"]["message_id"]["type"] == ["string", "null"]
