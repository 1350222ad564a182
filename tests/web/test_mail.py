"""Mail that came back, at the door: an API key, the raw message, 204 whatever it was."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from orchestrator.store import Store
from orchestrator.store.tables import address, message, receipt
from orchestrator.tracking.bounces import MAX_BYTES
from tests.tracking.mails import dsn, verp
from tests.tracking.world import World
from tests.web.server import KEY, Answer, Client

PATH = "/callbacks/mail/bounce"


def post(client: Client, raw: bytes, key: str = KEY, path: str = PATH, method: str = "POST") -> Answer:
    return client.request(method, path, raw, {"Authorization": f"Bearer {key}", "Content-Type": "message/rfc822"})


def sent(world: World) -> int:
    world.phone(7, "ada@mail.example")
    return world.message(world.run(), 7, account="mail")


def receipts(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(receipt)).all())


def test_a_bounce_is_on_disk_before_the_answer(client: Client, store: Store, world: World) -> None:
    raw = dsn(verp(sent(world)))
    assert [post(client, raw).status for _ in range(3)] == [204, 204, 204]
    with store.read() as connection:
        assert connection.execute(select(message.c.state)).scalar_one() == "undelivered"
        assert connection.execute(select(address.c.end_reason)).scalar_one() == "dead"
    assert receipts(store) == 1


@pytest.mark.parametrize("raw", [b"", b"\x00\xff" * 100, b"Subject: hello\r\n\r\nhi", dsn("bounce@b.food.example")])
def test_what_says_nothing_is_taken_and_forgotten(client: Client, store: Store, raw: bytes) -> None:
    assert post(client, raw).status == 204
    assert receipts(store) == 0


def test_strangers_and_strange_accounts(client: Client, store: Store, world: World) -> None:
    raw = dsn(verp(sent(world)))
    assert post(client, raw, key="wrong").status == 401
    assert post(client, raw, path="/callbacks/sms-main/bounce").status == 404
    assert post(client, raw, method="GET").status == 405
    assert post(client, b"x" * (MAX_BYTES + 1)).status == 413
    assert receipts(store) == 0


def test_an_account_speaks_of_its_own_mails_alone(client: Client, store: Store, world: World) -> None:
    world.phone(7, "ada@mail.example")
    other = world.message(world.run(), 7, account="other-mail")
    assert post(client, dsn(verp(other))).status == 204
    with store.read() as connection:
        assert connection.execute(select(message.c.state)).scalar_one() == "accepted"
