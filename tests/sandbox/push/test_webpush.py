"""The push service's strictness, and what the browsers behind it show."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.sandbox.push.webpush_browser import decode, encode
from tests.sandbox.conftest import Answer, Customer

P256 = ec.SECP256R1()
SHOWN = {"title": "午餐", "body": "回来吧", "link": "https://app.example/x", "msg_id": "4711", "tag": "r1-7-1"}


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


class Sender:
    """An application server of somebody else's making: http-ece and PyJWT."""

    def __init__(self, customer: Customer, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.customer = customer
        pem = (customer.sandbox.options.state / "webpush-vapid.pem").read_bytes()
        own = load_pem_private_key(pem, None)
        assert isinstance(own, ec.EllipticCurvePrivateKey)
        self.key = key or own
        self.origin = customer.sandbox.url

    def subscribe(self, **given: Any) -> Any:
        answer = self.customer.ask("POST", "/sandbox/webpush/subscribe", json.dumps(given).encode())
        assert answer.status == 201, answer.body
        return answer.json

    def token(self, **changed: Any) -> str:
        claims = {"aud": self.origin, "exp": int(time.time()) + 3600, "sub": "mailto:a@b.example", **changed}
        return jwt.encode({name: value for name, value in claims.items() if value is not None}, self.key, "ES256")

    def authorization(self, **changed: Any) -> str:
        return f"vapid t={self.token(**changed)}, k={encode(point_of(self.key))}"

    def seal(self, subscription: Any, text: bytes) -> bytes:
        keys = {name: decode(value) for name, value in subscription["keys"].items()}
        sealed: bytes = http_ece.encrypt(
            text,
            private_key=ec.generate_private_key(P256),
            dh=keys["p256dh"],
            auth_secret=keys["auth"],
            salt=os.urandom(16),
        )
        return sealed

    def push(self, subscription: Any, body: bytes | None = None, **changed: Any) -> Answer:
        sealed = self.seal(subscription, json.dumps(SHOWN).encode()) if body is None else body
        given: dict[str, str | None] = {
            "ttl": "60",
            "content-encoding": "aes128gcm",
            "authorization": self.authorization(),
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
        headers = {name: value for name, value in given.items() if value is not None}
        return self.customer.ask("POST", subscription["endpoint"].removeprefix(self.origin), sealed, headers)


@pytest.fixture
def sender(customer: Customer) -> Sender:
    return Sender(customer)


@pytest.fixture
def refused(refuser: Customer) -> Sender:
    return Sender(refuser)


def test_a_message_is_opened_logged_and_answered_with_its_place(sender: Sender) -> None:
    subscription = sender.subscribe(name="anna")
    assert subscription["endpoint"].startswith(f"{sender.origin}/webpush/anna.")
    answer = sender.push(subscription, topic="abcd", urgency="high")
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["location"].startswith(f"{sender.origin}/webpush/messages/")
    (record,) = sender.customer.accepted()
    wanted = {"provider": "webpush", "to": subscription["endpoint"], "message_id": "4711", "collapse_key": "abcd"}
    assert {name: record[name] for name in wanted} == wanted
    assert (record["title"], record["body"], record["tag"]) == ("午餐", "回来吧", "r1-7-1")
    assert record["id"] == answer.headers["apns-id"]
    assert time.time() + 50 < record["expires_at"] < time.time() + 61
    phones = sender.customer.ask("GET", "/sandbox/inbox?kind=push").json["phones"]
    assert [phone["messages"][0]["title"] for phone in phones] == ["午餐"]


def test_a_text_that_is_no_json_is_shown_as_it_is(sender: Sender) -> None:
    subscription = sender.subscribe()
    assert sender.push(subscription, sender.seal(subscription, "你好".encode())).status == 201
    assert sender.customer.accepted()[0]["body"] == "你好"


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"ttl": None}, 400, "BadTtl"),
        ({"ttl": ""}, 400, "BadTtl"),
        ({"ttl": "-1"}, 400, "BadTtl"),
        ({"ttl": "1.5"}, 400, "BadTtl"),
        ({"ttl": "2592001"}, 400, "BadTtl"),
        ({"content_encoding": None}, 400, "BadWebPushRequest"),
        ({"content_encoding": "aesgcm"}, 400, "BadWebPushRequest"),
        ({"urgency": "urgent"}, 400, "BadUrgency"),
        ({"topic": "a" * 33}, 400, "BadWebPushTopic"),
        ({"topic": "a" * 5}, 400, "BadWebPushTopic"),
        ({"topic": "a" * 13}, 400, "BadWebPushTopic"),
        ({"topic": "r1:7/1="}, 400, "BadWebPushTopic"),
        ({"topic": ""}, 400, "BadWebPushTopic"),
        ({"authorization": None}, 403, "BadJwtToken"),
        ({"authorization": "Bearer x"}, 403, "BadJwtToken"),
        ({"authorization": "vapid t=x, k=AAAA"}, 403, "BadVapidPublicKey"),
        ({"authorization": f"vapid t=x, k={encode(bytes(65))}"}, 403, "BadVapidPublicKey"),
    ],
)
def test_headers_that_no_service_takes(refused: Sender, changed: dict[str, Any], status: int, reason: str) -> None:
    answer = refused.push(refused.subscribe(), **changed)
    assert (answer.status, answer.json) == (status, {"reason": reason})
    assert refused.customer.accepted() == []


