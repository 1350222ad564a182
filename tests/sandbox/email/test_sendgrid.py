"""The sandbox's SendGrid: what it refuses, what it takes, and the events that it posts."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import Health, Outcome, OutcomeClass
from orchestrator.channel.callback import Heard, Refused, Reply, Report, ReportState, Seen, SeenDeed
from orchestrator.channel.email.sendgrid import SCOPES, SEND, SendgridChannel, open_channel
from orchestrator.sandbox.email.sendgrid import API_KEY, VERIFICATION_KEY
from tests.sandbox.conftest import Answer, Customer
from tests.sandbox.email.test_ses import LINK, MAIL, envelope, hearing

K, S = OutcomeClass, ReportState
BODY: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "li@example.com"}]}],
    "from": {"email": "news@food.example"},
    "subject": "Hi",
    "content": [{"type": "text/plain", "value": "Hi"}],
}


def options(customer: Customer, **more: Any) -> dict[str, Any]:
    state = customer.sandbox.options.state
    return {
        "api_key_file": str(state / API_KEY),
        "verification_key_file": str(state / VERIFICATION_KEY),
        "from": "Food 午餐 <news@food.example>",
        "base_url": customer.sandbox.url,
        "timeout": timedelta(seconds=2),
        **more,
    }


def ask(customer: Customer, body: Any) -> Answer:
    key = (customer.sandbox.options.state / API_KEY).read_text().strip()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return customer.ask("POST", SEND, raw, {"authorization": f"Bearer {key}", "content-type": "application/json"})


PERSON = {"email": "li@example.com"}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"odd": 1}, "odd"),
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{"to": []}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": [{"email": "no"}]}]}, "personalizations.0.to.0.email"),
        ({"personalizations": [{"to": [{"email": "李@example.com"}]}]}, "personalizations.0.to.0.email"),
        ({"personalizations": [{"to": [PERSON, PERSON]}]}, "personalizations"),
        ({"personalizations": [{"to": [PERSON], "custom_args": {"a": "x" * 10_000}}]}, "custom_args"),
        ({"personalizations": [{"to": [PERSON], "custom_args": {"a": 7}}]}, "personalizations.0.custom_args.a"),
        ({"from": {}}, "from.email"),
        ({"subject": ""}, "subject"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        (
            {"content": [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]},
            "content",
        ),
        ({"headers": {"To": "x"}}, "headers"),
        ({"headers": {"X-A": "a\r\nBcc: b"}}, "headers"),
        ({"categories": ["x"] * 2}, "categories"),
        ({"categories": [str(n) for n in range(11)]}, "categories"),
        ({"send_at": 10**11}, "send_at"),
    ],
)
def test_what_is_refused(refuser: Customer, changed: dict[str, Any], field: str) -> None:
    answer = ask(refuser, {**BODY, **changed})
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == field
    assert refuser.accepted() == []


def test_who_is_refused(refuser: Customer) -> None:
    assert ask(refuser, {**BODY, "from": {"email": "news@unverified.example"}}).status == 403
    assert refuser.ask("POST", SEND, json.dumps(BODY).encode(), {"authorization": "Bearer SG.x"}).status == 401
    assert refuser.ask("GET", SCOPES).status == 401
    assert ask(refuser, b"{").status == 400


def told(customer: Customer, to: str, posts: int) -> list[Report | Seen]:
    """All that is said about one mail."""

    async def main() -> list[Report | Seen]:
        channel = open_channel("mail", options(customer), "")
        async with hearing(customer, channel, "sendgrid") as (kept, until):
            assert (await channel.send(envelope(to))).kind is K.ACCEPTED
            await until(posts)
            await asyncio.sleep(0.1)
            assert len(kept) == posts
            said = [each for found in kept if isinstance(found, Heard) for each in found.said]
            return [each for each in said if not isinstance(each, Reply)]

    return asyncio.run(main())


def test_a_mail_is_taken_shown_and_delivered(customer: Customer) -> None:
    said = told(customer, "li@example.com", 2)
    (record,) = customer.accepted()
    assert said == [
        Report(record["id"], "processed", S.SENT, message_id=4711, address="li@example.com"),
        Report(record["id"], "delivered", S.DELIVERED, message_id=4711, address="li@example.com"),
    ]
    shown = {name: record[name] for name in ("title", "body", "message_id", "unsubscribe", "links", "from")}
    assert shown == {
        "title": MAIL.subject,
        "body": MAIL.text,
        "message_id": "4711",
        "unsubscribe": MAIL.unsubscribe,
        "links": [LINK],
        "from": "Food 午餐 <news@food.example>",
    }
    assert customer.ask("GET", f"/sandbox/mail/{record['seq']}").body.decode() == MAIL.html


@pytest.mark.parametrize(
    ("to", "posts", "last"),
    [
        ("dead-1@example.com", 2, (S.UNDELIVERED, K.DROP_ADDRESS, "provider")),
        ("full-1@example.com", 2, (S.UNDELIVERED, K.DROP_MESSAGE, "provider")),
        ("blocked-1@example.com", 2, (S.UNDELIVERED, K.DROP_MESSAGE, "provider")),
        ("suppressionlist@example.com", 1, (S.UNDELIVERED, K.DROP_ADDRESS, "provider")),
        ("reject-1@example.com", 1, (S.UNDELIVERED, None, "provider")),
        ("complaint@example.com", 3, (S.DELIVERED, K.SUPPRESS, "complaint")),
        ("leaves-1@example.com", 3, (S.DELIVERED, K.SUPPRESS, "unsubscribe")),
        ("delay-1@example.com", 3, (S.DELIVERED, None, "provider")),
    ],
)
def test_the_address_tells_how_it_fares(customer: Customer, to: str, posts: int, last: tuple[Any, ...]) -> None:
    report = told(customer, to, posts)[-1]
    assert isinstance(report, Report)
    assert (report.state, report.kind, report.refusal) == last
    assert report.message_id == 4711


def test_opens_and_clicks(customer: Customer) -> None:
    seen = [each for each in told(customer, "clicks-1@example.com", 4) if isinstance(each, Seen)]
    assert [(each.deed, each.url, each.machine) for each in seen] == [
        (SeenDeed.OPEN, "", False),
        (SeenDeed.CLICK, LINK, False),
    ]
    (opened,) = [each for each in told(customer, "machine-1@example.com", 3) if isinstance(each, Seen)]
    assert opened.machine


@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        ({"kind": "status", "status": 429}, K.RETRY_AFTER, 0),
        ({"kind": "status", "status": 503}, K.RETRY, 0),
        ({"kind": "status", "status": 401}, K.STOP_CHANNEL, 0),
        ({"kind": "status", "status": 413}, K.DROP_MESSAGE, 0),
        ({"kind": "reset_before"}, K.AMBIGUOUS, 0),
        ({"kind": "reset_after"}, K.AMBIGUOUS, 1),
        ({"kind": "silence", "accept": True}, K.AMBIGUOUS, 1),
        ({"kind": "odd"}, K.AMBIGUOUS, 1),
    ],
)
def test_faults(customer: Customer, fault: dict[str, Any], kind: OutcomeClass, accepted: int) -> None:
    assert customer.fault("sendgrid", **fault).status == 201

    async def main() -> Outcome:
        channel = open_channel("mail", options(customer, timeout=timedelta(seconds=0.5)), "")
        outcome = await channel.send(envelope("li@example.com"))
        await channel.close()
        return outcome

    outcome = asyncio.run(main())
    assert outcome.kind is kind
    assert len(customer.accepted()) == accepted
    if kind is K.RETRY_AFTER:
        assert outcome.retry_after is not None
        assert timedelta(seconds=27) < outcome.retry_after < timedelta(seconds=32)


@pytest.mark.parametrize(("fault", "heard", "refused"), [("duplicate", 4, 0), ("forged", 0, 2), ("reorder", 2, 0)])
def test_receipts_that_misbehave(customer: Customer, fault: str, heard: int, refused: int) -> None:
    customer.fault("callback", fault)

    async def main() -> None:
        channel = open_channel("mail", options(customer), "")
        async with hearing(customer, channel, "sendgrid") as (kept, until):
            await channel.send(envelope("li@example.com"))
            await until(heard + refused)
            assert kept.count(Refused.FORGED) == refused
            said = [each for found in kept if isinstance(found, Heard) for each in found.said]
            ids = {(each.provider_id, each.status) for each in said if isinstance(each, Report)}
            assert (len(said), len(ids)) == (heard, 2 if heard else 0)

    asyncio.run(main())


def test_doctor_at_the_sandbox(customer: Customer, tmp_path: Path) -> None:
    async def main(**more: Any) -> list[Health]:
        channel = open_channel("mail", options(customer, **more), "")
        assert isinstance(channel, SendgridChannel)
        findings = await channel.check()
        await channel.close()
        return [finding.health for finding in findings]

    assert asyncio.run(main()) == [Health.FINE]
    wrong = tmp_path / "wrong"
    wrong.write_text("SG.wrong")
    assert asyncio.run(main(api_key_file=str(wrong))) == [Health.BROKEN]
