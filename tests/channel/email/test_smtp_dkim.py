"""DKIM: what we sign, dkimpy's own verifier believes; one changed byte, and it does not."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.base import EmailPayload
from orchestrator.channel.email.smtp_dkim import DkimSigner, read_key
from orchestrator.channel.email.smtp_message import Sender, Writer
from orchestrator.channel.email.smtp_signing import Signer
from tests.channel.email.test_smtp_message import ADA, MESSAGE, box

NOW = datetime.now(UTC)  # a verifier does not believe the future
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def record(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """What DNS would publish."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(key.public_key().public_bytes_raw())
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def signed(payload: EmailPayload) -> bytes:
    """A whole mail as its receiver has it."""
    signer = DkimSigner("food.example", "s1", read_key(pem(RSA)))
    sender = Sender("m", "Küche", box("news@food.example"))
    mail = Writer(sender, Signer(b"k" * 32), signer).write(MESSAGE, ADA, payload, NOW)
    return mail.content.replace(b"\r\n..", b"\r\n.")


def believed(mail: bytes, key: rsa.RSAPrivateKey = RSA) -> bool:
    asked = []

    def dns(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return record(key)

    found = bool(dkim.verify(mail, dnsfunc=dns))
    assert asked in ([], [b"s1._domainkey.food.example."])
    return found


PAYLOAD = EmailPayload(
    "午餐好了", ".a dot first\r\n\r\nHi  Ada \t\r\n\r\n", "<p>Hi</p>\r\n" * 50, "https://push.example/u/t"
)


def test_a_mail_of_ours_is_believed_and_its_unsubscribe_headers_are_signed() -> None:
    mail = signed(PAYLOAD)
    assert believed(mail)
    head = mail.split(b"\r\n\r\n")[0]
    tags = head[: head.index(b"Date:")].replace(b"\r\n", b"")
    for name in (b"from", b"subject", b"list-unsubscribe", b"list-unsubscribe-post", b"message-id"):
        assert b" " + name + b" :" in tags.replace(b"h=", b" ")
    assert tags.count(b"from") == 2  # nobody adds a second From


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=300))
def test_whatever_it_says(subject: str, text: str) -> None:
    clean = "".join(c for c in subject if c.isprintable() and not "\ud800" <= c <= "\udfff") or "x"
    body = text.encode("utf-8", "ignore").decode()
    assert believed(signed(EmailPayload(clean, body or "x", f"<p>{body}</p>")))


def test_a_changed_byte_is_seen() -> None:
    mail, rng = signed(PAYLOAD), random.Random(4)
    body = mail.index(b"\r\n\r\n") + 4
    subject = mail.index(b"Subject: ") + 9
    for _ in range(40):
        at = rng.choice([subject + rng.randrange(10), body + rng.randrange(len(mail) - body - 20)])
        if not mail[at : at + 1].isalnum():
            continue
        changed = mail[:at] + (b"x" if mail[at : at + 1] != b"x" else b"y") + mail[at + 1 :]
        assert not believed(changed)
    assert not believed(mail, rsa.generate_private_key(public_exponent=65537, key_size=2048))


def test_ed25519() -> None:
    header = DkimSigner("food.example", "s1", read_key(pem(ED))).header(b"From: a@b\r\n\r\nhi\r\n", NOW)
    assert b"a=ed25519-sha256" in header
    assert header.endswith(b"\r\n")


@pytest.mark.parametrize(
    "key",
    [b"", b"-----BEGIN", pem(ec.generate_private_key(ec.SECP256R1())), b"\xff\xfe"],
)
def test_what_is_no_key_is_said(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"PEM|RSA"):
        read_key(key)
