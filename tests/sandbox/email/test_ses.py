"""The sandbox's SES: what it refuses, what it takes, and what it tells about it through SNS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import Channel, EmailPayload, Envelope, Health, Outcome, OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Reply, Report, ReportState, Seen, SeenDeed
from orchestrator.channel.email.ses import ACCOUNT, SEND, SesChannel, open_channel
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.sandbox.email.ses_auth import ACCESS_KEY_ID, REGION, SECRET
from orchestrator.sandbox.email.sns_post import TOPIC
from tests.channel.far_end import FarEnd, answers
from tests.channel.far_end import Seen as Asked
from tests.sandbox.conftest import Answer, Customer, Open

K, S = OutcomeClass, ReportState
LINK = "https://push.example/c/abc"
MAIL = EmailPayload("你好", "Plain", f'<p>Rich <a href="{LINK}">go</a></p>', "https://push.example/u/abc")
BODY: dict[str, Any] = {
    "FromEmailAddress": "Food <news@food.example>",
    "Destination": {"ToAddresses": ["li@example.com"]},
    "Content": {"Simple": {"Subject": {"Data": "Hi"}, "Body": {"Text": {"Data": "Hi"}}}},
}


def ask(customer: Customer, method: str, path: str, body: bytes, signer: Signer | None = None, **more: str) -> Answer:
    own = Signer(Credentials(ACCESS_KEY_ID, secret(customer)), REGION, "ses")
    url, kind = customer.sandbox.url + path, "application/json" if body else ""
    headers = (signer or own).headers(method, url, body, kind, datetime.now(UTC))
    return customer.ask(method, path, body, {**headers, **more})


def secret(customer: Customer) -> str:
    return (customer.sandbox.options.state / SECRET).read_text().strip()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The body with one thing in it changed; None takes it away."""
    body: dict[str, Any] = json.loads(json.dumps(BODY))
    *way, last = path.split(".")
    place = body
    for step in way:
        place = place.setdefault(step, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("Odd", 1, "BadRequestException"),
        ("Content.Simple.Odd", 1, "BadRequestException"),
        ("Content", None, "BadRequestException"),
        ("Destination", {}, "BadRequestException"),
        ("Destination.ToAddresses", ["nobody"], "BadRequestException"),
        ("Destination.ToAddresses", ["李@example.com"], "BadRequestException"),
        ("Destination.ToAddresses", [f"p{n}@example.com" for n in range(51)], "BadRequestException"),
        ("Destination.ToAddresses", "li@example.com", "BadRequestException"),
        ("FromEmailAddress", "nobody", "BadRequestException"),
        ("FromEmailAddress", "午餐 <news@food.example>", "BadRequestException"),
        ("FromEmailAddress", "a@food.example\r\nBcc: b@c.example", "BadRequestException"),
        ("FromEmailAddress", "news@unverified.example", "MessageRejected"),
        ("ReplyToAddresses", ["no"], "BadRequestException"),
        ("Content.Simple.Subject", {"Data": "a\r\nb"}, "BadRequestException"),
        ("Content.Simple.Subject", {"Data": "你好"}, "BadRequestException"),  # no charset
        ("Content.Simple.Body", {}, "BadRequestException"),
        ("Content.Simple.Headers", [{"Name": "X-A", "Value": "é"}], "BadRequestException"),
        ("Content.Simple.Headers", [{"Name": "X-A", "Value": "x" * 996}], "BadRequestException"),
        ("Content.Simple.Headers", [{"Name": "X" * 127, "Value": "x"}], "BadRequestException"),
        ("Content.Simple.Headers", [{"Name": "X-A", "Value": "x\r\nBcc: y"}], "BadRequestException"),
        ("Content.Simple.Headers", [{"Name": "Bcc", "Value": "x"}], "BadRequestException"),
        ("Content.Simple.Headers", [{"Name": "X-A", "Value": "x"}] * 2, "BadRequestException"),
        ("Content.Simple.Headers", [{"Name": f"X-{n}", "Value": "x"} for n in range(16)], "BadRequestException"),
        ("EmailTags", [{"Name": "a b", "Value": "x"}], "BadRequestException"),
        ("EmailTags", [{"Name": "a", "Value": "é"}], "BadRequestException"),
        ("ConfigurationSetName", "unknown", "NotFoundException"),
    ],
)
def test_what_is_refused(refuser: Customer, path: str, value: Any, name: str) -> None:
    answer = ask(refuser, "POST", SEND, json.dumps(changed(path, value)).encode())
    assert answer.headers["x-amzn-errortype"].partition(":")[0] == name
    assert answer.status == (404 if name == "NotFoundException" else 400)
    assert answer.json["message"]
    assert refuser.accepted() == []


