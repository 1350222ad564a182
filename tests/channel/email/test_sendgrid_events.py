"""SendGrid's event webhook: its signature, its age, and every kind of event."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState, Seen, SeenDeed
from orchestrator.channel.email import sendgrid_events
from orchestrator.channel.email.sendgrid_events import SIGNATURE, TIMESTAMP, hear, read_event
from orchestrator.clock import ManualClock
from tests.channel.conftest import NOW
from tests.channel.email.test_sendgrid import OK, opened

K, S = OutcomeClass, ReportState
KEY = ec.generate_private_key(ec.SECP256R1())
AT = int(NOW.timestamp())
EVENT = {
    "email": "li@example.com",
    "timestamp": AT - 5,
    "event": "delivered",
    "sg_event_id": "E1",
    "sg_message_id": "14c5d75ce93.recvd-canary-7f-1-0",
    "message_id": "4711",
    "response": "250 好\r\nOK",
}
DELIVERED = Report("14c5d75ce93", "delivered", S.DELIVERED, message_id=4711, address="li@example.com")


def signed(body: bytes, timestamp: str = str(AT), key: ec.EllipticCurvePrivateKey = KEY) -> dict[str, str]:
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: timestamp}


def request(body: bytes, headers: dict[str, str] | None = None, hook: str = "events") -> CallbackRequest:
    url = "https://push.example/callbacks/mail/events"
    return CallbackRequest(url, hook, {}, signed(body) if headers is None else headers, body)


def heard(body: bytes, headers: dict[str, str] | None = None) -> Heard | Refused:
    return hear(KEY.public_key(), request(body, headers), NOW)


BODY = json.dumps([EVENT], ensure_ascii=False, indent=1).encode() + b"\r\n"


def test_the_raw_bytes_are_what_is_signed() -> None:
    assert heard(BODY) == Heard([DELIVERED])
    assert heard(json.dumps(json.loads(BODY)).encode(), signed(BODY)) is Refused.FORGED  # written anew


def test_a_thousand_mutations_are_refused() -> None:
    """One bit of the body, the timestamp or the signature."""
    chance, good = random.Random(16), signed(BODY)
    for _ in range(1000):
        place = chance.choice(["body", "body", SIGNATURE, TIMESTAMP])
        raw = bytearray(BODY if place == "body" else good[place].encode())
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8 if place == "body" else 7)
        if place == "body":
            assert heard(bytes(raw), good) is Refused.FORGED
        else:
            assert heard(BODY, {**good, place: raw.decode("latin-1")}) is Refused.FORGED


def test_not_checking_the_signature_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken variant: the same forgery gets in where nobody checks."""
    forgery = signed(BODY, key=ec.generate_private_key(ec.SECP256R1()))
    assert heard(BODY, forgery) is Refused.FORGED
    monkeypatch.setattr(sendgrid_events, "genuine", lambda *_: True)
    assert heard(BODY, forgery) == Heard([DELIVERED])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, None), (600, None), (-600, None), (601, Refused.STALE), (-601, Refused.STALE), (-(10**8), Refused.STALE)],
)
def test_how_old_it_may_be(seconds: int, expected: Refused | None) -> None:
    assert heard(BODY, signed(BODY, str(AT + seconds))) == (expected or Heard([DELIVERED]))


def test_a_replay_under_a_new_timestamp_is_forged() -> None:
    old = signed(BODY, str(AT - 7200))
    assert heard(BODY, old) is Refused.STALE
    assert heard(BODY, {**old, TIMESTAMP: str(AT)}) is Refused.FORGED


@pytest.mark.parametrize("timestamp", ["", "now", "1" * 12, "-5", "1e9", "９" * 10, " 1"])
def test_times_that_are_none(timestamp: str) -> None:
    assert heard(BODY, signed(BODY, timestamp)) is Refused.STALE


@pytest.mark.parametrize(
    "signature",
    ["", "é", "AAAA", "not base64!", "QUJD\n", "=", "A" * 10**5, "MEUCIQ==", base64.b64encode(b"0").decode()],
)
def test_signatures_that_are_none(signature: str) -> None:
    assert heard(BODY, {**signed(BODY), SIGNATURE: signature}) is Refused.FORGED
    assert heard(BODY, {TIMESTAMP: str(AT)}) is Refused.FORGED
    assert heard(BODY, {}) is Refused.FORGED


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"\xff", b'"x"', b"[" * 5000])
def test_genuine_and_unreadable(body: bytes) -> None:
    assert heard(body) is Refused.MALFORMED


