"""Twilio's signature (R14) and what its callbacks say."""

from __future__ import annotations

import random
from base64 import b64encode

import pytest
from twilio.request_validator import HMAC_SHA256, RequestValidator

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Reply, Report, ReportState
from orchestrator.channel.sms.twilio_callbacks import Signature, read

# Twilio's published vector.
TOKEN = "12345"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
SIGNED = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
HEADERS = {"X-Twilio-Signature": SIGNED}
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"


@pytest.fixture
def signature() -> Signature:
    return Signature(TOKEN, None)


def test_the_published_vector(signature: Signature) -> None:
    assert signature.genuine(URL, FORM, HEADERS)
    assert signature.genuine(URL, FORM, {"x-twilio-signature": SIGNED})
    assert signature.genuine(URL, FORM, HEADERS | {SETTINGS: "key=x,algorithm=HMAC_SHA1"})


def test_with_and_without_the_port(signature: Signature) -> None:
    assert signature.genuine(URL.replace(".com", ".com:443"), FORM, HEADERS)
    ported = URL.replace(".com", ".com:443")
    with_port = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(ported, FORM)}
    assert signature.genuine(URL, FORM, with_port)
    local = "http://127.0.0.1:8080/callbacks/sms/status?m=1"
    for url in (local, local.replace(":8080", "")):
        signed = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, FORM)}
        assert signature.genuine(local, FORM, signed)


def test_no_one_bit_change_passes(signature: Signature) -> None:
    """Every bit of signature, URL and form, and of 2,000 random places more."""
    for place in range(len(SIGNED) * 8):
        assert not signature.genuine(URL, FORM, {"X-Twilio-Signature": _flipped(SIGNED, place)})
    for place in range(len(URL) * 8):
        assert not signature.genuine(_flipped(URL, place), FORM, HEADERS)
    for name, value in FORM.items():
        rest = {other: text for other, text in FORM.items() if other != name}
        assert not signature.genuine(URL, rest, HEADERS)
        for place in range(len(value) * 8):
            assert not signature.genuine(URL, {**rest, name: _flipped(value, place)}, HEADERS)
        for place in range(len(name) * 8):
            assert not signature.genuine(URL, {**rest, _flipped(name, place): value}, HEADERS)


def test_other_tokens_and_nonsense(signature: Signature) -> None:
    chance = random.Random(5)
    for _ in range(200):
        assert not Signature(str(chance.getrandbits(64)), None).genuine(URL, FORM, HEADERS)
        noise = b64encode(chance.randbytes(20)).decode()
        assert not signature.genuine(URL, FORM, {"X-Twilio-Signature": noise})
    for headers in ({}, {"X-Twilio-Signature": ""}, {"X-Twilio-Signature": "é"}, {"X-Twilio-Signature": SIGNED + " "}):
        assert not signature.genuine(URL, FORM, headers)
    for url in ("", "https://host:port/", "https://[::1"):
        assert not signature.genuine(url, FORM, HEADERS)


def test_sha256_needs_its_own_key(signature: Signature) -> None:
    settings = {SETTINGS: "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}
    signed = settings | {"X-Twilio-Signature": RequestValidator("shared").compute_signature(URL, FORM, HMAC_SHA256)}
    assert Signature(TOKEN, "shared").genuine(URL, FORM, signed)
    assert not Signature(TOKEN, "other").genuine(URL, FORM, signed)
    assert not signature.genuine(URL, FORM, signed)
    assert not signature.genuine(URL, FORM, HEADERS | settings)
    assert not signature.genuine(URL, FORM, HEADERS | {SETTINGS: "algorithm=NONE"})


SID = "SM" + "1" * 32


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("accepted", ReportState.SENT),
        ("scheduled", ReportState.SENT),
        ("queued", ReportState.SENT),
        ("sending", ReportState.SENT),
        ("sent", ReportState.SENT),
        ("partially_delivered", ReportState.SENT),
        ("delivered", ReportState.DELIVERED),
        ("read", ReportState.DELIVERED),
        ("undelivered", ReportState.UNDELIVERED),
        ("failed", ReportState.UNDELIVERED),
        ("canceled", ReportState.UNDELIVERED),
    ],
)
def test_statuses(status: str, state: ReportState) -> None:
    form = {"MessageSid": SID, "SmsSid": SID, "MessageStatus": status, "SmsStatus": status, "To": "+1", "From": "+2"}
    assert read(form) == Report(SID, status, state)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("30005", OutcomeClass.DROP_ADDRESS), ("21610", OutcomeClass.SUPPRESS), ("30003", None), ("30008", None)],
)
def test_an_error_code_comes_along(code: str, kind: OutcomeClass | None) -> None:
    form = {"MessageSid": SID, "MessageStatus": "undelivered", "ErrorCode": code}
    assert read(form) == Report(SID, "undelivered", ReportState.UNDELIVERED, code, kind)


def test_somebody_writes_back() -> None:
    form = {
        "MessageSid": SID,
        "SmsStatus": "received",
        "From": "+15558675309",
        "To": "+1",
        "Body": " Stop please 退订 ",
    }
    assert read(form) == Reply(SID, "+15558675309", " Stop please 退订 ")


@pytest.mark.parametrize(
    "form",
    [{}, {"MessageSid": SID}, {"MessageStatus": "delivered"}, {"MessageSid": SID, "MessageStatus": "teleported"}],
)
def test_nothing_we_use(form: dict[str, str]) -> None:
    assert read(form) is None


def _flipped(text: str, place: int) -> str:
    raw = bytearray(text.encode("latin-1"))
    raw[place // 8] ^= 1 << place % 8
    return raw.decode("latin-1")
