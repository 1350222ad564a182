"""The signature of Standard Webhooks: its own example, its own library, and 1,000 forgeries."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from orchestrator.channel.standard_webhooks import signature, signed_headers, signing_key
from orchestrator.errors import InputError
from orchestrator.sandbox.webhook import TOLERANCE, wrong

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""Of the published example, with id, time, body and signature below."""
NUMBER, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
AT = datetime.fromtimestamp(1614265330, UTC)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example() -> None:
    assert signature(signing_key(SECRET), NUMBER, AT, BODY) == SIGNATURE
    headers = signed_headers([signing_key(SECRET)], NUMBER, AT, BODY)
    assert headers == {
        "content-type": "application/json",
        "webhook-id": NUMBER,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }
    assert wrong(SECRET, headers, BODY, AT.timestamp()) == ""


def test_without_a_key_nothing_is_signed() -> None:
    assert "webhook-signature" not in signed_headers([], NUMBER, AT, BODY)


def test_the_standards_own_library_believes_us_during_a_rotation_too() -> None:
    now = datetime.now(UTC)
    other = "whsec_" + "B" * 40
    headers = signed_headers([signing_key(other), signing_key(SECRET)], NUMBER, now, BODY)
    for secret in (SECRET, other):
        assert Webhook(secret).verify(BODY, headers) == {"test": 2432232314}
        assert wrong(secret, headers, BODY, now.timestamp()) == ""


def test_no_forgery_of_one_bit_is_believed() -> None:
    chance = random.Random(14)
    for _ in range(1000):
        parts = [NUMBER.encode(), b"1614265330", SIGNATURE.encode(), BODY]
        which = chance.randrange(4)
        part = bytearray(parts[which])
        part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
        parts[which] = bytes(part)
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        headers = dict(zip(names, (each.decode("latin-1") for each in parts), strict=False))
        assert wrong(SECRET, headers, parts[3], AT.timestamp())


def test_a_receiver_that_compares_only_the_first_characters_is_caught() -> None:
    """The same mutations, against a broken comparison: the test above would fail."""
    made = signature(signing_key(SECRET), NUMBER, AT, BODY)
    chance, believed = random.Random(14), 0
    for _ in range(1000):
        part = bytearray(SIGNATURE.encode())
        part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
        believed += bytes(part[:20]) == made.encode()[:20]
    assert believed > 100


@pytest.mark.parametrize(("late", "believed"), [(0, True), (299, True), (301, False), (-299, True), (-301, False)])
def test_stale_signatures_are_not_believed(late: int, believed: bool) -> None:
    headers = signed_headers([signing_key(SECRET)], NUMBER, AT, BODY)
    assert (wrong(SECRET, headers, BODY, AT.timestamp() + late) == "") is believed
    assert TOLERANCE == 300


@pytest.mark.parametrize("secret", ["", "whsec_", "plJ3nmyCDGBKInavdOK15jsl" * 2, "whsec_c2hvcnQ=", "whsec_?"])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(InputError):
        signing_key(secret)