def test_no_json(refuser: Customer) -> None:
    assert ask(refuser, "POST", SEND, b"{").headers["x-amzn-errortype"].startswith("SerializationException")


@pytest.mark.parametrize(
    ("signer", "headers", "name"),
    [
        (Signer(Credentials("AKIAIOSFODNN7EXAMPLE", "x"), REGION, "ses"), {}, "UnrecognizedClientException"),
        (Signer(Credentials(ACCESS_KEY_ID, "wrong"), REGION, "ses"), {}, "InvalidSignatureException"),
        (Signer(Credentials(ACCESS_KEY_ID, "x"), "eu-west-1", "ses"), {}, "InvalidSignatureException"),
        (Signer(Credentials(ACCESS_KEY_ID, "x"), REGION, "sns"), {}, "InvalidSignatureException"),
        (None, {"authorization": "AWS4-HMAC-SHA256 odd"}, "IncompleteSignature"),
        (None, {"authorization": ""}, "MissingAuthenticationTokenException"),
        (None, {"x-amz-date": "20200101T000000Z"}, "InvalidSignatureException"),
        (None, {"x-amz-date": "yesterday"}, "IncompleteSignature"),
        (None, {"x-amz-security-token": "unsigned"}, "InvalidSignatureException"),
        (None, {"content-type": "text/plain"}, "InvalidSignatureException"),
    ],
)
def test_signatures_are_checked(refuser: Customer, signer: Signer | None, headers: dict[str, str], name: str) -> None:
    answer = ask(refuser, "POST", SEND, json.dumps(BODY).encode(), signer, **headers)
    assert answer.headers["x-amzn-errortype"].partition(":")[0] == name
    assert answer.status in {400, 403}


def test_the_account(refuser: Customer) -> None:
    answer = ask(refuser, "GET", ACCOUNT, b"")
    assert answer.json["SendQuota"]["MaxSendRate"] == 1000
    assert refuser.ask("GET", ACCOUNT).status == 403


def options(customer: Customer, **more: Any) -> dict[str, Any]:
    return {
        "region": REGION,
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key_file": str(customer.sandbox.options.state / SECRET),
        "from": "Food 午餐 <news@food.example>",
        "configuration_set": "sandbox",
        "topic_arns": [TOPIC],
        "base_url": customer.sandbox.url,
        "timeout": timedelta(seconds=2),
        **more,
    }


def envelope(to: str, number: str = "4711") -> Envelope:
    return Envelope(number, 1, to, "mailbox", MAIL, timedelta(hours=1), "run-7-user-9")


