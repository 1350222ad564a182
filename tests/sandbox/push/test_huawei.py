"""Huawei at the sandbox: what it refuses, in its own words."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from orchestrator.sandbox.push.huawei import APP_ID, SECRET
from tests.sandbox.conftest import Answer, Customer

FORM = {"content-type": "application/x-www-form-urlencoded"}
ANDROID: dict[str, Any] = {"notification": {"title": "题", "body": "文", "click_action": {"type": 3}}, "ttl": "60s"}


def grant(customer: Customer, **changed: str) -> Answer:
    secret = customer.sandbox.credentials.secret(SECRET)
    fields = {"grant_type": "client_credentials", "client_id": APP_ID, "client_secret": secret, **changed}
    return customer.ask("POST", "/oauth2/v3/token", urlencode(fields).encode(), FORM)


def push(
    customer: Customer,
    *,
    token: Any = "reg-1",
    app: str = APP_ID,
    bearer: str = "",
    android: dict[str, Any] | None = None,
    notification: dict[str, Any] | None = None,
    **message: Any,
) -> Answer:
    bearer = bearer or grant(customer).json["access_token"]
    shown = {**ANDROID["notification"], **(notification or {})}
    told = {"token": [token] if isinstance(token, str) else token}
    body = {"message": {**told, "android": {**ANDROID, **(android or {}), "notification": shown}, **message}}
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
    return customer.ask("POST", f"/v1/{app}/messages:send", json.dumps(body).encode(), headers)


@pytest.mark.parametrize("changed", [{"client_id": "1"}, {"client_secret": "x"}, {"grant_type": "password"}])
def test_no_token(changed: dict[str, str], refuser: Customer) -> None:
    answer = grant(refuser, **changed)
    assert (answer.status, answer.json["error"]) == (400, 1101)


def test_tokens(refuser: Customer) -> None:
    answer = grant(refuser)
    assert answer.json["expires_in"] == 3600
    foreign = answer.json["access_token"].replace("huawei.", "vivo.")
    for bearer in ("wrong", foreign, answer.json["access_token"] + "x"):
        refused = push(refuser, bearer=bearer)
        assert (refused.status, refused.json["code"]) == (401, "80200003")
    assert push(refuser, app="1").json["code"] == "80200001"


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("80100001", {"token": []}),
    ("80100001", {"token": [7]}),
    ("80300010", {"token": ["t"] * 1001}),
    ("80300008", {"data": "x" * 4096}),
    ("80100003", {"data": {"k": "v"}}),
    ("80100003", {"android": {"notification": 7}, "notification": {"title": None}}),
    ("80100003", {"notification": {"body": 7}}),
    ("80100003", {"notification": {"click_action": {}}}),
    ("80100003", {"notification": {"click_action": {"type": 9}}}),
    ("80100003", {"notification": {"image": "http://img.example/a.png"}}),
    ("80100003", {"notification": {"notify_id": "one"}}),
    ("80100013", {"android": {"collapse_key": 101}}),
    ("80100013", {"android": {"collapse_key": "run-7"}}),
    ("80100004", {"android": {"ttl": "0s"}}),
    ("80100004", {"android": {"ttl": "1296001s"}}),
    ("80100004", {"android": {"ttl": "an hour"}}),
    ("80100001", {"android": {"category": "SALE"}}),
]


@pytest.mark.parametrize(("code", "wrong"), WRONG)
def test_what_is_refused(code: str, wrong: dict[str, Any], refuser: Customer) -> None:
    answer = push(refuser, **wrong)
    assert (answer.json["code"], answer.status) == (code, 400)
    assert answer.json["requestId"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"message":7}'])
def test_what_is_no_message(body: bytes, refuser: Customer) -> None:
    headers = {"authorization": f"Bearer {grant(refuser).json['access_token']}"}
    answer = refuser.ask("POST", f"/v1/{APP_ID}/messages:send", body, headers)
    assert (answer.status, answer.json["code"]) == (400, "80100003")


def test_some_tokens_and_all_tokens(customer: Customer) -> None:
    answer = push(customer, token=["reg-1", "dead-1", "reg-2"])
    told = json.loads(answer.json["msg"])
    assert (answer.status, answer.json["code"]) == (200, "80100000")
    assert told == {"success": 2, "failure": 1, "illegal_tokens": ["dead-1"]}
    assert [record["to"] for record in customer.accepted()] == ["reg-1", "reg-2"]
    assert push(customer, token=["dead-1", "dead-2"]).json["code"] == "80300007"


def test_only_looked_at(customer: Customer) -> None:
    bearer = grant(customer).json["access_token"]
    body = {"validate_only": True, "message": {"token": ["reg-1"], "android": ANDROID}}
    headers = {"authorization": f"Bearer {bearer}"}
    answer = customer.ask("POST", f"/v1/{APP_ID}/messages:send", json.dumps(body).encode(), headers)
    assert answer.json["code"] == "80000000"
    assert customer.accepted() == []


def test_faults_in_its_own_shape(customer: Customer) -> None:
    customer.fault("huawei", "status", status=503, times=1, retry_after=9)
    flow = push(customer)
    assert (flow.status, flow.body, flow.headers["retry-after"]) == (503, b"", "9")
    customer.fault("huawei", "status", status=400, code="80100016", times=1)
    assert (push(customer).json["code"], len(customer.accepted())) == ("80100016", 0)
    customer.fault("token", "status", status=500, times=1)
    assert grant(customer).status == 500