def test_more_than_a_megabyte() -> None:
    assert heard(b"[" + b" " * (1 << 20) + b"]") is Refused.MALFORMED
    many = json.dumps([{**EVENT, "sg_event_id": str(number)} for number in range(3000)]).encode()
    found = heard(many)
    assert isinstance(found, Heard)
    assert len(found.said) == 3000


def test_the_channel_hears_its_hook_with_its_key(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK, key=KEY.public_key()) as (channel, _):
            assert await channel.hear(request(BODY)) == Heard([DELIVERED])
            assert await channel.hear(request(BODY, hook="event")) is Refused.FORGED
        async with opened(clock, OK) as (deaf, _):
            assert await deaf.hear(request(BODY)) is Refused.FORGED

    asyncio.run(main())


def said(**event: Any) -> Report | Seen:
    (found,) = read_event({**EVENT, **event})
    return found


GONE = replace(DELIVERED, state=S.UNDELIVERED)


@pytest.mark.parametrize(
    ("event", "report"),
    [
        ({"event": "processed"}, replace(DELIVERED, status="processed", state=S.SENT)),
        ({"event": "delivered"}, DELIVERED),
        (
            {"event": "deferred", "response": "450 4.2.1 later"},
            replace(DELIVERED, status="deferred:E1", state=S.SENT, code="4.2.1"),
        ),
        (
            {"event": "blocked", "reason": "550 5.7.1 policy"},
            replace(GONE, status="blocked:E1", code="blocked 5.7.1", kind=K.DROP_MESSAGE),
        ),
        (
            {"event": "spamreport"},
            replace(DELIVERED, status="spamreport:E1", code="spamreport", kind=K.SUPPRESS, refusal="complaint"),
        ),
        (
            {"event": "unsubscribe"},
            replace(DELIVERED, status="unsubscribe:E1", code="unsubscribe", kind=K.SUPPRESS, refusal="unsubscribe"),
        ),
        (
            {"event": "group_unsubscribe", "asm_group_id": 10},
            replace(
                DELIVERED,
                status="group_unsubscribe:E1",
                code="group_unsubscribe",
                kind=K.SUPPRESS,
                refusal="unsubscribe",
            ),
        ),
        ({"event": "group_resubscribe"}, replace(DELIVERED, status="group_resubscribe:E1", state=S.SENT)),
    ],
)
def test_every_event(event: dict[str, Any], report: Report) -> None:
    assert said(**event) == report


@pytest.mark.parametrize(
    ("event", "code", "kind"),
    [
        ({"type": "bounce", "status": "5.1.1"}, "5.1.1", K.DROP_ADDRESS),
        ({"type": "bounce", "status": "5.1.2"}, "5.1.2", K.DROP_ADDRESS),
        ({"type": "bounce", "status": "5.1.10"}, "5.1.10", K.DROP_ADDRESS),
        ({"type": "bounce", "status": "5.1.0"}, "5.1.0", K.DROP_ADDRESS),
        ({"type": "bounce", "reason": "550 5.1.1 unknown"}, "5.1.1", K.DROP_ADDRESS),
        ({"status": "5.1.1"}, "5.1.1", K.DROP_ADDRESS),
        ({"type": "bounce", "status": "5.2.1"}, "5.2.1", K.DROP_ADDRESS),
        ({"type": "bounce", "status": "5.1.8"}, "5.1.8", K.DROP_MESSAGE),  # our own sender address
        ({"type": "bounce", "status": "5.2.2"}, "5.2.2", K.DROP_MESSAGE),  # counted: three in thirty days
        ({"type": "bounce", "status": "5.7.1"}, "5.7.1", K.DROP_MESSAGE),
        ({"type": "bounce", "status": "4.4.1"}, "4.4.1", K.DROP_MESSAGE),
        ({"type": "bounce", "bounce_classification": "Invalid Address"}, "Invalid Address", K.DROP_ADDRESS),
        ({"type": "bounce", "bounce_classification": "Reputation"}, "Reputation", K.DROP_MESSAGE),
        ({"type": "bounce"}, "bounce", K.DROP_MESSAGE),
    ],
)
def test_bounces(event: dict[str, str], code: str, kind: OutcomeClass) -> None:
    expected = replace(GONE, status="bounce:E1", code=code, kind=kind)
    assert said(event="bounce", response="", **event) == expected


