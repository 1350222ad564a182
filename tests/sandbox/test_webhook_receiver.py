"""The receiver of webhooks: believes what is signed now, with its own secret, and nothing else."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.sandbox.conftest import Answer, Customer

MESSAGE = {
    "type": "message",
    "id": "4711",
    "user": "user-7",
    "collapse_key": "r1-7-1",
    "expires_at": "2030-01-01T00:00:00+00:00",
    "title": "午餐",
    "body": "回来吧",
    "link": "https://app.example/x",
}


def post(customer: Customer, message: Any = None, *, late: int = 0, secret: str = "", **changed: str | None) -> Answer:
    body = json.dumps(MESSAGE if message is None else message)
    own = secret or (customer.sandbox.options.state / "webhook-secret").read_text().strip()
    at = int(time.time()) - late
    given: dict[str, str | None] = {
        "webhook-id": "4711",
        "webhook-timestamp": str(at),
        "webhook-signature": Webhook(own).sign("4711", datetime.fromtimestamp(at, UTC), body),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    headers = {name: value for name, value in given.items() if value is not None}
    return customer.ask("POST", "/webhook/app", body.encode(), headers)


def test_what_the_standards_own_library_signs_is_taken_and_logged(customer: Customer) -> None:
    assert post(customer).status == 204
    (record,) = customer.accepted()
    wanted = {"provider": "webhook", "to": "user-7", "message_id": "4711", "title": "午餐", "body": "回来吧"}
    assert {name: record[name] for name in wanted} == wanted
    assert record["expires_at"] == 1893456000
    assert record["request"]["payload"] == MESSAGE


def test_one_of_several_signatures_is_enough(customer: Customer) -> None:
    old = "whsec_" + "B" * 40
    own = (customer.sandbox.options.state / "webhook-secret").read_text().strip()
    at = datetime.fromtimestamp(int(time.time()), UTC)
    both = " ".join(Webhook(key).sign("4711", at, json.dumps(MESSAGE)) for key in (old, own))
    assert post(customer, webhook_signature=both, webhook_timestamp=str(int(at.timestamp()))).status == 204


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_signature": None},
        {"webhook_signature": "v1,"},
        {"webhook_signature": "v2,abc"},
        {"webhook_id": "4712"},
        {"webhook_id": None},
        {"webhook_timestamp": "soon"},
        {"webhook_timestamp": None},
        {"secret": "whsec_" + "B" * 40},
        {"late": 301},
        {"late": -310},
    ],
)
def test_forged_and_stale_ones_are_refused(refuser: Customer, changed: dict[str, Any]) -> None:
    answer = post(refuser, **changed)
    assert answer.status == 401
    assert refuser.accepted() == []


@pytest.mark.parametrize("message", [{}, [], "x", {**MESSAGE, "user": 7}, {"id": "1", "user": "u"}])
def test_what_is_signed_and_no_message_is_422(refuser: Customer, message: Any) -> None:
    assert post(refuser, message).status == 422
    assert refuser.accepted() == []


def test_faults(customer: Customer) -> None:
    customer.fault("webhook", "status", status=410, match="user-", times=1)
    customer.fault("webhook", "status", status=429, retry_after=9, times=1)
    assert [post(customer).status for _ in range(3)] == [410, 429, 204]