@asynccontextmanager
async def hearing(
    customer: Customer, channel: Channel, provider: str
) -> AsyncIterator[tuple[list[Heard | Refused], Callable[[int], Awaitable[None]]]]:
    """Where the sandbox posts to: the channel hears each post, and what it says is kept."""
    kept: list[Heard | Refused] = []
    grown = asyncio.Event()

    async def act(seen: Asked, writer: asyncio.StreamWriter) -> None:
        request = CallbackRequest("https://x/events", "events", {}, seen.headers, seen.body)
        found = await channel.hear(request)  # type: ignore[attr-defined]
        kept.append(found)
        grown.set()
        await answers(403 if isinstance(found, Refused) else found.status)(seen, writer)

    async def until(count: int) -> None:
        async with asyncio.timeout(5):
            while len(kept) < count:
                grown.clear()
                await grown.wait()

    async with FarEnd().plays("/events", act) as far:
        body = json.dumps({"provider": provider, "url": f"{far.url}/events"}).encode()
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(None, lambda: customer.ask("POST", "/sandbox/callbacks", body))
        assert answer.status == 204
        yield kept, until
    await channel.close()


def told(customer: Customer, to: str, posts: int) -> list[Report | Seen]:
    """All that is said about one mail, after the subscription is confirmed by itself."""

    async def main() -> list[Report | Seen]:
        channel = open_channel("mail", options(customer), "")
        async with hearing(customer, channel, "ses") as (kept, until):
            assert (await channel.send(envelope(to))).kind is K.ACCEPTED
            await until(posts + 1)
            assert kept[0] == Heard()  # the confirmation
            await asyncio.sleep(0.1)
            assert len(kept) == posts + 1
            said = [each for found in kept if isinstance(found, Heard) for each in found.said]
            return [each for each in said if not isinstance(each, Reply)]

    return asyncio.run(main())


def test_a_mail_is_taken_shown_and_delivered(customer: Customer) -> None:
    said = told(customer, "li@example.com", 2)
    (record,) = customer.accepted()
    assert said == [
        Report(record["id"], "send", S.SENT, message_id=4711),
        Report(record["id"], "delivery", S.DELIVERED, message_id=4711),
    ]
    shown = {name: record[name] for name in ("title", "body", "message_id", "unsubscribe", "links")}
    assert shown == {
        "title": MAIL.subject,
        "body": MAIL.text,
        "message_id": "4711",
        "unsubscribe": MAIL.unsubscribe,
        "links": [LINK],
    }
    assert customer.ask("GET", f"/sandbox/mail/{record['seq']}").body.decode() == MAIL.html


@pytest.mark.parametrize(
    ("to", "last"),
    [
        ("dead-1@example.com", (S.UNDELIVERED, K.DROP_ADDRESS, "provider")),
        ("bounce@simulator.amazonses.com", (S.UNDELIVERED, K.DROP_ADDRESS, "provider")),
        ("suppressionlist@simulator.amazonses.com", (S.UNDELIVERED, K.SUPPRESS, "provider")),
        ("full-1@example.com", (S.UNDELIVERED, K.DROP_MESSAGE, "provider")),
        ("blocked-1@example.com", (S.UNDELIVERED, K.DROP_MESSAGE, "provider")),
        ("reject-1@example.com", (S.UNDELIVERED, None, "provider")),
        ("complaint@simulator.amazonses.com", (S.DELIVERED, K.SUPPRESS, "complaint")),
        ("leaves-1@example.com", (S.DELIVERED, K.SUPPRESS, "unsubscribe")),
        ("delay-1@example.com", (S.DELIVERED, None, "provider")),
    ],
)
def test_the_address_tells_how_it_fares(customer: Customer, to: str, last: tuple[Any, ...]) -> None:
    said = told(customer, to, 3 if to.startswith(("complaint", "leaves", "delay")) else 2)
    report = said[-1]
    assert isinstance(report, Report)
    assert (report.state, report.kind, report.refusal) == last
    assert report.message_id == 4711


def test_opens_and_clicks(customer: Customer) -> None:
    said = told(customer, "clicks-1@example.com", 4)
    seen = [each for each in said if isinstance(each, Seen)]
    assert [(each.deed, each.url) for each in seen] == [(SeenDeed.OPEN, ""), (SeenDeed.CLICK, LINK)]
    assert all(each.message_id == 4711 and each.network for each in seen)


