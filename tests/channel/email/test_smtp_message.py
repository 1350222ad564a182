"""What a mail looks like: read back with the standard library's parser."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.channel.base import EmailPayload
from orchestrator.channel.callback import Postmark, Purpose
from orchestrator.channel.email.smtp_address import Mailbox, read_mailbox
from orchestrator.channel.email.smtp_message import Mail, Sender, Writer
from orchestrator.channel.email.smtp_signing import Signer

KEY = Signer(b"k" * 32)
MESSAGE = str(7 << 40 | 9 << 4 | 1)
NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)


def box(address: str) -> Mailbox:
    found = read_mailbox(address)
    assert found is not None
    return found


SENDER = Sender(
    "mail-main",
    "美食 Küche",
    box("news@food.example"),
    reply_to=box("help@food.example"),
    bounce=box("bounce@b.food.example"),
    unsubscribe_mailto=box("unsubscribe@b.food.example"),
)
ADA = box("ada@mail.example")


def write(payload: EmailPayload, sender: Sender = SENDER, message_id: str = MESSAGE) -> Mail:
    return Writer(sender, KEY).write(message_id, ADA, payload, NOW)


def read(mail: Mail) -> EmailMessage:
    return email.message_from_bytes(mail.content.replace(b"\r\n..", b"\r\n."), policy=email.policy.SMTP)


def payload(subject: str = "Lunch", text: str = "Hi", html: str = "<p>Hi</p>") -> EmailPayload:
    return EmailPayload(subject, text, html, "https://push.example/u/tok")


def test_the_headers_of_a_good_bulk_mail() -> None:
    mail = write(payload("午餐好了"))
    found = read(mail)
    assert found["From"] == "美食 Küche <news@food.example>"
    assert found["To"] == "ada@mail.example"
    assert found["Reply-To"] == "help@food.example"
    assert found["Subject"] == "午餐好了"
    assert found["Date"].datetime == NOW
    assert found["Message-ID"] == mail.message_id
    assert found["Precedence"] == "bulk"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["Feedback-ID"] == "r7:s1:mail-main:foodexample"
    url, mailto = found["List-Unsubscribe"].split(", ")
    assert url == "<https://push.example/u/tok>"
    assert mailto.startswith(f"<mailto:unsubscribe+{MESSAGE}.")
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]
    assert found.defects == []


@pytest.mark.parametrize(
    "name",
    ["Food", "Food & Co", 'The "Best" Food', "Food, Inc.", "back\\slash", "厨房", "Küche, 厨房", "=?utf-8?q?x?=", ""],
)
def test_the_senders_name_is_read_as_it_was_given(name: str) -> None:
    sender = Sender("m", name, box("news@food.example"))
    found = read(write(payload(), sender))["From"].addresses
    assert [(one.display_name, one.addr_spec) for one in found] == [(name, "news@food.example")]


def test_the_names_stay_the_same_over_retries_and_are_signed() -> None:
    first, second = write(payload()), write(payload("other", "words"))
    assert (first.message_id, first.sender) == (second.message_id, second.sender)
    assert KEY.find(first.message_id) == [Postmark(Purpose.MESSAGE, int(MESSAGE))]
    assert KEY.find(first.sender.upper()) == [Postmark(Purpose.BOUNCE, int(MESSAGE))]
    assert write(payload(), message_id="8").message_id != first.message_id


def test_a_forged_or_borrowed_signature_names_nothing() -> None:
    token = KEY.token(Purpose.BOUNCE, MESSAGE)
    assert KEY.find(token[:-1] + ("0" if token[-1] != "0" else "1")) == []
    assert KEY.find(f"1{token}") == []
    assert Signer(b"x" * 32).find(token) == []
    assert Signer(None).find(token) == []


def test_without_a_key_bounces_go_to_the_sender() -> None:
    mail = Writer(Sender("m", "", box("news@food.example")), Signer(None)).write(MESSAGE, ADA, payload(), NOW)
    assert (mail.sender, mail.message_id) == ("news@food.example", f"<{MESSAGE}@food.example>")


def test_one_click_needs_https_except_on_this_machine() -> None:
    def post(url: str) -> object:
        return read(write(EmailPayload("s", "t", "h", url)))["List-Unsubscribe-Post"]

    assert post("http://127.0.0.1:8080/u/t") is not None
    assert post("http://push.example/u/t") is None
    assert post("") is None


def test_a_subject_that_looks_encoded_is_shown_as_it_is() -> None:
    assert read(write(payload("=?utf-8?q?spoof?= 50 %")))["Subject"] == "=?utf-8?q?spoof?= 50 %"


def test_lines_are_short_and_only_crlf_ends_them() -> None:
    text = "一" * 3000 + "\n.\r\n..\rend " + "x" * 5000
    for each in (payload(text=text), payload(html=text), payload(subject="s" * 2000), payload("题" * 900)):
        content = write(each).content
        assert max(map(len, content.split(b"\r\n"))) <= 998
        assert b"\n" not in content.replace(b"\r\n", b"")
        assert b"\r" not in content.replace(b"\r\n", b"")
        assert b"\r\n.\r\n" not in content


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400)
SUBJECTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=200)


@given(SUBJECTS.filter(str.strip), TEXTS, TEXTS)
def test_whatever_is_written_is_read(subject: str, text: str, html: str) -> None:
    found = read(write(payload(subject, text, html)))
    plain, rich = found.iter_parts()
    for part, given_text in ((plain, text), (rich, html)):
        raw = part.get_payload(decode=True)
        assert isinstance(raw, bytes)
        expected = given_text.replace("\r\n", "\n").replace("\r", "\n")
        assert raw.decode().replace("\r\n", "\n") == expected
    assert "".join(found["Subject"].split()) == "".join(subject.split())
    assert found.keys().count("Subject") == 1


PIECES = st.lists(
    TEXTS
    | st.sampled_from(
        ["=", ".", "..", " ", "\t", "\n", " \n", "\n.\n", "From ", "x" * 75, "x" * 76, "a=" * 40, "é", "看"]
    ),
    min_size=1,
    max_size=9,
)


@given(PIECES, PIECES)
@example(["é", "x" * 76, "y" * 40], ["é", "=" + "x" * 73, "y" * 40])
@example(["é" + "x" * 68 + " \n", "y" * 40], ["é" + "x" * 69 + "\t\n", "é" + "x" * 69 + " "])
def test_what_is_written_in_pieces_is_read_as_a_whole(text: list[str], html: list[str]) -> None:
    whole = payload("Lunch", "".join(text), "".join(html))
    mail = write(replace(whole, pieces=(text, html)))
    for part, given_text in zip(read(mail).iter_parts(), (whole.text, whole.html), strict=True):
        raw = part.get_payload(decode=True)
        assert isinstance(raw, bytes)
        assert raw.decode().replace("\r\n", "\n") == given_text.replace("\r\n", "\n").replace("\r", "\n")
    kinds = [part["Content-Transfer-Encoding"] for part in read(mail).iter_parts()]
    assert kinds == [part["Content-Transfer-Encoding"] for part in read(write(whole)).iter_parts()]
    if kinds == ["quoted-printable"] * 2:
        body = mail.content.partition(b"\r\n\r\n")[2].replace(b"\r\n..", b"\r\n.")
        assert max(map(len, body.split(b"\r\n"))) <= 76  # RFC 2045 §6.7: the sign of a soft break counts
    assert b"\r\n.\r\n" not in mail.content


@given(st.text(st.sampled_from("ae=é看🙂\n"), min_size=1, max_size=200))
def test_the_shorter_encoding_is_chosen(text: str) -> None:
    data = text.encode()
    foreign = sum(octet > 127 for octet in data)
    shorter = "7bit" if text.isascii() else "base64" if foreign * 6 > len(data) else "quoted-printable"
    [plain, _] = read(write(payload(text=text))).iter_parts()
    assert plain["Content-Transfer-Encoding"] == shorter


@given(st.text(max_size=60))
def test_a_mailbox_is_one_token_of_the_protocol(address: str) -> None:
    found = read_mailbox(address + "@mail.example")
    if found is not None:
        assert not set(found.text) & set("\r\n\x00<>\t\x7f\x85\u2028\u2029") or found.local.startswith('"')
        assert "\r" not in found.text
        assert "\n" not in found.text