def test_blocked_is_never_the_mailbox() -> None:
    found = said(event="bounce", type="blocked", status="5.1.1")
    assert found == replace(GONE, status="blocked:E1", code="blocked 5.1.1", kind=K.DROP_MESSAGE)


@pytest.mark.parametrize(
    ("reason", "kind", "refusal"),
    [
        ("Bounced Address", K.DROP_ADDRESS, "provider"),
        ("Unsubscribed Address", K.SUPPRESS, "unsubscribe"),
        ("Group Unsubscribed", K.SUPPRESS, "unsubscribe"),
        ("Spam Reporting Address", K.SUPPRESS, "complaint"),
        ("Invalid", K.DROP_ADDRESS, "provider"),
        ("Invalid SMTPAPI header", None, "provider"),
        ("Spam Content (if Spam Checker app enabled)", None, "provider"),
        ("Recipient List over Package Quota", None, "provider"),
        ("something new about li@example.com", None, "provider"),
        ("", None, "provider"),
    ],
)
def test_every_drop(reason: str, kind: OutcomeClass | None, refusal: str) -> None:
    found = said(event="dropped", reason=reason)
    assert isinstance(found, Report)
    assert (found.state, found.kind, found.refusal, found.status) == (S.UNDELIVERED, kind, refusal, "dropped:E1")
    assert "@" not in found.code


@pytest.mark.parametrize("machine", [True, False, None, "true"])
def test_opens(machine: bool | str | None) -> None:
    more = {} if machine is None else {"sg_machine_open": machine}
    found = said(event="open", useragent="Mozilla/5.0", ip="192.0.2.7", **more)
    at = datetime.fromtimestamp(AT - 5, UTC)
    expected = Seen("E1", "14c5d75ce93", SeenDeed.OPEN, at, 4711, "", "Mozilla/5.0", "192.0.2.7")
    assert found == replace(expected, machine=machine in (True, "true"))


def test_clicks() -> None:
    found = said(event="click", useragent="A", ip="2001:db8::1", url="https://x.example/?a=b")
    at = datetime.fromtimestamp(AT - 5, UTC)
    url = "https://x.example/?a=b"
    assert found == Seen("E1", "14c5d75ce93", SeenDeed.CLICK, at, 4711, url, "A", "2001:db8::1")


@pytest.mark.parametrize("kind", ["account_status_change", "", "BOUNCE", 7, None, ["open"]])
def test_kinds_nobody_knows_say_nothing(kind: Any) -> None:
    assert heard(body := json.dumps([{**EVENT, "event": kind}, EVENT]).encode()) == Heard([DELIVERED])
    assert body


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0", "14c5d75ce93.dfd.64b469"),
        ("Y2Gx_1Jg-S1K.recvd-canary-1", "Y2Gx_1Jg-S1K"),
        ("plain", "plain"),
    ],
)
def test_the_id_of_the_answer(given: str, shown: str) -> None:
    assert said(sg_message_id=given).provider_id == shown


@pytest.mark.parametrize(
    ("given", "found"), [("4711", 4711), ("x", None), (4711, None), (None, None), ("9" * 30, None)]
)
def test_which_message_it_is_about(given: Any, found: int | None) -> None:
    assert said(message_id=given).message_id == found


@pytest.mark.parametrize("junk", [None, 7, [], {"a": None}, "x" * 10_000, True, -1, 10**30, 1.5])
def test_nothing_in_an_event_upsets_us(junk: Any) -> None:
    names = ("email", "timestamp", "event", "sg_event_id", "sg_message_id", "message_id", "reason", "status", "type")
    for kind in ("processed", "bounce", "dropped", "deferred", "open", "click", "spamreport"):
        for name in (*names, "url", "ip", "useragent", "sg_machine_open", "response"):
            list(read_event({**EVENT, "event": kind, name: junk}))
