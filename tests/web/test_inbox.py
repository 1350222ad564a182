"""The app's own inbox over real HTTP: who may read it, what it shows, and what its marks do to the ledger."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import insert, select

from orchestrator.audience.merging import merge_users
from orchestrator.content.links import Kind, Links
from orchestrator.store import Store
from orchestrator.store.tables import event, inbox_item, message, receipt, users
from tests.tracking.world import HOUR, NOW, World
from tests.web.server import KEY, LINKS, Answer, Client

WITH_KEY = {"Authorization": f"Bearer {KEY}"}


def item(store: Store, world: World, user: int, run: int = 1, **more: Any) -> int:
    """An accepted message with its item."""
    number = world.message(run, world.user(user))
    row = {"message_id": number, "user_id": user, "title": "Lunch?", "body": "It is ready.", "link": "app://menu"}
    row |= {"image": "", "data": {"dish": "ramen"}, "at": NOW - HOUR, "expires_at": NOW + 24 * HOUR, **more}
    with store.write() as connection:
        connection.execute(insert(inbox_item).values(row))
    return number


def own(client: Client, user: str = "u-7", hours: float = 1) -> dict[str, str]:
    return {"Authorization": f"Bearer {LINKS.inbox_pass(user, client.clock.machine() + timedelta(hours=hours))}"}


def show(client: Client, headers: dict[str, str], user: str = "u-7", query: str = "") -> Answer:
    return client.request("GET", f"/v1/inbox/{quote(user, safe='')}{query}", headers=headers)


def read(client: Client, headers: dict[str, str], ids: Any, user: str = "u-7") -> Answer:
    return client.request("POST", f"/v1/inbox/{user}/read", json.dumps({"ids": ids}).encode(), headers)


def rows(store: Store, table: Any) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key.columns)))


def test_an_item_is_shown_and_is_delivered_once(client: Client, store: Store, world: World) -> None:
    world.run()
    number = item(store, world, 7)
    for again in (False, True):
        answer = show(client, own(client))
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json == {
            "items": [
                {
                    "id": str(number), "title": "Lunch?", "body": "It is ready.", "link": "app://menu", "image": "",
                    "data": {"dish": "ramen"}, "at": "2026-12-01T11:00:00+00:00",
                    "expires_at": "2026-12-02T12:00:00+00:00", "read": False,
                }
            ],
            "unread": 1,
            "next": None,
        }, again  # fmt: skip
    [kept] = rows(store, receipt)
    assert (kept.provider, kept.status, kept.state, kept.message_id) == ("app", "delivered", "delivered", number)
    assert [row.state for row in rows(store, message)] == ["delivered"]
    assert rows(store, event) == []


def test_head_shows_the_same_and_marks_nothing(client: Client, store: Store, world: World) -> None:
    world.run()
    item(store, world, 7)
    assert client.request("HEAD", "/v1/inbox/u-7", headers=own(client)).status == 200
    assert client.request("GET", "/v1/inbox/u-7/read", headers=own(client, "u-7/read")).json["items"] == []
    assert client.request("GET", "/v1/inbox-tokens", headers=WITH_KEY).status == 405
    assert rows(store, receipt) == []
    assert rows(store, inbox_item)[0].seen_at is None


@pytest.mark.parametrize("ids", ["one", "all"])
def test_read_is_opened_by_a_person_once(client: Client, store: Store, world: World, ids: str) -> None:
    world.run()
    number = item(store, world, 7)
    wanted = "all" if ids == "all" else [str(number)]
    assert [read(client, own(client), wanted).json for _ in range(3)] == [{"read": 1}, {"read": 0}, {"read": 0}]
    [opened] = rows(store, event)
    assert (opened.name, opened.message_id, opened.user_id, opened.at) == ("message_opened", number, 7, NOW)
    assert opened.properties == {"confidence": "human", "why": "inbox"}
    assert [row.status for row in rows(store, receipt)] == ["delivered"]
    page = show(client, own(client)).json
    assert (page["unread"], page["items"][0]["read"]) == (0, True)


def test_all_is_more_than_one_batch(client: Client, store: Store, world: World) -> None:
    for run in range(1, 106):
        if run == 1:
            world.run(run)
        item(store, world, 7, run)
    assert read(client, own(client), "all").json == {"read": 105}
    assert len(rows(store, event)) == 105


def test_pages_go_from_the_newest_to_the_oldest(client: Client, store: Store, world: World) -> None:
    world.run()
    numbers = [item(store, world, 7, run, at=NOW - HOUR * (run // 2)) for run in range(1, 8)]
    found, after, page = [], "", {}
    for _ in range(3):
        page = show(client, own(client), query=f"?limit=3{after}").json
        assert page["unread"] == 7
        found += [int(one["id"]) for one in page["items"]]
        after = f"&after={page['next']}"
    assert page["next"] is None
    assert found == sorted(numbers, key=lambda number: (-((number >> 40) // 2), number), reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0", "?limit=101", "?limit=x", "?limit=-1", "?limit=%C2%B2", "?after=x", "?after=1-2-3",
        "?after=99999999999999999-1", f"?after=1-{1 << 63}",
    ],
)  # fmt: skip
def test_a_page_that_makes_no_sense_is_refused(client: Client, query: str) -> None:
    assert show(client, own(client), query=query).status == 422


def test_what_has_expired_and_what_is_anothers_is_not_shown(client: Client, store: Store, world: World) -> None:
    world.run()
    item(store, world, 7, expires_at=NOW)
    other = item(store, world, 8)
    assert show(client, own(client)).json == {"items": [], "unread": 0, "next": None}
    assert read(client, own(client), [str(other)]).json == {"read": 0}
    assert rows(store, event) == []
    assert show(client, own(client, "nobody"), "nobody").json["items"] == []


def test_a_merged_user_sees_the_items_of_both(client: Client, store: Store, world: World) -> None:
    world.run()
    mine, hers = item(store, world, 7), item(store, world, 8)
    merge_users(store, "u-7", "u-8", client.clock, "test")
    for name in ("u-7", "u-8"):
        assert {one["id"] for one in show(client, own(client, name), name).json["items"]} == {str(mine), str(hers)}
    assert read(client, own(client, "u-8"), [str(hers)], "u-8").json == {"read": 1}
    [opened] = rows(store, event)
    assert (opened.user_id, opened.message_id) == (7, hers)


@pytest.mark.parametrize("name", ["u 7", "u/7", "u-7/read", "用户-7", "100%", "a?b#c"])
def test_a_users_id_may_be_any_text(client: Client, store: Store, world: World, name: str) -> None:
    world.run()
    number = item(store, world, 7)
    with store.write() as connection:
        connection.execute(users.update().where(users.c.id == 7).values(external_id=name))
    token = client.request("POST", "/v1/inbox-tokens", json.dumps({"user": name}).encode(), WITH_KEY).json["token"]
    mine = {"Authorization": f"Bearer {token}"}
    assert [one["id"] for one in show(client, mine, name).json["items"]] == [str(number)]
    assert read(client, mine, [str(number)], quote(name, safe="")).json == {"read": 1}


def test_a_pass_is_minted_with_the_key_alone_and_expires(client: Client, store: Store, world: World) -> None:
    world.run()
    item(store, world, 7)
    body = json.dumps({"user": "u-7", "seconds": 60}).encode()
    for headers in ({}, own(client), {"Authorization": "Bearer wrong"}):
        assert client.request("POST", "/v1/inbox-tokens", body, headers).status == 401
    answer = client.request("POST", "/v1/inbox-tokens", body, WITH_KEY)
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    mine = {"Authorization": f"Bearer {answer.json['token']}"}
    assert show(client, mine).status == 200
    assert show(client, mine, "u-8").status == 401
    assert show(client, WITH_KEY, "u-8").status == 200
    assert show(client, own(client, hours=-0.01)).status == 401
    assert show(client, {}).status == 401


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"user": ""}', b'{"user": "u", "seconds": 59}', b'{"user": "u", "seconds": 2592001}',
             b'{"user": "a\\nb"}', b'{"user": "u", "x": 1}', b'{"user": "' + b"u" * 201 + b'"}'],
)  # fmt: skip
def test_a_pass_for_nothing_is_refused(client: Client, body: bytes) -> None:
    assert client.request("POST", "/v1/inbox-tokens", body, WITH_KEY).status == 422


@pytest.mark.parametrize(
    "ids", [None, 7, "none", [7], ["x"], [None], ["1"] * 101, {"a": 1}, ["9" * 20]],
)  # fmt: skip
def test_marks_that_cannot_be_read_change_nothing(client: Client, store: Store, world: World, ids: Any) -> None:
    world.run()
    item(store, world, 7)
    assert read(client, own(client), ids).status == 422
    assert client.request("POST", "/v1/inbox/u-7/read", b"x" * 20_000, own(client)).status == 413
    assert rows(store, event) == []


def test_no_mutation_of_a_pass_opens_an_inbox(client: Client) -> None:
    """R23: ten thousand forged passes, and those made for other purposes, other people and by others."""
    chance = random.Random(23)
    machine = client.clock.machine()
    genuine = LINKS.inbox_pass("u-7", machine + HOUR)
    assert LINKS.opens_inbox(genuine, "u-7", machine)
    letters = "ABCXYZabcxyz0189-_=/+ é\0"
    taken = 0
    for _ in range(10_000):
        text = list(genuine)
        for _ in range(chance.randint(1, 3)):
            text[chance.randrange(len(text))] = chance.choice(letters)
        forged = "".join(text)
        taken += forged != genuine and LINKS.opens_inbox(forged, "u-7", machine)
    assert taken == 0
    others = [
        genuine[:-1], genuine + "A", genuine + "=", "", LINKS.token(Kind.INBOX, 7), LINKS.ack(7, machine),
        LINKS.inbox_pass("u-8", machine + HOUR), Links(LINKS.public_url, b"x" * 32).inbox_pass("u-7", machine + HOUR),
    ]  # fmt: skip
    assert not any(LINKS.opens_inbox(other, "u-7", machine) for other in others)
    assert not LINKS.opens_inbox(genuine, "u-7\ud800", machine)
    for forged in others[:6]:
        assert show(client, {"Authorization": f"Bearer {forged}"}).status == 401
