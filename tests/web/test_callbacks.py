"""Providers' callbacks at the door: believed when signed, on disk before the answer, harmless when repeated."""

from __future__ import annotations

import base64
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.channel.sms.twilio_callbacks import Signature
from orchestrator.metrics import REGISTRY
from orchestrator.store import Store
from orchestrator.store.tables import message, receipt, suppression
from tests.tracking.world import World
from tests.web.server import Client, sign

PHONE = "+4917012345678"
INBOUND = "/callbacks/sms-main/inbound"


def inbound(text: str, sid: str = "SM" + "1" * 32, phone: str = PHONE) -> dict[str, str]:
    return {"MessageSid": sid, "SmsStatus": "received", "From": phone, "To": "+15005550006", "Body": text}


def status(message_id: int, word: str, sid: str = "SM" + "2" * 32, **more: str) -> tuple[str, dict[str, str]]:
    return f"/callbacks/sms-main/status?m={message_id}", {"MessageSid": sid, "MessageStatus": word, **more}


def refusals(store: Store) -> set[tuple[str | None, int | None]]:
    with store.read() as connection:
        found = connection.execute(select(suppression).where(suppression.c.valid_until.is_(None)))
        return {(row.address, row.user_id) for row in found}


def receipts(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(receipt)).all())


def states(store: Store) -> dict[int, str]:
    with store.read() as connection:
        return {row.id: row.state for row in connection.execute(select(message))}


@pytest.mark.parametrize("text", ["STOP", "STOP please", "stop.", "退订", "T", "Unsubscribe me"])
def test_stop_is_obeyed_before_it_is_answered(client: Client, store: Store, world: World, text: str) -> None:
    """Mautic #11333 ignored ``STOP please``."""
    world.phone(7, PHONE)
    answer = client.call_back(INBOUND, inbound(text))
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/xml")
    assert answer.body.endswith(b"<Response/>")
    assert refusals(store) == {(PHONE, None), (None, 7)}


def test_start_lifts_what_stop_did(client: Client, store: Store, world: World) -> None:
    world.phone(7, PHONE)
    client.call_back(INBOUND, inbound("STOP", "SM1"))
    client.clock.advance(timedelta(seconds=1))
    client.call_back(INBOUND, inbound("START", "SM2"))
    assert refusals(store) == set()
    client.clock.advance(timedelta(seconds=1))
    assert client.call_back(INBOUND, inbound("STOP", "SM1")).status == 200
    assert refusals(store) == set()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_nothing_but_post_changes_anything(client: Client, store: Store, method: str) -> None:
    """UseSend #412, Mautic #9798: scanners unsubscribed people by following links with GET."""
    for path in (INBOUND, "/callbacks/sms-main/status?m=1"):
        assert client.call_back(path, inbound("STOP"), method=method).status == 405
    assert refusals(store) == set()


def test_a_status_moves_its_message(client: Client, store: Store, world: World) -> None:
    world.phone(7, PHONE)
    message_id = world.message(world.run(), 7)
    answer = client.call_back(*status(message_id, "delivered"))
    assert (answer.status, answer.body, states(store)) == (204, b"", {message_id: "delivered"})
    assert client.call_back(*status(message_id, "sent")).status == 204
    assert states(store) == {message_id: "delivered"}


@pytest.mark.parametrize("query", ["", "?m=", "?m=-1", "?m=99999999999999999999", "?m=1%2B1", "?m=%C2%B2"])
def test_a_status_that_names_no_message_is_taken_and_harms_nothing(client: Client, store: Store, query: str) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    assert client.call_back(f"/callbacks/sms-main/status{query}", form).status == 204
    assert receipts(store) == 1


def test_a_callback_that_says_nothing_is_thanked(client: Client, store: Store) -> None:
    assert client.call_back(INBOUND, {"Hello": "world"}).status == 200
    assert receipts(store) == 0


def test_forged_callbacks_change_nothing(client: Client, store: Store, world: World) -> None:
    world.phone(7, PHONE)
    path, form = status(world.message(world.run(), 7), "delivered")
    right = sign(path, form)
    wrong = ["", "x", "é", sign(path, form, "another token"), sign(path + "&m=2", form), sign(path, form | {"a": "b"})]
    assert all(client.call_back(path, form, signature).status == 403 for signature in wrong)
    assert client.call_back(path.replace("?m=", "?m=0"), form, right).status == 403
    assert receipts(store) == 0
    assert client.call_back(path, form, right).status == 204


