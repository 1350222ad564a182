"""What returning mails say, over a corpus of the forms that mail systems of the world use; whom it concerns of us."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.email.smtp_signing import Signer
from orchestrator.tracking.bounces import read_returned
from orchestrator.tracking.returned import Kind, classify
from orchestrator.tracking.returned_words import wording
from tests.tracking.mails import Box, dsn, verp

CORPUS = Path(__file__).with_name("bounces")
ROWS = [
    line.split("|")
    for line in (CORPUS / "expected.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
MESSAGE = 1 << 40 | 7 << 4 | 1


class Stranger:
    """Somebody else's postbox: not one signature is its own."""

    postmarks = staticmethod(Signer(b"somebody else's key").find)


def read(name: str) -> bytes:
    return (CORPUS / f"{name}.eml").read_bytes()


def test_the_corpus_is_all_listed() -> None:
    assert sorted(row[0] for row in ROWS) == sorted(path.stem for path in CORPUS.glob("*.eml"))
    assert len(ROWS) >= 40
    assert {row[1] for row in ROWS} == set(Kind)


@pytest.mark.parametrize(("name", "kind", "recipient", "status", "reason", "believed"), ROWS)
def test_what_a_mail_says(name: str, kind: str, recipient: str, status: str, reason: str, believed: str) -> None:
    raw = read(name)
    said = classify(raw)
    assert (said.kind, said.recipient, said.status, said.reason) == (kind, recipient, status, reason)
    returned = read_returned(raw, Box())
    assert (returned is not None) is (believed == "yes")
    assert returned is None or returned.message_id == MESSAGE
    assert read_returned(raw, Stranger()) is None  # whatever it says: it is not signed


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("qmail-unknown", OutcomeClass.DROP_ADDRESS),
        ("qq-unknown", OutcomeClass.DROP_ADDRESS),
        ("qq-full-html", OutcomeClass.DROP_MESSAGE),  # counted: full three times in thirty days
        ("unnamed-permanent", OutcomeClass.DROP_MESSAGE),  # counted: dead on two different days
        ("163-spam", None),  # what they think of us never costs an address
        ("outlook-bulk-rule", None),
        ("postfix-expired", None),
        ("arf-yahoo", OutcomeClass.SUPPRESS),
        ("outlook-jmrp", OutcomeClass.SUPPRESS),
    ],
)
def test_what_it_means_for_the_address(name: str, kind: OutcomeClass | None) -> None:
    returned = read_returned(read(name), Box())
    assert returned is not None
    assert returned.report.kind is kind


def test_our_own_words_in_the_quoted_mail_say_nothing() -> None:
    """The quoted mail has "user unknown", "mailbox is full" and "out of office" in it."""
    assert b"user unknown? No such user?" in read("gmail-unauthenticated")
    assert classify(read("gmail-unauthenticated")).kind is Kind.SOFT
    assert classify(read("exim-retry-timeout")).status == "4.4.7"


@pytest.mark.parametrize("action", ["delayed", "relayed", "expanded", "delivered", "nonsense", ""])
def test_only_failed_is_a_bounce(action: str) -> None:
    assert classify(dsn(verp(MESSAGE), action=action)).kind is Kind.NONE


@pytest.mark.parametrize("form", ["wwwwwww{}", "{}xxxxxx", "Content-Type: multipart/report; boundary={}\r\n\r\n--{}"])
@given(noise=st.binary(max_size=300))
def test_no_mail_breaks_it(form: str, noise: bytes) -> None:
    text = noise.decode("latin-1")
    assert classify(form.format(text, text).encode("latin-1")).kind in Kind


@pytest.mark.parametrize(
    "body", [b"<style " * 100_000, b"user is the address " * 50_000, b"a@b." * 200_000, b"<ada@x.example>:\n" * 50_000]
)
@pytest.mark.parametrize("kind", [b"plain", b"html"])
def test_a_mail_made_to_keep_us_busy_does_not(body: bytes, kind: bytes) -> None:
    head = b"From: MAILER-DAEMON@x.example\r\nSubject: failure notice\r\nContent-Type: text/" + kind + b"\r\n\r\n"
    begin = time.perf_counter()
    classify(head + body)
    assert time.perf_counter() - begin < 3


def test_every_reason_is_a_status_with_words() -> None:
    assert {reason.status for reason in wording().reasons} >= {"5.1.1", "5.1.2", "5.2.1", "5.2.2", "5.7.1", "4.4.7"}
    assert all(reason.words.search("") is None for reason in wording().reasons)
