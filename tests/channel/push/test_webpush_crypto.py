"""Web Push's cryptography: the RFC's own example, another implementation that opens what we seal, and VAPID tokens."""

from __future__ import annotations

import os
import random
import subprocess
from datetime import timedelta

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator.channel.push.webpush_crypto import (
    OVERHEAD,
    base64url,
    encrypt,
    public_point,
    read_receiver,
    unbase64url,
)
from orchestrator.channel.push.webpush_vapid import Vapid, read_vapid_key, wrong_subject
from orchestrator.clock import ManualClock

P256 = ec.SECP256R1()
RFC = {
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}
RFC_BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A"
    "_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_rfc_8291() -> None:
    sender = ec.derive_private_key(
        int.from_bytes(unbase64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), P256
    )
    receiver = read_receiver(RFC)
    assert receiver is not None
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        receiver,
        sender=sender,
        salt=unbase64url("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert len(body) == 144
    assert base64url(body) == RFC_BODY


def browser() -> tuple[ec.EllipticCurvePrivateKey, bytes, dict[str, str]]:
    key, auth = ec.generate_private_key(P256), os.urandom(16)
    return key, auth, {"p256dh": base64url(public_point(key)), "auth": base64url(auth)}


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 500, 2600, 3993])
def test_another_implementation_opens_what_we_seal(size: int) -> None:
    key, auth, details = browser()
    receiver = read_receiver(details)
    assert receiver is not None
    plaintext = random.Random(size).randbytes(size)
    body = encrypt(plaintext, receiver)
    assert len(body) == size + OVERHEAD <= 4096
    assert http_ece.decrypt(body, private_key=key, auth_secret=auth) == plaintext
    assert encrypt(plaintext, receiver)[:86] != body[:86]  # salt and key are fresh each time


def test_no_other_browser_opens_it_and_no_bit_may_change() -> None:
    key, auth, details = browser()
    receiver = read_receiver(details)
    assert receiver is not None
    body = encrypt(b"for one alone", receiver)
    other, _, _ = browser()
    for private, secret in ((other, auth), (key, bytes(16))):
        with pytest.raises(Exception, match=r".*"):
            http_ece.decrypt(body, private_key=private, auth_secret=secret)
    chance = random.Random(8291)
    for _ in range(200):
        bent = bytearray(body)
        bent[chance.choice([*range(16), *range(86, len(body))])] ^= 1 << chance.randrange(8)
        with pytest.raises(Exception, match=r".*"):
            http_ece.decrypt(bytes(bent), private_key=key, auth_secret=auth)


GOOD = browser()[2]


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"p256dh": GOOD["p256dh"]},
        {"auth": GOOD["auth"]},
        {**GOOD, "auth": ""},
        {**GOOD, "auth": base64url(bytes(15))},
        {**GOOD, "auth": base64url(bytes(17))},
        {**GOOD, "p256dh": base64url(bytes(65))},
        {**GOOD, "p256dh": base64url(b"\x04" + bytes(64))},  # no point of the curve
        {**GOOD, "p256dh": base64url(b"\x02" + bytes(32))},
        {**GOOD, "p256dh": GOOD["p256dh"][:-4]},
        {**GOOD, "p256dh": "not base64 at all!"},
        {**GOOD, "p256dh": "午餐"},
    ],
)
def test_keys_that_no_browser_has(details: dict[str, str]) -> None:
    assert read_receiver(details) is None


def test_keys_in_the_other_alphabet_or_padded_are_read() -> None:
    wanted = read_receiver(GOOD)
    assert wanted is not None
    for details in (
        {name: value + "=" * (-len(value) % 4) for name, value in GOOD.items()},
        {name: value.replace("-", "+").replace("_", "/") for name, value in GOOD.items()},
    ):
        found = read_receiver(details)
        assert found is not None
        assert (found.point, found.auth) == (wanted.point, wanted.auth)


def test_a_token_for_each_service_alone(clock: ManualClock) -> None:
    key = ec.generate_private_key(P256)
    vapid = Vapid(key, "mailto:push@food.example", clock)
    now = clock.machine().timestamp()
    for origin in ("https://fcm.googleapis.com", "https://web.push.apple.com", "https://fcm.googleapis.com"):
        scheme, token, point = vapid.authorization(origin).replace(",", "").split(" ")
        assert (scheme, point) == ("vapid", f"k={base64url(public_point(key))}")
        claims = jwt.decode(
            token.removeprefix("t="),
            key.public_key(),
            ["ES256"],
            audience=origin,
            options={"verify_exp": False, "require": ["aud", "exp", "sub"]},
        )
        assert claims == {"aud": origin, "exp": int(now) + 12 * 3600, "sub": "mailto:push@food.example"}


def test_tokens_are_kept_renewed_and_forgotten(clock: ManualClock) -> None:
    vapid = Vapid(ec.generate_private_key(P256), "mailto:push@food.example", clock)
    first = vapid.authorization("https://a.example")
    clock.advance(timedelta(hours=5))
    assert vapid.authorization("https://a.example") == first
    clock.advance(timedelta(hours=2))
    second = vapid.authorization("https://a.example")
    assert second != first
    vapid.forget("https://a.example")
    assert vapid.authorization("https://a.example") != second
    third = vapid.authorization("https://a.example")
    clock.advance(timedelta(days=-3))  # the clock was wrong: exp would be three days ahead
    assert vapid.authorization("https://a.example") != third
    for number in range(1000):
        vapid.authorization(f"https://{number}.example")
    assert len(vapid._tokens) <= 256


def test_keys_as_tools_write_them() -> None:
    key = ec.generate_private_key(P256)
    raw = key.private_numbers().private_value.to_bytes(32, "big")
    texts = [
        key.private_bytes(Encoding.PEM, form, NoEncryption())
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ]
    for text in (*texts, base64url(raw).encode(), base64url(raw).encode() + b"=\n"):
        read = read_vapid_key(text)
        assert read is not None
        assert public_point(read) == public_point(key)


def test_the_key_of_the_hint_is_one() -> None:
    made = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], capture_output=True, check=True
    )
    assert read_vapid_key(made.stdout) is not None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x" * 43,
        base64url(bytes(32)).encode(),
        base64url(b"\xff" * 32).encode(),
        base64url(bytes(31)).encode(),
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "午".encode(),
    ],
)
def test_what_is_no_key(text: bytes) -> None:
    if text == b"x" * 43:  # 32 bytes of base64 are a key, whoever typed them
        assert read_vapid_key(text) is not None
        return
    assert read_vapid_key(text) is None


@pytest.mark.parametrize("subject", ["mailto:a@b.example", "https://food.example", "https://food.example/contact"])
def test_subjects(subject: str) -> None:
    assert wrong_subject(subject) == ""


@pytest.mark.parametrize(
    "subject",
    ["", "a@b.example", "mailto:", "mailto:a@localhost", "https://localhost", "http://food.example", "mailto:a b@c.d"],
)
def test_subjects_that_apple_refuses(subject: str) -> None:
    assert wrong_subject(subject)
