"""SES: the request, its signature, and what cannot be sent."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as AwsCredentials
from botocore.validate import ParamValidator

from orchestrator.channel.base import Outcome, OutcomeClass, PushPayload
from orchestrator.channel.email import sigv4
from orchestrator.channel.email.ses import SEND
from orchestrator.channel.email.ses_message import display
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.clock import ManualClock
from tests.channel.email.ses_mail import ENVELOPE, KEY_ID, MAIL, OK, SECRET, SENDER, TO, URL, K, opened
from tests.channel.late import begins_nothing_late


def test_nothing_begins_after_its_time(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as opening:
            await begins_nothing_late(*opening, ENVELOPE, SEND)

    asyncio.run(main())


def test_the_request(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_REGION": "evil", "AWS_ENDPOINT_URL": "http://evil", "HTTP_PROXY": "http://x:1"}.items():
        monkeypatch.setenv(name, value)

    async def main() -> dict[str, Any]:
        async with opened(clock, OK) as (channel, far):
            assert await channel.send(ENVELOPE) == Outcome(K.ACCEPTED, "200", "0100019-abc-000000")
            (seen,) = far.seen(SEND)
            assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
            body: dict[str, Any] = seen.json
            return body

    body = asyncio.run(main())
    simple = body["Content"]["Simple"]
    headers = {each["Name"]: each["Value"] for each in simple["Headers"]}
    assert body["FromEmailAddress"] == '"Food" <news@food.example>'
    assert body["Destination"] == {"ToAddresses": [TO]}
    assert body["ReplyToAddresses"] == ["help@food.example"]
    assert body["ConfigurationSetName"] == "events"
    assert body["EmailTags"] == [{"Name": "message_id", "Value": "4711"}]
    assert simple["Subject"] == {"Data": MAIL.subject, "Charset": "UTF-8"}
    assert {name: part["Data"] for name, part in simple["Body"].items()} == {"Text": MAIL.text, "Html": MAIL.html}
    assert headers["List-Unsubscribe"] == f"<{URL}>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert (headers["Auto-Submitted"], headers["X-Orchestrator-Message"]) == ("auto-generated", "4711")
    # An independent peer: Amazon's own description of the request.
    shape = botocore.session.Session().get_service_model("sesv2").operation_model("SendEmail").input_shape
    assert not ParamValidator().validate(body, shape).has_errors()


@pytest.mark.parametrize(
    ("url", "one_click"), [("", False), ("http://127.0.0.1:8/u/x", True), ("http://plain.example/u/x", False)]
)
def test_unsubscribing_with_one_click_needs_https(clock: ManualClock, url: str, one_click: bool) -> None:
    async def main() -> dict[str, str]:
        async with opened(clock, OK) as (channel, far):
            await channel.send(replace(ENVELOPE, payload=replace(MAIL, unsubscribe=url)))
            headers = far.seen(SEND)[0].json["Content"]["Simple"]["Headers"]
            return {each["Name"]: each["Value"] for each in headers}

    headers = asyncio.run(main())
    assert headers.get("List-Unsubscribe", "") == (f"<{url}>" if url else "")
    assert ("List-Unsubscribe-Post" in headers) is one_click


@pytest.mark.parametrize("token", ["", "FwoGZXIvYXdzEBYaD/canary=="])
@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("POST", "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails", b'{"a":"\xc3\xa9"}'),
        ("GET", "https://email.eu-west-1.amazonaws.com/v2/email/account", b""),
        ("POST", "http://127.0.0.1:8025/a%20b/v2/x", b"{}"),
        ("GET", "https://email.example:443", b""),
    ],
)
def test_signatures_are_those_of_amazons_own_package(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, token: str, method: str, url: str, body: bytes
) -> None:
    kind = "application/json" if body else ""
    ours = Signer(Credentials(KEY_ID, SECRET, token), "eu-west-1", "ses").headers(method, url, body, kind, clock.now())
    request = AWSRequest(method, url, data=body, headers={"Content-Type": kind} if kind else {})
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: clock.now().replace(tzinfo=None))
    SigV4Auth(AwsCredentials(KEY_ID, SECRET, token or None), "ses", "eu-west-1").add_auth(request)
    assert {name.lower(): value for name, value in request.headers.items()} == ours


def test_a_signer_with_another_secret_is_noticed(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def sign() -> str:
        signer = Signer(Credentials(KEY_ID, SECRET), "eu-west-1", "ses")
        return signer.headers("GET", "https://email.example/", b"", "", clock.now())["authorization"]

    right = sign()
    monkeypatch.setattr(sigv4, "ALGORITHM", "AWS4-HMAC-SHA1")
    assert sign() != right


def test_the_secret_stays_here(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK, token="session-token") as (channel, far):
            await channel.send(ENVELOPE)
            (seen,) = far.seen(SEND)
            assert seen.headers["x-amz-security-token"] == "session-token"
            assert SECRET not in repr(seen)

    asyncio.run(main())


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
        (TO, replace(MAIL, unsubscribe="https://x.example/é"), K.DROP_MESSAGE, "payload"),
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
    async def main() -> dict[str, Any]:
        async with opened(clock, OK) as (channel, far):
            await channel.send(replace(ENVELOPE, payload=replace(MAIL, subject=subject)))
            body: dict[str, Any] = far.seen(SEND)[0].json
            return body

    body = asyncio.run(main())
    assert body["Content"]["Simple"]["Subject"]["Data"] == subject
    assert len(body["Content"]["Simple"]["Headers"]) == 6
    assert set(body["Destination"]) == {"ToAddresses"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "news@food.example"),
        ('Li "the" \\ Wei, x', '"Li \\"the\\" \\\\ Wei, x" <news@food.example>'),
        ("午餐", "=?utf-8?b?5Y2I6aSQ?= <news@food.example>"),
        ("=?utf-8?q?x?=", None),
        ("午餐 " * 30, None),
    ],
)
def test_names_of_senders(name: str, shown: str | None) -> None:
    text = display(name, SENDER.mailbox)
    assert text == (shown or text)
    assert text.isascii()
    assert text.isprintable()
    assert text.endswith("news@food.example>") or not name


def test_the_body_is_json_in_utf_8(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            await channel.send(ENVELOPE)
            raw = far.seen(SEND)[0].body
            assert MAIL.subject.encode() in raw
            assert json.loads(raw)

    asyncio.run(main())