@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        ({"kind": "status", "status": 429}, K.RETRY_AFTER, 0),
        ({"kind": "status", "status": 500}, K.RETRY, 0),
        ({"kind": "status", "status": 400, "code": "SendingPausedException"}, K.STOP_CHANNEL, 0),
        ({"kind": "status", "status": 400, "code": "MessageRejected"}, K.DROP_MESSAGE, 0),
        ({"kind": "html"}, K.RETRY, 0),
        ({"kind": "reset_before"}, K.AMBIGUOUS, 0),
        ({"kind": "reset_after"}, K.AMBIGUOUS, 1),
        ({"kind": "silence", "accept": True}, K.AMBIGUOUS, 1),
        ({"kind": "truncated"}, K.AMBIGUOUS, 1),
        ({"kind": "odd"}, K.AMBIGUOUS, 1),
    ],
)
def test_faults(customer: Customer, fault: dict[str, Any], kind: OutcomeClass, accepted: int) -> None:
    assert customer.fault("ses", **fault).status == 201

    async def main() -> Outcome:
        channel = open_channel("mail", options(customer, timeout=timedelta(seconds=0.5)), "")
        outcome = await channel.send(envelope("li@example.com"))
        await channel.close()
        return outcome

    assert asyncio.run(main()).kind is kind
    assert len(customer.accepted()) == accepted


@pytest.mark.parametrize(("fault", "heard", "refused"), [("duplicate", 4, 0), ("forged", 0, 2), ("reorder", 2, 0)])
def test_receipts_that_misbehave(customer: Customer, fault: str, heard: int, refused: int) -> None:
    customer.fault("callback", fault, match="li@")

    async def main() -> None:
        channel = open_channel("mail", options(customer), "")
        async with hearing(customer, channel, "ses") as (kept, until):
            await channel.send(envelope("li@example.com"))
            await until(1 + heard + refused)
            assert kept.count(Refused.FORGED) == refused
            said = [each for found in kept if isinstance(found, Heard) for each in found.said]
            assert len(said) == heard
            ids = {(each.provider_id, each.status) for each in said if isinstance(each, Report)}
            assert len(ids) == (2 if heard else 0)

    asyncio.run(main())


def test_a_topic_that_is_not_allowed_is_never_confirmed(customer: Customer) -> None:
    async def main() -> None:
        channel = open_channel("mail", options(customer, topic_arns=[TOPIC + "-other"]), "")
        async with hearing(customer, channel, "ses") as (kept, until):
            await channel.send(envelope("li@example.com"))
            await until(1)
            await asyncio.sleep(0.1)
            assert kept == [Refused.FORGED]

    asyncio.run(main())


def test_confirming_with_a_wrong_token(refuser: Customer) -> None:
    for query in (f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token=x", "Action=DeleteTopic", ""):
        assert refuser.ask("GET", f"/sns/?{query}").status == 400


def test_doctor_at_the_sandbox(customer: Customer, tmp_path: Path) -> None:
    async def main(**more: Any) -> list[Health]:
        channel = open_channel("mail", options(customer, **more), "")
        assert isinstance(channel, SesChannel)
        findings = await channel.check()
        await channel.close()
        return [finding.health for finding in findings]

    assert asyncio.run(main()) == [Health.FINE]
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    assert asyncio.run(main(secret_access_key_file=str(wrong))) == [Health.BROKEN]


def test_a_restart_keeps_its_keys(open_sandbox: Open) -> None:
    first = open_sandbox()
    pem = first.ask("GET", "/sns/SimpleNotificationService-5a4db0c05a4db0c05a4db0c05a4db0c0.pem").body
    before = secret(first)
    first.sandbox.__exit__(None, None, None)
    second = open_sandbox()
    again = second.ask("GET", "/sns/SimpleNotificationService-5a4db0c05a4db0c05a4db0c05a4db0c0.pem").body
    assert (again, secret(second)) == (pem, before)
    assert pem.startswith(b"-----BEGIN CERTIFICATE-----")