def test_one_bit_makes_a_signature_wrong(client: Client, store: Store) -> None:
    """R14 in short: no mutation is accepted."""
    form, rng = inbound("STOP"), random.Random(5)
    raw = bytearray(base64.b64decode(sign(INBOUND, form)))
    for _ in range(30):
        mutated = bytearray(raw)
        mutated[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        assert client.call_back(INBOUND, form, base64.b64encode(mutated).decode()).status == 403
    assert refusals(store) == set()


def test_what_we_fail_to_check_comes_again(client: Client, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is no forgery: providers give up for good on 4xx (Amazon SNS), and try again on 503."""

    def broken(*_: object) -> bool:
        raise RuntimeError("CANARY")

    with monkeypatch.context() as patched:
        patched.setattr(Signature, "genuine", broken)
        answer = client.call_back(INBOUND, inbound("STOP"))
    assert (answer.status, answer.headers["retry-after"], receipts(store)) == (503, "1", 0)
    assert client.call_back(INBOUND, inbound("STOP")).status == 200
    assert receipts(store) == 1


@pytest.mark.parametrize("account", ["unknown", "sms-main%2F", "..", "SMS-MAIN", "sms-main%20"])
def test_an_unknown_account_is_not_found(client: Client, account: str) -> None:
    assert client.call_back(f"/callbacks/{account}/inbound", inbound("STOP")).status == 404


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a=" + b"b" * (1 << 20), 413),
        (b"a=%ff", 400),
        (b"\xff\xfe", 400),
        (b"&".join([b"a=b"] * 300), 400),
        (b"", 403),
    ],
)
def test_what_is_no_form_is_refused(client: Client, store: Store, body: bytes, expected: int) -> None:
    assert client.request("POST", INBOUND, body, {"X-Twilio-Signature": "x"}).status == expected
    assert receipts(store) == 0


def test_callbacks_repeated_shuffled_and_forged_end_as_the_oracle_says(
    client: Client, store: Store, world: World
) -> None:
    """R13 in short: each one to five times, out of order, some forged; what was answered 2xx is in the ledger."""
    rng, one = random.Random(13), world.run()
    calls: list[tuple[str, dict[str, str], str | None]] = []
    expected: dict[int, str] = {}
    for user in range(1, 41):
        world.phone(user, f"{PHONE}{user}")
        message_id = world.message(one, user)
        words = ["sent"] + [rng.choice(["delivered", "undelivered"])] * rng.randint(0, 1)
        expected[message_id] = {"sent": "accepted"}.get(words[-1], words[-1])
        for word in words:
            calls += [(*status(message_id, word, f"SM{user}"), None)] * rng.randint(1, 5)
        path, form = status(message_id, "delivered" if words[-1] == "undelivered" else "failed", f"SM{user}")
        calls.append((path, form, sign(path, form, "forged")))
    rng.shuffle(calls)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda call: client.call_back(*call).status, calls))
    assert answers == [403 if signature else 204 for _, _, signature in calls]
    assert states(store) == expected


def test_neither_numbers_nor_words_are_logged_or_counted(
    client: Client, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """R27: canaries of an address and of a text."""
    client.call_back(INBOUND, inbound("CANARY stop", phone="+4917000CANARY"))
    client.call_back(INBOUND, inbound("CANARY", phone="+4917000CANARY"), "forged")
    assert "CANARY" not in caplog.text
    assert b"CANARY" not in client.request("GET", "/metrics").body


def test_verdicts_are_counted(client: Client) -> None:
    def count(verdict: str) -> float:
        labels = {"account": "sms-main", "verdict": verdict}
        return REGISTRY.get_sample_value("orchestrator_webhooks_total", labels) or 0.0

    before = {verdict: count(verdict) for verdict in ("taken", "seen", "forged")}
    for signature in (None, None, "forged"):
        client.call_back(INBOUND, inbound("hello"), signature)
    assert {verdict: count(verdict) - n for verdict, n in before.items()} == {"taken": 1, "seen": 1, "forged": 1}
