"""FCM's strictness: every rule of providers §1 refused in the real shape, and what is right accepted and logged."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from orchestrator.sandbox.push.fcm import FCM_ERROR
from tests.sandbox.conftest import TOKEN, Customer

FULL = {
    "token": TOKEN,
    "notification": {"title": "午餐", "body": "回来吧"},
    "data": {"msg_id": "70368744177681", "link": "app://lunch"},
    "android": {
        "collapse_key": "lunch-7",
        "priority": "high",
        "ttl": "1800.5s",
        "notification": {"tag": "lunch-7", "color": "#ff0000", "channel_id": "c", "sticky": False},
        "fcm_options": {"analytics_label": "lunch-winback_~.%"},
    },
    "apns": {
        "headers": {"apns-collapse-id": "lunch-7", "apns-expiration": "1800000000", "apns-priority": "10"},
        "payload": {"aps": {"alert": {"title": "午餐"}, "sound": "default"}},
    },
    "webpush": {"headers": {"TTL": "1800"}, "fcm_options": {"link": "https://app.example/lunch"}},
}


def test_a_full_message_is_accepted_and_logged_before_the_answer(customer: Customer) -> None:
    before = time.time()
    answer = customer.push(FULL)
    assert answer.status == 200
    lines = (customer.sandbox.options.state / "accepted.jsonl").read_text().splitlines()
    record = json.loads(lines[0])
    assert record["id"] == answer.json["name"]
    assert record["id"].startswith("projects/sandbox-project/messages/")
    wanted = {"seq": 1, "provider": "fcm", "to": TOKEN, "message_id": "70368744177681", "collapse_key": "lunch-7"}
    assert {name: record[name] for name in wanted} == wanted
    assert (record["title"], record["body"]) == ("午餐", "回来吧")
    assert before + 1800 <= record["expires_at"] <= time.time() + 1801
    assert record["request"]["message"] == FULL


def test_camel_case_is_the_same(customer: Customer) -> None:
    message = {"token": TOKEN, "android": {"collapseKey": "k", "ttl": "0s"}, "fcmOptions": {"analyticsLabel": "a"}}
    assert customer.push(message).status == 200
    assert customer.accepted()[0]["collapse_key"] == "k"


def test_validate_only_accepts_nothing(refuser: Customer) -> None:
    assert refuser.push(FULL, validate_only=True).status == 200
    assert refuser.push({"token": "dead-token"}, validate_only=True).status == 404
    assert refuser.accepted() == []


@pytest.mark.parametrize(
    ("address", "status", "generic", "code"),
    [
        ("dead-abcdefgh", 404, "NOT_FOUND", "UNREGISTERED"),
        ("foreign-abcdefgh", 403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
        ("malformed-abcdefgh", 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("not a token", 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("", 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ],
)
@pytest.mark.parametrize("kind", ["token", "fid"])
def test_addresses_tell_how_they_fare(
    refuser: Customer, kind: str, address: str, status: int, generic: str, code: str
) -> None:
    answer = refuser.push({kind: address})
    assert (answer.status, answer.error["code"], answer.error["status"]) == (status, status, generic)
    assert answer.fcm_code == code
    assert answer.error["details"][0]["@type"] == FCM_ERROR
    if status == 400:
        assert answer.error["details"][1]["fieldViolations"][0]["field"] == f"message.{kind}"


def with_android(**fields: Any) -> dict[str, Any]:
    return {"token": TOKEN, "android": fields}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "message"),
        ({"token": TOKEN, "topic": "news"}, "message"),
        ({"token": TOKEN, "priority": "high"}, "message"),
        ({"token": TOKEN, "notification": {"titel": "x"}}, "message.notification"),
        ({"token": TOKEN, "notification": {"title": 5}}, "message.notification.title"),
        ({"token": TOKEN, "notification": "hello"}, "message.notification"),
        ({"token": TOKEN, "data": {"n": 5}}, "message.data[0].value"),
        ({"token": TOKEN, "data": ["x"]}, "message.data"),
        ({"token": TOKEN, "data": {"from": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"message_type": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"notification": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"google.x": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"gcmish": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"k": "x" * 4096}}, "message"),
        ({"topic": "news", "data": {"k": "x" * 2048}}, "message"),
        (with_android(ttl="3600"), "message.android.ttl"),
        (with_android(ttl=3600), "message.android.ttl"),
        (with_android(ttl="-1s"), "message.android.ttl"),
        (with_android(ttl="2419201s"), "message.android.ttl"),
        (with_android(priority="urgent"), "message.android.priority"),
        (with_android(notification={"color": "red"}), "message.android.notification.color"),
        (with_android(notification={"sticky": "yes"}), "message.android.notification.sticky"),
        (with_android(fcm_options={"analytics_label": "no spaces"}), "message.android.fcm_options.analytics_label"),
        ({"token": TOKEN, "fcm_options": {"analytics_label": "x" * 51}}, "message.fcm_options.analytics_label"),
        ({"token": TOKEN, "apns": {"headers": {"apns-priority": "7"}}}, "message.apns.headers"),
        ({"token": TOKEN, "apns": {"headers": {"apns-collapse-id": "x" * 65}}}, "message.apns.headers"),
        ({"token": TOKEN, "apns": {"payload": {"aps": "x"}}}, "message.apns.payload.aps"),
        ({"token": TOKEN, "webpush": {"fcm_options": {"link": "http://x"}}}, "message.webpush.fcm_options.link"),
    ],
)
def test_what_is_wrong_is_named(refuser: Customer, message: dict[str, Any], field: str) -> None:
    answer = refuser.push(message)
    assert (answer.status, answer.error["status"]) == (400, "INVALID_ARGUMENT")
    assert answer.error["details"][-1]["fieldViolations"][0]["field"] == field
    assert refuser.accepted() == []


def test_4096_bytes_of_keys_and_values_are_accepted_and_one_more_is_not(customer: Customer) -> None:
    room = 4096 - len("k") - len("title")
    message = {"token": TOKEN, "data": {"k": "é" * 100}, "notification": {"title": "x" * (room - 200)}}
    assert customer.push(message).status == 200
    message["notification"]["title"] += "x"  # type: ignore[index]  # a dict of dicts
    assert customer.push(message).error["message"] == "Android message is too big"


def test_another_project_is_404_without_detail(refuser: Customer) -> None:
    answer = refuser.push(project="elsewhere")
    assert (answer.status, answer.fcm_code) == (404, None)


def test_no_bearer_is_401(refuser: Customer) -> None:
    answer = refuser.ask("POST", "/v1/projects/sandbox-project/messages:send", b"{}")
    assert (answer.status, answer.error["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b"x" * 1_100_000])
def test_rubbish_is_invalid_argument(customer: Customer, body: bytes) -> None:
    customer.push()
    answer = customer.ask(
        "POST", "/v1/projects/sandbox-project/messages:send", body, {"authorization": f"Bearer {customer.bearer}"}
    )
    assert (answer.status, answer.error["status"]) == (400, "INVALID_ARGUMENT")
