"""SES: the request, one per attempt, signed; every row of its errors; the quota; what doctor says."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as AwsCredentials
from botocore.validate import ParamValidator
from pydantic import SecretStr

from orchestrator.channel.base import EmailPayload, Envelope, Health, Inquiry, Outcome, OutcomeClass, PushPayload, Scope
from orchestrator.channel.email import sigv4
from orchestrator.channel.email.ses import ACCOUNT, SEND, SesChannel, open_channel
from orchestrator.channel.email.ses_errors import TABLE
from orchestrator.channel.email.ses_message import SesSender, display
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.channel.email.smtp_address import Mailbox
from orchestrator.channel.email.sns import SnsDoor
from orchestrator.channel.transport import Transport
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence

K = OutcomeClass
SECRET = "s3cret/canary+secret=key"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
TO = "li.wei@example.com"
URL = "https://push.example/u/abc.def"
MAIL = EmailPayload("你好 Noodles miss you", "Plain 午餐", "<p>Rich 午餐</p>", URL)
ENVELOPE = Envelope("4711", 1, TO, "mailbox", MAIL, timedelta(hours=1), "run-7-user-9")
SENDER = SesSender("Food", Mailbox("news", "food.example"), Mailbox("help", "food.example"), "events")
OK = answers(200, {"MessageId": "0100019-abc-000000"})
PLENTY = {"SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 12.0}, "SendingEnabled": True}
FINE = answers(200, {**PLENTY, "EnforcementStatus": "HEALTHY", "ProductionAccessEnabled": True})
MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def opened(
    clock: ManualClock,
    *acts: Act,
    account: Act = FINE,
    patience: float = 0.5,
    sender: SesSender = SENDER,
    token: str = "",
) -> AsyncIterator[tuple[SesChannel, FarEnd]]:
    async with FarEnd().plays(SEND, *acts).plays(ACCOUNT, account) as far:
        transport = Transport(timedelta(seconds=patience))
        signer = Signer(Credentials(KEY_ID, SECRET, token), "eu-west-1", "ses")
        door = SnsDoor(frozenset(), Transport(timedelta(seconds=patience)), clock)
        channel = SesChannel(sender, signer, transport, clock, base_url=far.url, door=door)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act, envelope: Envelope = ENVELOPE) -> Outcome:
    """The outcome of one message; checks that exactly one request carried it."""

    async def main() -> Outcome:
        async with opened(clock, act) as (channel, far):
            outcome = await channel.send(envelope)
            assert len(far.seen(SEND)) == 1
            return outcome

    return asyncio.run(main())


def refusal(status: int, name: str, message: str = "no", **headers: str) -> Act:
    return answers(status, {"message": message}, x_amzn_errortype=f"{name}:http://internal.amazon.com/", **headers)


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


# Every row of providers §8, and Amazon's common errors.
CODES: dict[OutcomeClass, list[tuple[int, str]]] = {
    K.RETRY_AFTER: [
        (429, "TooManyRequestsException"),
        (429, "Throttling"),
        (400, "ThrottlingException"),
        (400, "LimitExceededException"),
    ],
    K.DROP_MESSAGE: [(400, "MessageRejected"), (400, "BadRequestException")],
    K.STOP_CHANNEL: [
        (400, "AccountSuspendedException"),
        (400, "SendingPausedException"),
        (400, "MailFromDomainNotVerifiedException"),
        (404, "NotFoundException"),
        (403, "UnrecognizedClientException"),
        (403, "InvalidClientTokenId"),
        (403, "InvalidSignatureException"),
        (403, "SignatureDoesNotMatch"),
        (400, "IncompleteSignature"),
        (403, "MissingAuthenticationToken"),
        (403, "MissingAuthenticationTokenException"),
        (403, "ExpiredTokenException"),
        (400, "RequestExpired"),
        (403, "AccessDeniedException"),
        (403, "OptInRequired"),
    ],
    K.RETRY: [
        (500, "InternalServiceErrorException"),
        (500, "ConcurrentModificationException"),
        (503, "ServiceUnavailable"),
        (500, "InternalFailure"),
    ],
}
ROWS = [(status, name, kind) for kind, rows in CODES.items() for status, name in rows]


@pytest.mark.parametrize(("status", "name", "kind"), ROWS)
def test_every_error(clock: ManualClock, status: int, name: str, kind: OutcomeClass) -> None:
    outcome = sent(clock, refusal(status, name))
    assert (outcome.kind, outcome.code, outcome.uncharted, outcome.may_have_left) == (kind, name, False, True)
    assert outcome.scope is (Scope.MESSAGE if kind is K.DROP_MESSAGE else Scope.ACCOUNT)
    assert outcome.at_most == (1 if kind is K.RETRY else None)


def test_the_table_has_no_row_without_a_test() -> None:
    assert {name for _, name, _ in ROWS} == set(TABLE)


def test_errors_are_named_in_the_body_too(clock: ManualClock) -> None:
    for named in ({"__type": "com.amazonaws.sesv2#SendingPausedException"}, {"code": "SendingPausedException"}):
        outcome = sent(clock, answers(400, {**named, "Message": "paused"}))
        assert (outcome.kind, outcome.code, outcome.detail) == (
            K.STOP_CHANNEL,
            "SendingPausedException",
            "paused",
        )


@pytest.mark.parametrize(
    ("name", "message", "headers", "kind", "wait"),
    [
        ("TooManyRequestsException", "Maximum sending rate exceeded.", {}, K.RETRY_AFTER, timedelta(seconds=10)),
        ("TooManyRequestsException", "slow", {"retry_after": "7"}, K.RETRY_AFTER, timedelta(seconds=7)),
        ("Throttling", "Daily message quota exceeded.", {}, K.RETRY_AFTER, timedelta(hours=1)),
        ("LimitExceededException", "quota", {}, K.RETRY_AFTER, timedelta(hours=1)),
        ("MessageRejected", f"Email address is not verified: {TO}", {}, K.STOP_CHANNEL, None),
        ("InternalFailure", "x", {"retry_after": "9"}, K.RETRY_AFTER, timedelta(seconds=9)),
    ],
)
def test_what_the_words_and_headers_add(
    clock: ManualClock, name: str, message: str, headers: dict[str, str], kind: OutcomeClass, wait: timedelta | None
) -> None:
    outcome = sent(clock, refusal(400, name, message, **headers))
    assert (outcome.kind, outcome.retry_after) == (kind, wait)
    assert TO not in outcome.detail


def test_a_hundred_errors_nobody_knows(clock: ManualClock) -> None:
    chance = random.Random(8)
    for _ in range(100):
        status, name = chance.choice((400, 404, 409, 422, 429, 500, 501, 503)), f"Odd{chance.randrange(10**6)}Error"
        name = "".join(character for character in name if character.isalpha()) + chance.choice("ABCDEFG")
        outcome = sent(clock, refusal(status, name))
        expected = {404: K.STOP_CHANNEL, 429: K.RETRY_AFTER}.get(status, K.RETRY if status >= 500 else K.DROP_MESSAGE)
        assert (outcome.kind, outcome.code, outcome.uncharted) == (expected, name, True)


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (html(502), K.RETRY, "502"),
        (html(403), K.STOP_CHANNEL, "403"),
        (answers(301, b"", location="http://127.0.0.1:1/"), K.STOP_CHANNEL, "301"),
        (answers(418), K.DROP_MESSAGE, "418"),
        (answers(408), K.AMBIGUOUS, "408"),
        (answers(200), K.AMBIGUOUS, "200"),
        (answers(200, {"MessageId": 7}), K.AMBIGUOUS, "200"),
        (answers(200, {"message": "odd"}), K.AMBIGUOUS, "200"),
        (html(200), K.AMBIGUOUS, "200"),
        (huge, K.AMBIGUOUS, "200"),
        (reset, K.AMBIGUOUS, "broken"),
        (hang_up, K.AMBIGUOUS, "broken"),
        (garbage, K.AMBIGUOUS, "broken"),
        (cut(200), K.AMBIGUOUS, "broken"),
        (silence, K.AMBIGUOUS, "timeout"),
        (drip, K.AMBIGUOUS, "timeout"),
    ],
)
def test_far_ends_that_misbehave_get_one_request(clock: ManualClock, act: Act, kind: OutcomeClass, code: str) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.code, outcome.may_have_left) == (kind, code, True)


def test_nobody_there_is_a_retry(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            assert far.server is not None
            far.server.close()
            await far.server.wait_closed()
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.may_have_left) == (K.RETRY, False)

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


def test_the_quota_of_the_day(clock: ManualClock) -> None:
    nearly = {"SendQuota": {"Max24HourSend": 100, "MaxSendRate": 1, "SentLast24Hours": 98}}

    async def main() -> None:
        async with opened(clock, OK, account=answers(200, nearly)) as (channel, far):
            assert not channel.most_per_second
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED  # does not wait for the quota
            await until(lambda: channel._quota is not None)
            assert channel.most_per_second == 1
            kinds = [(await channel.send(ENVELOPE)).kind for _ in range(4)]
            assert kinds[-1] is K.RETRY_AFTER
            assert len(far.seen(SEND)) < 5
            outcome = await channel.send(ENVELOPE)
            assert (outcome.code, outcome.scope, outcome.may_have_left) == ("quota_used_up", Scope.ACCOUNT, False)
            assert outcome.retry_after == 5 * MINUTE
            assert len(far.seen(ACCOUNT)) == 1
            far.plays(ACCOUNT, FINE)
            clock.advance(5 * MINUTE)
            assert (await channel.send(ENVELOPE)).retry_after == timedelta(seconds=2)
            await until(lambda: channel._quota is not None and channel._quota.most == 50000)
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED

    asyncio.run(main())


async def until(true: Any) -> None:
    for _ in range(200):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


@pytest.mark.parametrize("account", [refusal(403, "AccessDeniedException"), html(500), reset, answers(200, [])])
def test_a_key_that_may_not_read_the_quota_sends_all_the_same(clock: ManualClock, account: Act) -> None:
    async def main() -> None:
        async with opened(clock, OK, account=account) as (channel, far):
            for _ in range(3):
                assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
                await asyncio.sleep(0.02)
            assert len(far.seen(ACCOUNT)) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("account", "health", "words"),
    [
        (FINE, Health.FINE, "12 of 50000 mails in 24 hours, 14 mails a second"),
        (answers(200, {**PLENTY, "SendingEnabled": False}), Health.BROKEN, "switched off"),
        (answers(200, {**PLENTY, "EnforcementStatus": "SHUTDOWN"}), Health.BROKEN, "shut"),
        (answers(200, {**PLENTY, "EnforcementStatus": "PROBATION"}), Health.WARNING, "under review"),
        (answers(200, {**PLENTY, "ProductionAccessEnabled": False}), Health.WARNING, "own sandbox"),
        (
            answers(200, {"SendQuota": {"Max24HourSend": -1, "MaxSendRate": 5, "SentLast24Hours": 3}}),
            Health.FINE,
            "no daily",
        ),
        (
            answers(200, {"SendQuota": {"Max24HourSend": 9, "MaxSendRate": 5, "SentLast24Hours": 9}}),
            Health.BROKEN,
            "used up",
        ),
        (
            answers(200, {"SendQuota": {"Max24HourSend": 10, "MaxSendRate": 5, "SentLast24Hours": 9}}),
            Health.WARNING,
            "9 of",
        ),
        (refusal(403, "AccessDeniedException"), Health.WARNING, "may not read"),
        (refusal(403, "InvalidSignatureException"), Health.BROKEN, "403 InvalidSignatureException"),
        (html(200), Health.BROKEN, "200"),
        (reset, Health.BROKEN, "cannot be reached"),
        (FINE, Health.WARNING, "no receipts are heard"),
        (answers(200, PLENTY, date="Tue, 01 Dec 2026 02:50:00 GMT"), Health.BROKEN, "clock is 600 s ahead"),
    ],
)
def test_what_doctor_says(clock: ManualClock, account: Act, health: Health, words: str) -> None:
    async def main() -> None:
        async with opened(clock, OK, account=account) as (channel, far):
            findings = await channel.check()
            assert any(finding.health is health and words in finding.what for finding in findings)
            assert [request.method for request in far.requests] == ["GET"]

    asyncio.run(main())


def test_nothing_can_be_asked_about_a_lost_answer(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, _):
            assert await channel.reconcile(Inquiry("4711", TO, MAIL, clock.now())) is None

    asyncio.run(main())


GIVEN = {"region": "eu-west-1", "access_key_id": KEY_ID, "from": "Food <news@food.example>"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"region": "cn-north-1"}, ""),
        ({"topic_arns": ["arn:aws:sns:eu-west-1:123456789012:ses"]}, ""),
        ({"topic_arns": ["arn:aws:sns:eu-west-1:123456789012:*"]}, "topic_arns"),
        ({"region": "eu-west-1.evil.example/"}, "region"),
        ({"base_url": "http://mail.example"}, "base_url"),
        ({"from": "nobody"}, "from"),
        ({"from": "Food\r\nBcc: x <news@food.example>"}, "from"),
        ({"reply_to": "李@food.example"}, "reply_to"),
        ({"configuration_set": "a b"}, "configuration_set"),
        ({"secret_access_key": None}, "secret_access_key_file"),
        ({"acces_key_id": "x"}, "access_key_id"),
    ],
)
def test_options(changed: dict[str, Any], words: str) -> None:
    options = {**GIVEN, "secret_access_key": SecretStr(SECRET), **changed}
    if not words:
        channel = open_channel("mail", options, "https://push.example/callbacks/mail")
        assert (channel.channel, channel.provider) == ("email", "ses")
        return
    with pytest.raises(ConfigError) as caught:
        open_channel("mail", options, "https://push.example/callbacks/mail")
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_addresses_of_the_regions(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    for region, host in {"eu-west-1": "eu-west-1.amazonaws.com", "cn-north-1": "cn-north-1.amazonaws.com.cn"}.items():
        channel = open_channel("mail", {**GIVEN, "region": region, "secret_access_key_file": str(secret)}, "")
        assert isinstance(channel, SesChannel)
        assert channel._base_url == f"https://email.{host}"
        assert not channel._door._own  # no certificate from this machine is believed


def test_the_body_is_json_in_utf_8(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            await channel.send(ENVELOPE)
            raw = far.seen(SEND)[0].body
            assert MAIL.subject.encode() in raw
            assert json.loads(raw)

    asyncio.run(main())
