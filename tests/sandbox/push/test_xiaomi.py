"""Xiaomi at the sandbox: what it refuses, in its own words."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from orchestrator.sandbox.push.xiaomi import PACKAGE, SECRET
from tests.sandbox.conftest import Answer, Customer

FORM = {"content-type": "application/x-www-form-urlencoded"}


def push(customer: Customer, *, authorization: str = "", **changed: str) -> Answer:
    key = authorization or f"key={customer.sandbox.credentials.secret(SECRET)}"
    fields = {
        "registration_id": "reg-1",
        "restricted_package_name": PACKAGE,
        "title": "题",
        "description": "文",
        **{name.replace("__", "."): value for name, value in changed.items()},
    }
    body = urlencode({name: value for name, value in fields.items() if value != "-"}).encode()
    return customer.ask("POST", "/v3/message/regid", body, {**FORM, "authorization": key})


WRONG: list[tuple[int, dict[str, str]]] = [
    (21301, {"authorization": "key=wrong"}),
    (21301, {"authorization": "Bearer x"}),
    (10016, {"registration_id": "-"}),
    (10016, {"title": " "}),
    (10016, {"description": "-"}),
    (22022, {"restricted_package_name": "com.example.other"}),
    (65009, {"title": "题" * 50}),
    (65009, {"description": "文" * 128}),
    (65009, {"payload": "文" * 1400}),
    (10017, {"pass_through": "2"}),
    (10017, {"notify_id": "2147483648"}),
    (10017, {"notify_id": "run-7"}),
    (10017, {"time_to_live": "0"}),
    (10017, {"time_to_live": "1209600001"}),
    (65014, {f"extra__k{n}": "v" for n in range(11)}),
    (65015, {"extra__k": "v" * 1030}),
    (10017, {"extra__jobkey": "_x"}),
    (10017, {"extra__jobkey": "x" * 21}),
    (65036, {"extra__callback__param": "x" * 65}),
    (65037, {"extra__callback": "https://a.example/" + "x" * 250}),
    (65038, {"extra__callback": "ftp://a.example/"}),
    (65003, {"registration_id": "dead-1,dead-2"}),
]


@pytest.mark.parametrize(("code", "wrong"), WRONG)
def test_what_is_refused(code: int, wrong: dict[str, Any], refuser: Customer) -> None:
    answer = push(refuser, **wrong)
    assert (answer.status, answer.json["code"], answer.json["result"]) == (200, code, "error")


def test_several_at_once(customer: Customer) -> None:
    answer = push(customer, registration_id="reg-1,dead-1,reg-2")
    assert answer.json["info"] == "Received push messages for 2 regid"
    assert [record["to"] for record in customer.accepted()] == ["reg-1", "reg-2"]


def test_the_trace(refuser: Customer) -> None:
    path = "/v1/trace/message/status?msg_id=0"
    key = {"authorization": f"key={refuser.sandbox.credentials.secret(SECRET)}"}
    assert refuser.ask("GET", path, headers=key).json["code"] == 0
    assert refuser.ask("GET", path).json["code"] == 21301


def test_faults_in_its_own_shape(customer: Customer) -> None:
    customer.fault("xiaomi", "status", code=10034, times=1)
    answer = push(customer)
    assert (answer.status, answer.json["code"], len(customer.accepted())) == (200, 10034, 0)
