"""Twilio's strictness, its list, and the STOP list it keeps by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.sandbox.credentials import FROM_NUMBER, MESSAGING_SERVICE_SID
from orchestrator.sandbox.sms.segments import bill
from tests.sandbox.conftest import MESSAGES, PHONE, Customer


def test_a_message_is_201_queued_and_logged(customer: Customer) -> None:
    answer = customer.text(Body="你" * 71, ValidityPeriod="600", StatusCallback="http://127.0.0.1:9/cb/status?m=4711")
    assert answer.status == 201
    body = answer.json
    assert (body["status"], body["num_segments"], body["to"], body["from"]) == ("queued", "2", PHONE, FROM_NUMBER)
    record = json.loads((customer.sandbox.options.state / "accepted.jsonl").read_text())
    assert (record["id"], record["message_id"], record["provider"]) == (body["sid"], "4711", "twilio")
    assert record["expires_at"] == pytest.approx(record["time"] + 600)


def test_a_service_accepts_before_it_picks_a_sender(customer: Customer) -> None:
    body = customer.text(From="-", MessagingServiceSid=MESSAGING_SERVICE_SID).json
    assert (body["status"], body["num_segments"], body["from"]) == ("accepted", "0", None)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": "-"}, 21604),
        ({"To": "015112345678"}, 21211),
        ({"To": "+0151123456"}, 21211),
        ({"To": "+1500555000a"}, 21211),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"From": "-"}, 21603),
        ({"From": "+4915100000000"}, 21606),
        ({"From": "+15005550008"}, 21611),
        ({"From": "-", "MessagingServiceSid": "MG" + "0" * 32}, 21701),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"ValidityPeriod": "0"}, 20422),
        ({"ValidityPeriod": "36001"}, 20422),
        ({"ValidityPeriod": "ten"}, 20422),
        ({"StatusCallback": "ftp://example.org/"}, 21609),
        ({"StatusCallback": "https://under_score.example/"}, 21609),
        ({"StatusCallback": "/relative"}, 21609),
        ({"StatusCallback": "http://[bad/"}, 21609),
        ({"SendAt": "2026-12-01T00:00:00Z", "ScheduleType": "fixed"}, 35118),
    ],
)
def test_what_is_wrong_has_its_code(refuser: Customer, fields: dict[str, Any], code: int) -> None:
    answer = refuser.text(**fields)
    assert answer.status >= 400
    assert set(answer.json) == {"code", "message", "more_info", "status"}
    assert (answer.json["code"], answer.json["status"]) == (code, answer.status)
    assert answer.json["more_info"].endswith(f"/{code}")
    assert refuser.accepted() == []


def test_1600_characters_are_accepted(customer: Customer) -> None:
    assert customer.text(Body="x" * 1600).json["num_segments"] == "11"


def test_wrong_credentials_are_20003(refuser: Customer) -> None:
    for header in (
        {},
        {"authorization": "Basic !"},
        {"authorization": "Basic QUM6eA=="},
        {"authorization": "Bearer x"},
    ):
        answer = refuser.ask("POST", f"{MESSAGES}.json", b"", header)
        assert (answer.status, answer.json["code"]) == (401, 20003)


def test_another_account_is_20404(refuser: Customer) -> None:
    path = f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
    assert refuser.ask("POST", path, b"", refuser.basic()).json["code"] == 20404


def test_stop_holds_until_start(customer: Customer) -> None:
    assert customer.reply("please STOP").status == 202
    assert customer.text().status == 201
    customer.reply(" stop ")
    answer = customer.text()
    assert (answer.status, answer.json["code"]) == (400, 21610)
    assert customer.text(To="+8613800138000").status == 201
    customer.reply("Start")
    assert customer.text().status == 201


def test_the_list_is_newest_first_filtered_and_paged(customer: Customer) -> None:
    start = datetime.now(UTC) - timedelta(seconds=2)
    for number in range(5):
        customer.text(Body=f"text {number}")
    customer.text(To="+8613800138000")
    customer.push()
    first = customer.list(To=PHONE, PageSize=2)
    assert [each["body"] for each in first["messages"]] == ["text 4", "text 3"]
    second = customer.ask("GET", first["next_page_uri"], headers=customer.basic()).json
    third = customer.ask("GET", second["next_page_uri"], headers=customer.basic()).json
    assert [each["body"] for each in third["messages"]] == ["text 0"]
    assert third["next_page_uri"] is None
    assert len(customer.list()["messages"]) == 6
    assert len(customer.list(**{"To": PHONE, "DateSent>": start.strftime("%Y-%m-%dT%H:%M:%SZ")})["messages"]) == 5
    assert len(customer.list(DateSent=start.date().isoformat())["messages"]) in {0, 6}  # midnight may pass
    later = start + timedelta(hours=1)
    assert customer.list(**{"DateSent>=": later.isoformat()})["messages"] == []
    assert customer.list(**{"DateSent<": (start - timedelta(days=1)).date().isoformat()})["messages"] == []
    assert customer.list(**{"DateSent>": "yesterday"})["code"] == 20001


def test_a_message_is_found_by_its_sid(customer: Customer) -> None:
    sid = customer.text().json["sid"]
    assert customer.ask("GET", f"{MESSAGES}/{sid}.json", headers=customer.basic()).json["sid"] == sid
    for other in ("SM" + "0" * 32, "nonsense", sid[:-1] + "9"):
        assert customer.ask("GET", f"{MESSAGES}/{other}.json", headers=customer.basic()).status == 404


@pytest.mark.parametrize(
    ("text", "units", "parts"),
    [
        ("a" * 160, 160, 1),
        ("a" * 161, 161, 2),
        ("a" * 306, 306, 2),
        ("a" * 307, 307, 3),
        ("€" * 80, 160, 1),
        ("€" * 81, 162, 2),
        ("a" * 159 + "€", 161, 2),
        ("a" * 152 + "€" + "a" * 152, 306, 3),
        ("a" * 152 + "€" + "a" * 151, 305, 2),
        ("你" * 70, 70, 1),
        ("你" * 71, 71, 2),
        ("你" * 134, 134, 2),
        ("你" * 135, 135, 3),
        ("😀" * 35, 70, 1),
        ("😀" * 36, 72, 2),
        ("你" * 66 + "😀" + "你" * 66, 134, 3),
        ("你" * 66 + "😀" + "你" * 65, 133, 2),
        ("’" + "a" * 69, 70, 1),
        ("’" + "a" * 70, 71, 2),
        ("👨‍👩‍👧‍👦", 11, 1),
        ("", 0, 0),
    ],
)
def test_parts_are_counted_as_they_are_billed(text: str, units: int, parts: int) -> None:
    assert bill(text)[1:] == (units, parts)


def test_what_people_wrote_is_readable_by_us_alone(customer: Customer) -> None:
    for name in ("accepted.jsonl", "replies.jsonl"):
        assert (customer.sandbox.options.state / name).stat().st_mode & 0o077 == 0