@pytest.mark.parametrize("topic", ["a" * 32, "a" * 12, "ab", "a-_9"])
@pytest.mark.parametrize("urgency", ["very-low", "low", "normal", "high"])
def test_headers_that_are_taken(sender: Sender, topic: str, urgency: str) -> None:
    assert sender.push(sender.subscribe(), topic=topic, urgency=urgency).status == 201


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://fcm.googleapis.com"},
        {"aud": None},
        {"exp": 1},
        {"exp": int(time.time()) + 86400 + 3600},
        {"exp": None},
        {"sub": None},
        {"sub": "ops@food.example"},
        {"sub": "mailto:ops@localhost"},
    ],
)
def test_claims_that_no_service_takes(refused: Sender, claims: dict[str, Any]) -> None:
    answer = refused.push(refused.subscribe(), authorization=refused.authorization(**claims))
    assert (answer.status, answer.json) == (403, {"reason": "BadJwtToken"})


def test_a_signature_of_another_key_is_no_token(refused: Sender) -> None:
    other = Sender(refused.customer, ec.generate_private_key(P256))
    forged = f"vapid t={other.token()}, k={encode(point_of(refused.key))}"
    assert refused.push(refused.subscribe(), authorization=forged).json == {"reason": "BadJwtToken"}


def test_a_subscription_belongs_to_one_key(sender: Sender) -> None:
    other = Sender(sender.customer, ec.generate_private_key(P256))
    theirs = other.subscribe(applicationServerKey=encode(point_of(other.key)))
    answer = sender.push(theirs)
    assert (answer.status, answer.json) == (400, {"reason": "VapidPkHashMismatch"})
    assert other.push(theirs).status == 201


def test_bodies_that_no_browser_opens(refused: Sender) -> None:
    one, other = refused.subscribe(), refused.subscribe()
    sealed = refused.seal(one, b"x")
    bent = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for body in (b"", b"plain text", sealed[:86], bent, refused.seal(other, b"x"), sealed[:20] + b"\x40" + sealed[21:]):
        answer = refused.push(one, body)
        assert (answer.status, answer.json) == (400, {"reason": "BadWebPushRequest"})
    assert refused.customer.accepted() == []


def test_4096_bytes_are_taken_and_one_more_is_not(sender: Sender) -> None:
    one = sender.subscribe()
    assert len(sender.seal(one, b"x" * 3993)) == 4096
    assert sender.push(one, sender.seal(one, b"x" * 3993)).status == 201
    answer = sender.push(one, sender.seal(one, b"x" * 3993) + b"x")
    assert (answer.status, answer.json) == (413, {"reason": "PayloadTooLarge"})


def test_dead_and_unknown_subscriptions(refused: Sender) -> None:
    answer = refused.push(refused.subscribe(name="dead-anna"))
    assert (answer.status, answer.json) == (410, {"reason": "Unregistered"})
    one = refused.subscribe()
    for wrong in ("/webpush/nobody", "/webpush/a.b.c"):
        assert refused.push({**one, "endpoint": refused.origin + wrong}).status == 404


@pytest.mark.parametrize(
    "given",
    [b"[]", b"{", b'{"nam":"x"}', b'{"name":"a/b"}', b'{"applicationServerKey":"AAAA"}', b'{"name":"' + b"x" * 41],
)
def test_what_no_browser_subscribes_with(refuser: Customer, given: bytes) -> None:
    assert refuser.ask("POST", "/sandbox/webpush/subscribe", given).status == 400


def test_subscriptions_outlive_a_restart(open_sandbox: Any) -> None:
    first = open_sandbox()
    sender = Sender(first)
    one = sender.subscribe(name="anna")
    first.sandbox.__exit__(None, None, None)
    again = Sender(open_sandbox(port=0))
    moved = {**one, "endpoint": one["endpoint"].replace(sender.origin, again.origin)}
    assert again.push(moved).status == 201


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ({"kind": "status", "status": 429, "retry_after": 7}, 429, "TooManyRequests"),
        ({"kind": "status", "status": 403, "code": "BadJwtToken"}, 403, "BadJwtToken"),
        ({"kind": "status", "status": 400, "code": "VapidPkHashMismatch"}, 400, "VapidPkHashMismatch"),
        ({"kind": "dead_address"}, 410, "Unregistered"),
        ({"kind": "status"}, 503, "ServiceUnavailable"),
    ],
)
def test_faults_have_the_services_own_shape(sender: Sender, fault: dict[str, Any], status: int, reason: str) -> None:
    one = sender.subscribe(name="anna")
    assert sender.customer.fault("webpush", match=one["endpoint"][:40], times=1, **fault).status == 201
    answer = sender.push(one)
    assert (answer.status, answer.json) == (status, {"reason": reason})
    assert answer.headers.get("retry-after") == (str(fault["retry_after"]) if "retry_after" in fault else None)
    assert sender.push(one).status == 201
