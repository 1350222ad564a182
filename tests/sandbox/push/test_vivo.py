"""vivo at the sandbox: what it refuses, in its own words; and its rules for texts."""

from __future__ import annotations

import json
import time
from hashlib import md5
from typing import Any

import pytest

from orchestrator.sandbox.push.vivo import APP_ID, APP_KEY, SECRET
from tests.sandbox.conftest import Answer, Customer

JSON = {"content-type": "application/json"}


def auth(customer: Customer, *, secret: str = "", at: float = 0, **changed: Any) -> Answer:
    stamp = int((at or time.time()) * 1000)
    key = secret or customer.sandbox.credentials.secret(SECRET)
    sign = md5(f"{APP_ID}{APP_KEY}{stamp}{key}".encode()).hexdigest()
    fields = {"appId": APP_ID, "appKey": APP_KEY, "timestamp": stamp, "sign": sign, **changed}
    return customer.ask("POST", "/message/auth", json.dumps(fields).encode(), JSON)


def push(customer: Customer, *, token: str = "", **changed: Any) -> Answer:
    token = token or auth(customer).json["authToken"]
    fields = {
        "appId": APP_ID,
        "regId": "reg-1",
        "notifyType": 4,
        "title": "午餐",
        "content": "面条好了",
        "timeToLive": 3600,
        "skipType": 1,
        "requestId": "r-1",
        **changed,
    }
    return customer.ask("POST", "/message/send", json.dumps(fields).encode(), {**JSON, "authToken": token})


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (10201, {"appKey": "x"}),
        (10202, {"appId": 1}),
        (10203, {"at": 1_000_000_000.0}),
        (10203, {"timestamp": "now"}),
        (10204, {"secret": "wrong"}),
    ],
)
def test_no_token(code: int, wrong: dict[str, Any], refuser: Customer) -> None:
    answer = auth(refuser, **wrong)
    assert (answer.status, answer.json["result"]) == (200, code)
    assert "authToken" not in answer.json


WRONG: list[tuple[int, dict[str, Any]]] = [
    (10000, {"token": "wrong"}),
    (10094, {"appId": 1}),
    (10050, {"regId": ""}),
    (10055, {"title": ""}),
    (10056, {"title": "题" * 20 + "a"}),
    (10058, {"content": None}),
    (10059, {"content": "文" * 50 + "a"}),
    (10085, {"content": "这是测试"}),
    (10085, {"title": "测试"}),
    (10104, {"title": "Come back"}),
    (10104, {"content": "12345"}),
    (10104, {"content": "!!! 12 %"}),
    (10053, {"notifyType": 9}),
    (10053, {"skipType": "1"}),
    (10060, {"timeToLive": 59}),
    (10060, {"timeToLive": 604_801}),
    (10045, {"requestId": ""}),
    (10045, {"requestId": "x" * 65}),
    (10066, {"clientCustomMap": {f"k{n}": "v" for n in range(11)}}),
    (10067, {"clientCustomMap": {"k": "v" * 1024}}),
    (10068, {"extra": {"callback": "https://a.example/" + "x" * 120}}),
    (10068, {"extra": {"callback.param": "x" * 65}}),
    (10069, {"notifyId": "one"}),
    (10069, {"classification": 2}),
]


@pytest.mark.parametrize(("code", "wrong"), WRONG)
def test_what_is_refused(code: int, wrong: dict[str, Any], refuser: Customer) -> None:
    answer = push(refuser, **wrong)
    assert (answer.status, answer.json["result"]) == (200, code)


def test_test_messages_may_say_anything(customer: Customer) -> None:
    assert push(customer, title="Come back", content="这是测试", pushMode=1).json["result"] == 0
    assert len(customer.accepted()) == 1


def test_a_dead_one_is_named(refuser: Customer) -> None:
    answer = push(refuser, regId="dead-1").json
    assert (answer["result"], answer["invalidUser"]) == (10302, {"status": 1, "userid": "dead-1"})


def test_faults_in_its_own_shape(customer: Customer) -> None:
    customer.fault("vivo", "status", code=10070, times=1)
    assert (push(customer).json["result"], len(customer.accepted())) == (10070, 0)
