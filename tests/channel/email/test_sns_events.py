"""SES's events: every bounce, complaint and other event, opens and clicks, and which message they are about."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Report, ReportState, Seen, SeenDeed
from orchestrator.channel.email.ses_events import BOUNCES, read_event
from tests.channel.conftest import NOW
from tests.channel.email.sns_door import DELIVERED, MAIL, K, S


def said(kind: str, word: str, **what: Any) -> list[Report | Seen]:
    return read_event({"eventType": kind, "mail": MAIL, word: what}, "N1", NOW)


REPORT = Report("0100019-abc", "", S.UNDELIVERED, message_id=4711)
ROWS = {
    ("Permanent", "General"): (K.DROP_ADDRESS, "provider"),
    ("Permanent", "NoEmail"): (K.DROP_ADDRESS, "provider"),
    ("Permanent", "Suppressed"): (K.SUPPRESS, "provider"),
    ("Permanent", "OnAccountSuppressionList"): (K.SUPPRESS, "provider"),
    ("Permanent", "UnsubscribedRecipient"): (K.SUPPRESS, "unsubscribe"),
    ("Transient", "General"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "MailboxFull"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "MessageTooLarge"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "ContentRejected"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "AttachmentRejected"): (K.DROP_MESSAGE, "provider"),
    ("Undetermined", "Undetermined"): (K.DROP_MESSAGE, "provider"),
}


@pytest.mark.parametrize(("types", "verdict"), ROWS.items())
def test_every_bounce(types: tuple[str, str], verdict: tuple[OutcomeClass, str]) -> None:
    recipients = [{"emailAddress": "li@example.com", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 nobody"}]
    (report,) = said(
        "Bounce", "bounce", bounceType=types[0], bounceSubType=types[1], bouncedRecipients=recipients, feedbackId="F"
    )
    status = "5.2.2" if types[1] == "MailboxFull" else "5.1.1"
    assert report == replace(
        REPORT,
        status="bounce:N1",
        code=f"{types[0]}.{types[1]} {status}",
        kind=verdict[0],
        refusal=verdict[1],
        address="li@example.com",
    )


def test_the_table_of_bounces_has_no_row_without_a_test() -> None:
    assert set(ROWS) == set(BOUNCES)


def test_a_hundred_bounces_nobody_knows() -> None:
    chance = random.Random(3)
    for _ in range(100):
        kind = chance.choice(["Permanent", "Transient", "Odd", ""])
        (report,) = said("Bounce", "bounce", bounceType=kind, bounceSubType=f"New{chance.randrange(999)}")
        assert isinstance(report, Report)
        assert report.kind is (K.DROP_ADDRESS if kind == "Permanent" else K.DROP_MESSAGE)


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        ("5.7.1", "", K.DROP_MESSAGE),
        ("5.0.0", "smtp; 550 5.7.26 unauthenticated", K.DROP_MESSAGE),
        ("5.1.1", "smtp; 550-5.7.1", K.DROP_ADDRESS),
        ("", "", K.DROP_ADDRESS),
    ],
)
def test_no_policy_refusal_costs_an_address(status: str, words: str, kind: OutcomeClass) -> None:
    recipients = [{"emailAddress": "Li <li@example.com>", "status": status, "diagnosticCode": words}]
    (report,) = said("Bounce", "bounce", bounceType="Permanent", bounceSubType="General", bouncedRecipients=recipients)
    assert isinstance(report, Report)
    assert (report.kind, report.address) == (kind, "li@example.com")


@pytest.mark.parametrize(
    ("feedback", "sub", "expected"),
    [
        ("abuse", None, (S.DELIVERED, "abuse")),
        ("fraud", None, (S.DELIVERED, "fraud")),
        ("virus", None, (S.DELIVERED, "virus")),
        ("auth-failure", None, (S.DELIVERED, "auth-failure")),
        ("other", None, (S.DELIVERED, "other")),
        (None, None, (S.DELIVERED, "")),
        (None, "OnAccountSuppressionList", (S.UNDELIVERED, "OnAccountSuppressionList")),
        ("not-spam", None, None),
    ],
)
def test_complaints(feedback: str | None, sub: str | None, expected: tuple[ReportState, str] | None) -> None:
    people = [{"emailAddress": "li@example.com"}, {"emailAddress": "wei@example.com"}]
    reports = said(
        "Complaint",
        "complaint",
        complainedRecipients=people,
        complaintFeedbackType=feedback,
        complaintSubType=sub,
    )
    if expected is None:
        assert reports == []
        return
    base = replace(REPORT, state=expected[0], code=expected[1], kind=K.SUPPRESS, refusal="complaint")
    assert reports == [
        replace(base, status="complaint:N1", address="li@example.com"),
        replace(base, status="complaint:N1:1", address="wei@example.com"),
    ]


@pytest.mark.parametrize(
    ("kind", "word", "what", "report"),
    [
        ("Send", "send", {}, replace(REPORT, status="send", state=S.SENT)),
        ("Delivery", "delivery", {}, DELIVERED),
        ("Reject", "reject", {"reason": "Bad content"}, replace(REPORT, status="reject", code="Reject")),
        (
            "Rendering Failure",
            "failure",
            {"templateName": "x"},
            replace(REPORT, status="rendering_failure", code="RenderingFailure"),
        ),
        (
            "DeliveryDelay",
            "deliveryDelay",
            {"delayType": "MailboxFull"},
            replace(REPORT, status="delay:N1", state=S.SENT, code="DeliveryDelay.MailboxFull"),
        ),
        (
            "Subscription",
            "subscription",
            {"newTopicPreferences": {"unsubscribeAll": True}},
            replace(
                REPORT,
                status="subscription:N1",
                state=S.DELIVERED,
                code="Subscription",
                kind=K.SUPPRESS,
                refusal="unsubscribe",
            ),
        ),
    ],
)
def test_every_other_event(kind: str, word: str, what: dict[str, Any], report: Report) -> None:
    assert said(kind, word, **what) == [report]


@pytest.mark.parametrize(
    ("topics", "left"), [(["OptOut"], True), (["OptOut", "OptIn"], False), (["OptIn"], False), ([], False)]
)
def test_who_still_wants_something_has_not_left(topics: list[str], left: bool) -> None:
    wishes = {"topicSubscriptionStatus": [{"topicName": "t", "subscriptionStatus": status} for status in topics]}
    assert bool(said("Subscription", "subscription", newTopicPreferences={"unsubscribeAll": False, **wishes})) is left


def test_opens_and_clicks() -> None:
    at = datetime.fromisoformat("2026-12-01T02:30:00.500Z")
    what = {"timestamp": "2026-12-01T02:30:00.500Z", "userAgent": "Mozilla/5.0", "ipAddress": "192.0.2.7"}
    opened = Seen("N1", "0100019-abc", SeenDeed.OPEN, at, 4711, "", "Mozilla/5.0", "192.0.2.7")
    assert said("Open", "open", **what) == [opened]
    clicked = replace(opened, deed=SeenDeed.CLICK, url="https://x.example/?a=b")
    assert said("Click", "click", **what, link="https://x.example/?a=b") == [clicked]
    assert said("Open", "open", timestamp="odd") == [Seen("N1", "0100019-abc", SeenDeed.OPEN, NOW, 4711)]


@pytest.mark.parametrize(
    ("mail", "found"),
    [
        ({"tags": {"message_id": ["4711"]}}, 4711),
        ({"headers": [{"name": "X-Orchestrator-Message", "value": "4711"}]}, 4711),
        ({"tags": {"message_id": ["x"]}}, None),
        ({"tags": {"message_id": []}, "headers": [7]}, None),
        ({"tags": [], "headers": {}}, None),
        ({}, None),
    ],
)
def test_which_message_it_is_about(mail: dict[str, Any], found: int | None) -> None:
    (report,) = read_event({"notificationType": "Delivery", "mail": {"messageId": "m", **mail}}, "N1", NOW)
    assert report.message_id == found


@pytest.mark.parametrize("junk", [None, 7, [], "x", {"a": None}, [None], {"bouncedRecipients": [None, 7]}])
def test_nothing_in_an_event_upsets_us(junk: Any) -> None:
    for kind in ("Send", "Bounce", "Complaint", "Open", "Click", "DeliveryDelay", "Subscription", "Odd"):
        word = kind[:1].lower() + kind[1:]
        read_event({"eventType": kind, "mail": MAIL, word: junk}, "N1", NOW)
        read_event({"eventType": kind, "mail": junk, word: {}}, "N1", NOW)
        read_event({"eventType": junk, "mail": MAIL}, "N1", NOW)
