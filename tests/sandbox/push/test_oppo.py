"""OPPO at the sandbox: what it refuses, in its own words; and its two regions."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest

from orchestrator.sandbox.push.oppo import APP_KEY, SECRET
from tests.sandbox.conftest import Answer, Customer

FORM = {"content-type": "application/x-www-form-urlencoded"}


def auth(customer: Customer, region: str = "", *, secret: str = "", at: float = 0, **changed: str) -> Answer:
    stamp = str(int((at or time.time()) * 1000))
    key = secret or customer.sandbox.credentials.secret(SECRET)
    sign = sha256(f"{APP_KEY}{stamp}{key}".encode()).hexdigest()
    fields = {"app_key": APP_KEY, "timestamp": stamp, "sign": sign, **changed}
    return customer.ask("POST", f"{region}/server/v1/auth", urlencode(fields).encode(), FORM)


def push(
    customer: Customer, *, region: str = "", token: str = "", to: Any = "reg-1", kind: int = 2, **changed: Any
) -> Answer:
    token = token or auth(customer, region).json["data"]["auth_token"]
    shown = {"title": "题", "content": "文", **changed}
    message = {"target_type": kind, "target_value": to, "notification": shown}
    body = urlencode({"auth_token": token, "message": json.dumps(message)}).encode()
    return customer.ask("POST", f"{region}/server/v1/message/notification/unicast", body, FORM)


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (14, {"app_key": "x"}),
        (16, {"secret": "wrong"}),
        (16, {"sign": ""}),
        (19, {"timestamp": "now"}),
        (19, {"at": 1_000_000_000.0}),
        (19, {"at": time.time() + 7200}),  # a clock two hours ahead
    ],
)
def test_no_token(code: int, wrong: dict[str, Any], refuser: Customer) -> None:
    answer = auth(refuser, **wrong)
    assert (answer.status, answer.json["code"]) == (200, code)


WRONG: list[tuple[int, dict[str, Any]]] = [
    (11, {"token": "wrong"}),
    (40, {"to": ""}),
    (40, {"to": 7}),
    (40, {"title": ""}),
    (40, {"content": None}),
    (41, {"kind": 5}),
    (41, {"title": "题" * 51}),
    (41, {"content": "文" * 201}),
    (41, {"sub_title": "题" * 11}),
    (41, {"call_back_url": "https://a.example/" + "x" * 200}),
    (41, {"call_back_parameter": "x" * 51}),
    (41, {"action_parameters": "no JSON"}),
    (41, {"action_parameters": json.dumps({"k": "v" * 4000})}),
    (41, {"off_line_ttl": 864_001}),
    (41, {"off_line_ttl": "60"}),
    (41, {"notify_id": "one"}),
    (10000, {"to": "dead-1"}),
    (10000, {"to": "US_1"}),  # at home
    (10000, {"to": "CN_1", "region": "/intl"}),
]


@pytest.mark.parametrize(("code", "wrong"), WRONG)
def test_what_is_refused(code: int, wrong: dict[str, Any], refuser: Customer) -> None:
    answer = push(refuser, **wrong)
    assert (answer.status, answer.json["code"]) == (200, code)


def test_regions(customer: Customer) -> None:
    assert push(customer, to="OPPO_US_1", region="/intl").json["code"] == 0
    assert push(customer, to="OPPO_CN_1").json["code"] == 0
    home = auth(customer).json["data"]["auth_token"]
    assert push(customer, to="US_2", region="/intl", token=home).json["code"] == 11


def test_the_same_message_only_once_per_phone(customer: Customer) -> None:
    codes = [push(customer, to=to, app_message_id="m-1").json["code"] for to in ("reg-1", "reg-1", "reg-2")]
    assert codes == [0, 32, 0]
    assert len(customer.accepted()) == 2


def test_faults_in_its_own_shape(customer: Customer) -> None:
    customer.fault("oppo", "status", code=-2, times=1)
    assert (push(customer).json["code"], len(customer.accepted())) == (-2, 0)
