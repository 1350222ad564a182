"""What the app reports of a push: believed by its token alone, counted once, open to any origin."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from typing_extensions import override

from orchestrator.channel.base import ACK_LENGTH, ACK_ROOM
from orchestrator.content.links import ACK_HOLDS, Kind, Links
from orchestrator.ledger.receipts import apply_kept
from orchestrator.store import Store
from orchestrator.store.tables import event, message, receipt
from tests.tracking.world import HOUR, NOW, World
from tests.web.server import LINKS, Answer, Client

ORIGIN = {"Origin": "https://shop.example", "Content-Type": "application/json"}


@pytest.fixture
def sent(world: World) -> int:
    world.run()
    return world.message(1, world.user(7))


def post(client: Client, *acks: dict[str, Any]) -> Answer:
    body = acks[0] if len(acks) == 1 else {"acks": acks}
    return client.request("POST", "/v1/acks", json.dumps(body).encode(), ORIGIN)


def ack(client: Client, number: int, kind: str = "delivered", **more: Any) -> dict[str, Any]:
    return {"ack": LINKS.ack(number, client.clock.machine()), "kind": kind, **more}


def rows(store: Store, table: Any) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key.columns)))


def counts(taken: int = 0, known: int = 0, ignored: int = 0) -> dict[str, int]:
    return {"taken": taken, "known": known, "ignored": ignored}


def test_delivered_is_a_receipt_once(client: Client, store: Store, sent: int) -> None:
    said = [post(client, ack(client, sent)) for _ in range(3)]
    assert [answer.status for answer in said] == [202, 202, 202]
    assert [answer.json for answer in said] == [counts(taken=1), counts(known=1), counts(known=1)]
    [kept] = rows(store, receipt)
    assert (kept.provider, kept.provider_id, kept.state, kept.message_id) == ("app", str(sent), "delivered", sent)
    assert [row.state for row in rows(store, message)] == ["delivered"]
    assert rows(store, event) == []


def test_opened_is_a_persons_event_once_and_delivered_too(client: Client, store: Store, sent: int) -> None:
    at = "2026-12-01T13:30:00+01:00"
    client.clock.instant = NOW + HOUR
    assert post(client, ack(client, sent, "opened", at=at)).json == counts(taken=1)
    assert post(client, ack(client, sent, "opened")).json == counts(known=1)
    [opened] = rows(store, event)
    assert (opened.name, opened.user_id, opened.message_id) == ("message_opened", 7, sent)
    assert opened.at == NOW + HOUR / 2
    assert opened.properties == {"confidence": "human", "why": "ack"}
    assert [row.state for row in rows(store, message)] == ["delivered"]


@pytest.mark.parametrize("at", ["2020-01-01T00:00:00Z", "2031-01-01T00:00:00Z"])
def test_a_phones_clock_is_not_believed_beyond_what_can_be(client: Client, store: Store, sent: int, at: str) -> None:
    client.clock.instant = NOW + HOUR
    post(client, ack(client, sent, "opened", at=at))
    assert rows(store, event)[0].at in {NOW, NOW + HOUR}


def test_a_report_that_overtakes_the_answer_is_applied_at_the_settle(client: Client, store: Store, sent: int) -> None:
    with store.write() as connection:
        connection.execute(message.update().values(state="sending"))
    assert post(client, ack(client, sent)).json == counts(taken=1)
    assert rows(store, message)[0].state == "sending"
    with store.write() as connection:
        connection.execute(message.update().values(state="accepted"))
        apply_kept(connection, [sent])
    assert rows(store, message)[0].state == "delivered"


def test_a_batch_is_taken_item_by_item(client: Client, store: Store, sent: int) -> None:
    genuine = ack(client, sent)
    forged = {**genuine, "ack": genuine["ack"][:-2] + ("AA" if genuine["ack"][-2:] != "AA" else "BB")}
    test_send = ack(client, 77)
    answer = post(client, genuine, forged, test_send, ack(client, sent, "opened"), genuine)
    assert (answer.status, answer.json) == (202, counts(taken=2, known=1, ignored=2))
    assert len(rows(store, receipt)) == len(rows(store, event)) == 1


def test_a_test_sends_report_is_genuine_and_changes_nothing(client: Client, store: Store, sent: int) -> None:
    assert post(client, ack(client, 77, "opened")).json == counts(ignored=1)
    assert rows(store, message)[0].state == "accepted"
    assert rows(store, receipt) == rows(store, event) == []


def test_what_has_not_been_sent_is_not_delivered(client: Client, store: Store, sent: int) -> None:
    with store.write() as connection:
        connection.execute(message.update().values(state="planned", sent_at=None))
    assert post(client, ack(client, sent)).json == counts(ignored=1)
    assert rows(store, receipt) == []


def test_any_origin_may_call_and_a_browser_may_ask(client: Client, sent: int) -> None:
    asked = client.request("OPTIONS", "/v1/acks", headers={**ORIGIN, "Access-Control-Request-Method": "POST"})
    assert asked.status == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert asked.headers["access-control-allow-methods"] == "POST"
    assert asked.headers["access-control-allow-headers"] == "content-type"
    for answer in (post(client, ack(client, sent)), post(client, {"ack": "x", "kind": "opened"})):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    elsewhere = client.request("OPTIONS", "/v1/events", headers=ORIGIN)
    assert "access-control-allow-origin" not in elsewhere.headers


def test_get_and_head_change_nothing(client: Client, store: Store, sent: int) -> None:
    token = LINKS.ack(sent, client.clock.machine())
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        path = f"/v1/acks?ack={token}&kind=opened"
        assert client.request(method, path, json.dumps(ack(client, sent)).encode()).status == 405
    assert rows(store, receipt) == rows(store, event) == []


def stale(client: Client, sent: int) -> Iterator[str]:
    machine: datetime = client.clock.machine()
    yield LINKS.ack(sent, machine - ACK_HOLDS)
    yield LINKS.ack(sent, machine - ACK_HOLDS - timedelta(days=400))
    yield Links(LINKS.public_url, b"x" * 32).ack(sent, machine)
    yield LINKS.token(Kind.CLICK, sent, int((machine + ACK_HOLDS).timestamp()))
    yield LINKS.token(Kind.OPEN, sent)
    yield LINKS.inbox_pass("u-7", machine + HOUR)
    yield "A" * ACK_LENGTH
    yield "é" * ACK_LENGTH


def test_stale_tokens_and_those_of_other_doors_are_not_believed(client: Client, store: Store, sent: int) -> None:
    for token in stale(client, sent):
        assert post(client, {"ack": token, "kind": "opened"}).status == 404
    assert rows(store, receipt) == rows(store, event) == []
    assert post(client, ack(client, sent)).status == 202


def test_no_mutation_of_an_acknowledgement_is_believed(client: Client, store: Store, sent: int) -> None:
    """R23: ten thousand forged tokens, a hundred a request through the door; none counts."""
    chance = random.Random(23)
    genuine = LINKS.ack(sent, client.clock.machine())
    forged: list[str] = []
    while len(forged) < 10_000:
        text = list(genuine)
        for _ in range(chance.randint(1, 3)):
            text[chance.randrange(len(text))] = chance.choice("ABCXYZabcxyz0189-_=/+ é\0")
        if (made := "".join(text)) != genuine:
            forged.append(made)
    for start in range(0, len(forged), 100):
        acks = [{"ack": one, "kind": "opened"} for one in forged[start : start + 100]]
        assert post(client, *acks).status == 404
    assert rows(store, receipt) == rows(store, event) == []
    assert rows(store, message)[0].state == "accepted"


class Careless(Links):
    """Believes whatever has the right length: what the tests above have to catch."""

    @override
    def read(self, kind: Kind, text: str) -> Any:
        del kind
        return Links.read(self, Kind.ACK, LINKS.ack(1, NOW)) if len(text) == ACK_LENGTH else None


def test_a_reader_that_does_not_check_the_seal_would_be_caught() -> None:
    careless = Careless(LINKS.public_url, LINKS.key)
    assert careless.acknowledged("A" * ACK_LENGTH, NOW) == 1
    assert LINKS.acknowledged("A" * ACK_LENGTH, NOW) is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b'{"ack": 7, "kind": "opened"}', b'{"ack": "x", "kind": "read"}', b"\xff",
        b'{"ack": "x", "kind": "opened", "user": "u-8"}', b'{"acks": []}', b'{"ack": "", "kind": "opened"}',
        b'{"ack": "x", "kind": "opened", "at": "yesterday"}', b'{"ack": "x", "kind": "opened", "at": 7}',
        json.dumps({"acks": [{"ack": "x", "kind": "opened"}] * 101}).encode(),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(client: Client, body: bytes) -> None:
    answer = client.request("POST", "/v1/acks", body)
    assert answer.status == 400
    assert answer.headers["access-control-allow-origin"] == "*"


def test_no_more_than_so_much_is_read(client: Client) -> None:
    assert client.request("POST", "/v1/acks", b" " * 40_000).status == 413


def test_an_acknowledgement_is_as_long_as_channels_are_told(client: Client) -> None:
    token = LINKS.ack((1 << 63) - 1, client.clock.machine())
    assert len("ack") + len(token) == ACK_ROOM
    assert all(letter.isalnum() or letter in "-_" for letter in token)
