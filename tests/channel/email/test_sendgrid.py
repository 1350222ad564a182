"""SendGrid: the request, one per attempt; every row of its errors; what doctor says."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from orchestrator.channel.base import EmailPayload, Envelope, Health, Inquiry, Outcome, OutcomeClass, PushPayload, Scope
from orchestrator.channel.email.sendgrid import SCOPES, SEND, SendgridChannel, SendgridSender, open_channel
from orchestrator.channel.email.sendgrid_errors import TABLE
from orchestrator.channel.email.smtp_address import Mailbox
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.conftest import NOW
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence
from tests.channel.late import begins_nothing_late
from tests.channel.once import sent_once

K = OutcomeClass
KEY = "SG.canary.s3cret"
TO = "li.wei@example.com"
URL = "https://push.example/u/abc.def"
MAIL = EmailPayload("你好 Noodles miss you", "Plain 午餐", "<p>Rich 午餐</p>", URL)
ENVELOPE = Envelope("4711", 1, TO, "mailbox", MAIL, timedelta(hours=1), "run-7-user-9")
SENDER = SendgridSender("Food 午餐", Mailbox("news", "food.example"), Mailbox("help", "food.example"), ("a", "b", "a"))
OK = answers(202, b"", x_message_id="14c5d75ce93")
MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def opened(
    clock: ManualClock,
    *acts: Act,
    sender: SendgridSender = SENDER,
    scopes: Act | None = None,
    key: ec.EllipticCurvePublicKey | None = None,
) -> AsyncIterator[tuple[SendgridChannel, FarEnd]]:
    async with FarEnd().plays(SEND, *acts) as far:
        if scopes is not None:
            far.plays(SCOPES, scopes)
        transport = Wire(timedelta(seconds=0.5))
        channel = SendgridChannel(sender, KEY, transport, clock, base_url=far.url, key=key)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act) -> Outcome:
    """The outcome of one message; checks that exactly one request was made."""
    return sent_once(opened(clock, act), ENVELOPE)


def body_of(clock: ManualClock, payload: EmailPayload = MAIL, sender: SendgridSender = SENDER) -> Any:
    async def main() -> Any:
        async with opened(clock, OK, sender=sender) as (channel, far):
            assert await channel.send(replace(ENVELOPE, payload=payload)) == Outcome(K.ACCEPTED, "202", "14c5d75ce93")
            (seen,) = far.requests
            assert (seen.method, seen.target) == ("POST", SEND)
            assert seen.headers["authorization"] == f"Bearer {KEY}"
            assert seen.headers["content-type"] == "application/json"
            return seen.json

    return asyncio.run(main())


def test_nothing_begins_after_its_time(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as opening:
            await begins_nothing_late(*opening, ENVELOPE, SEND)

    asyncio.run(main())


def test_the_request(clock: ManualClock) -> None:
    assert body_of(clock) == {
        "personalizations": [{"to": [{"email": TO}], "custom_args": {"message_id": "4711"}}],
        "from": {"email": "news@food.example", "name": "Food 午餐"},
        "reply_to": {"email": "help@food.example"},
        "subject": MAIL.subject,
        "content": [{"type": "text/plain", "value": MAIL.text}, {"type": "text/html", "value": MAIL.html}],
        "headers": {
            "Precedence": "bulk",
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "OOF, AutoReply",
            "List-Unsubscribe": f"<{URL}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        "categories": ["a", "b"],
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
        },
    }


def test_what_may_be_left_out(clock: ManualClock) -> None:
    sender = SendgridSender("", Mailbox("news", "food.example"), ip_pool="bulk", tracking=True)
    body = body_of(clock, replace(MAIL, unsubscribe=""), sender)
    assert body["from"] == {"email": "news@food.example"}
    assert body["ip_pool_name"] == "bulk"
    assert not {"categories", "reply_to"} & set(body)
    assert not {"List-Unsubscribe", "List-Unsubscribe-Post"} & set(body["headers"])
    assert body["tracking_settings"]["click_tracking"]["enable"]
    assert body["tracking_settings"]["open_tracking"]["enable"]
    assert not body["tracking_settings"]["subscription_tracking"]["enable"]


# Every row of providers §9.
CODES: dict[OutcomeClass, list[int]] = {
    K.DROP_MESSAGE: [400, 413],
    K.STOP_CHANNEL: [401, 403, 404],
    K.RETRY_AFTER: [429],
    K.RETRY: [500, 502, 503, 504],
}
ROWS = [(status, kind) for kind, codes in CODES.items() for status in codes]


@pytest.mark.parametrize(("status", "kind"), ROWS)
def test_every_status(clock: ManualClock, status: int, kind: OutcomeClass) -> None:
    error = {"message": f"The {TO} said 你好 is wrong", "field": "from.email", "help": None}
    outcome = sent(clock, answers(status, {"errors": [error]}))
    assert (outcome.kind, outcome.code, outcome.uncharted, outcome.may_have_left) == (kind, str(status), False, True)
    assert outcome.scope is (Scope.MESSAGE if kind is K.DROP_MESSAGE else Scope.ACCOUNT)
    assert outcome.at_most == (1 if kind is K.RETRY else None)
    assert outcome.detail.startswith("from.email: The")
    assert not {TO, "li.wei", "你好"} & set(outcome.detail.split())


def test_the_table_has_no_row_without_a_test() -> None:
    assert {status for status, _ in ROWS} == set(TABLE)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, MINUTE),
        ({"x_ratelimit_reset": str(int(NOW.timestamp()) + 17)}, timedelta(seconds=17)),
        ({"x_ratelimit_reset": str(int(NOW.timestamp()) - 17)}, timedelta(seconds=1)),
        ({"x_ratelimit_reset": str(int(NOW.timestamp()) + 10**7)}, timedelta(hours=24)),
        ({"x_ratelimit_reset": "soon"}, MINUTE),
        ({"x_ratelimit_reset": "-5"}, MINUTE),
        ({"x_ratelimit_reset": "9" * 400}, MINUTE),
        ({"retry_after": "7", "x_ratelimit_reset": str(int(NOW.timestamp()) + 17)}, timedelta(seconds=7)),
        (
            {"x_ratelimit_reset": str(int(NOW.timestamp()) + 17), "date": "Tue, 01 Dec 2026 03:00:10 GMT"},
            timedelta(seconds=7),
        ),
    ],
)
def test_how_long_a_429_lasts(clock: ManualClock, headers: dict[str, str], wait: timedelta) -> None:
    outcome = sent(clock, answers(429, {"errors": [{"message": "too many requests"}]}, **headers))
    assert (outcome.kind, outcome.retry_after, outcome.scope) == (K.RETRY_AFTER, wait, Scope.ACCOUNT)


def test_a_hundred_statuses_nobody_knows(clock: ManualClock) -> None:
    chance = random.Random(9)
    client = [402, *range(406, 408), *range(411, 413), *range(414, 425), *range(426, 429), *range(430, 500)]
    server = [501, *range(505, 600)]
    for status in chance.sample(client, 60) + chance.sample(server, 40):
        outcome = sent(clock, answers(status, {"errors": "odd"}))
        kind = K.RETRY if status >= 500 else K.DROP_MESSAGE
        assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, str(status), True)


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (html(502), K.RETRY, "502"),
        (answers(301, b"", location="http://127.0.0.1:1/"), K.STOP_CHANNEL, "301"),
        (answers(408), K.AMBIGUOUS, "408"),
        (answers(202), K.AMBIGUOUS, "202"),
        (answers(202, b"", x_message_id="a b"), K.AMBIGUOUS, "202"),
        (html(200), K.AMBIGUOUS, "200"),
        (huge, K.AMBIGUOUS, "200"),
        (reset, K.AMBIGUOUS, "broken"),
        (hang_up, K.AMBIGUOUS, "broken"),
        (garbage, K.AMBIGUOUS, "broken"),
        (cut(202), K.AMBIGUOUS, "broken"),
        (silence, K.AMBIGUOUS, "timeout"),
        (drip, K.AMBIGUOUS, "timeout"),
    ],
)
def test_far_ends_that_misbehave_get_one_request(clock: ManualClock, act: Act, kind: OutcomeClass, code: str) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.code, outcome.may_have_left) == (kind, code, True)


@pytest.mark.parametrize(
    ("address", "payload", "kind", "code"),
    [
        ("no mailbox", MAIL, K.DROP_ADDRESS, "no_mailbox"),
        ("a@b.example\r\nBcc: x@y.example", MAIL, K.DROP_ADDRESS, "no_mailbox"),
        ("李@example.com", MAIL, K.DROP_MESSAGE, "no_smtputf8"),
        (TO, PushPayload("t", "b"), K.DROP_MESSAGE, "payload"),
        (TO, replace(MAIL, subject="a\r\nBcc: evil@example.com"), K.DROP_MESSAGE, "payload"),
        (TO, replace(MAIL, subject="a\x00b"), K.DROP_MESSAGE, "payload"),
        (TO, replace(MAIL, text="\ud800"), K.DROP_MESSAGE, "payload"),
        (TO, replace(MAIL, html="x" * 10_000_001), K.DROP_MESSAGE, "payload"),
        (TO, replace(MAIL, unsubscribe="https://x.example/\r\nBcc: y"), K.DROP_MESSAGE, "payload"),
    ],
)
def test_what_cannot_be_sent_never_leaves(
    clock: ManualClock, address: str, payload: Any, kind: OutcomeClass, code: str
) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            outcome = await channel.send(replace(ENVELOPE, address=address, payload=payload))
            assert (outcome.kind, outcome.code, outcome.may_have_left) == (kind, code, False)
            assert not far.requests

    asyncio.run(main())


@pytest.mark.parametrize("subject", ["\u202eevil\u2066", "=?utf-8?q?a=0D=0ABcc:_x?=", "Bcc: x@y.example", "x" * 5000])
def test_odd_subjects_add_no_header(clock: ManualClock, subject: str) -> None:
    body = body_of(clock, replace(MAIL, subject=subject))
    assert body["subject"] == subject
    assert len(body["headers"]) == 5
    assert set(body["personalizations"][0]) == {"to", "custom_args"}


@pytest.mark.parametrize(
    ("scopes", "health", "words"),
    [
        (answers(200, {"scopes": ["mail.send"]}), Health.FINE, "may send"),
        (answers(200, {"scopes": ["alerts.read"]}), Health.BROKEN, "may not send"),
        (answers(401, {"errors": []}), Health.BROKEN, "refuses the key: 401"),
        (answers(200, {"scopes": 7}), Health.BROKEN, "200"),
        (html(200), Health.BROKEN, "200"),
        (reset, Health.BROKEN, "cannot be reached"),
        (
            answers(200, {"scopes": ["mail.send"]}, date="Tue, 01 Dec 2026 02:50:00 GMT"),
            Health.BROKEN,
            "600 s ahead",
        ),
        (answers(200, {"scopes": ["mail.send"]}), Health.WARNING, "not heard"),
    ],
)
def test_what_doctor_says(clock: ManualClock, scopes: Act, health: Health, words: str) -> None:
    async def main() -> None:
        async with opened(clock, OK, scopes=scopes) as (channel, far):
            findings = await channel.check()
            assert any(finding.health is health and words in finding.what for finding in findings)
            assert [request.target for request in far.requests] == [SCOPES]

    asyncio.run(main())


def test_nothing_can_be_asked_about_a_lost_answer(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, _):
            assert await channel.reconcile(Inquiry("4711", TO, MAIL, clock.now())) is None

    asyncio.run(main())


def public(curve: ec.EllipticCurve) -> str:
    key = ec.generate_private_key(curve).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


GOOD = public(ec.SECP256R1())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"verification_key": GOOD}, ""),
        ({"verification_key": public(ec.SECP384R1())}, "verification_key"),
        ({"verification_key": GOOD[:-8]}, "verification_key"),
        ({"verification_key": "no base64 é"}, "verification_key"),
        ({"verification_key": GOOD, "verification_key_file": "x"}, "is enough"),
        ({"verification_key_file": "/does/not/exist"}, "verification_key_file"),
        ({"base_url": "http://mail.example"}, "base_url"),
        ({"from": "nobody"}, "from"),
        ({"from": "Food\r\nBcc: x <news@food.example>"}, "from"),
        ({"reply_to": "李@food.example"}, "reply_to"),
        ({"categories": ["x"] * 11}, "categories"),
        ({"api_key": None}, "api_key_file"),
        ({"catgories": []}, "categories"),
    ],
)
def test_options(changed: dict[str, Any], words: str) -> None:
    options = {"from": "Food <news@food.example>", "api_key": SecretStr(KEY), **changed}
    if not words:
        channel = open_channel("mail", options, "https://push.example/callbacks/mail")
        assert (channel.channel, channel.provider) == ("email", "sendgrid")
        return
    with pytest.raises(ConfigError) as caught:
        open_channel("mail", options, "https://push.example/callbacks/mail")
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


def test_keys_in_files(tmp_path: Path) -> None:
    (tmp_path / "api").write_text(KEY + "\n")
    (tmp_path / "verify").write_text(GOOD + "\n")
    options = {
        "from": "news@food.example",
        "api_key_file": str(tmp_path / "api"),
        "verification_key_file": str(tmp_path / "verify"),
    }
    channel = open_channel("mail", options, "")
    assert isinstance(channel, SendgridChannel)
    assert channel._key is not None
