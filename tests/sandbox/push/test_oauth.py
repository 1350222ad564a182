"""The token endpoint believes nothing it cannot check."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.conftest import Customer, Open

HOUR = 3600


def test_a_good_assertion_gets_a_bearer_token(refuser: Customer) -> None:
    answer = refuser.grant(refuser.assertion())
    assert answer.status == 200
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == HOUR


def test_googles_own_audience_is_good_too(refuser: Customer) -> None:
    assert refuser.grant(refuser.assertion(aud="https://oauth2.googleapis.com/token")).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "somebody@else"},
        {"aud": "https://example.org/token"},
        {"scope": "https://www.googleapis.com/auth/drive"},
        {"scope": None},
        {"exp": None},
        {"iat": None},
        {"exp": "soon"},
    ],
)
def test_a_wrong_claim_is_invalid_grant(refuser: Customer, changed: dict[str, Any]) -> None:
    answer = refuser.grant(refuser.assertion(**changed))
    assert (answer.status, answer.error) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("issued", "expires"),
    [(0, HOUR + 1), (-2 * HOUR, -HOUR), (2 * HOUR, 3 * HOUR), (-HOUR - 10, -10), (0, 0)],
)
def test_untimely_assertions_are_invalid_grant(refuser: Customer, issued: int, expires: int) -> None:
    now = int(time.time())
    answer = refuser.grant(refuser.assertion(iat=now + issued, exp=now + expires))
    assert (answer.status, answer.error) == (400, "invalid_grant")


def test_another_key_is_invalid_grant(refuser: Customer) -> None:
    claims = jwt.decode(refuser.assertion(), options={"verify_signature": False})
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    answer = refuser.grant(jwt.encode(claims, key, algorithm="RS256"))
    assert (answer.status, answer.error) == (400, "invalid_grant")


def test_an_unsigned_assertion_is_invalid_grant(refuser: Customer) -> None:
    claims = jwt.decode(refuser.assertion(), options={"verify_signature": False})
    answer = refuser.grant(jwt.encode(claims, "", algorithm="none"))
    assert (answer.status, answer.error) == (400, "invalid_grant")


def test_rubbish_is_refused(refuser: Customer) -> None:
    assert refuser.grant("rubbish").error == "invalid_grant"
    assert refuser.ask("POST", "/token", b"grant_type=x").error == "unsupported_grant_type"


@pytest.mark.parametrize("bearer", ["x", "ya29.1-2-x.mac", "ya29.a"])
def test_a_bearer_that_is_not_ours_is_401(customer: Customer, bearer: str) -> None:
    customer.bearer = bearer
    answer = customer.push()
    assert (answer.status, answer.error["status"]) == (401, "UNAUTHENTICATED")


def test_an_expired_bearer_is_401(open_sandbox: Open) -> None:
    customer = open_sandbox(token_lifetime=0)
    answer = customer.push()
    assert answer.error["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"


def test_tokens_can_be_made_to_expire_and_fetched_anew(customer: Customer) -> None:
    assert customer.push().status == 200
    customer.fault("fcm", "expire_tokens")
    assert customer.push().status == 401
    customer.bearer = ""
    assert customer.push().status == 200
