"""The mail server: strict, counting, told to fail, and showing what it took without letting it do anything."""

from __future__ import annotations

import http.server
import json
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest
from typing_extensions import override

from orchestrator.sandbox.server import Options, Sandbox
from tests.sandbox.conftest import Customer

ADA = "ada@mail.example"
HTML = '<p>Lunch</p><a href="https://t.example/c/1?a=1&amp;b=2">go</a><script>alert(1)</script>'


def mail(**headers: str | None) -> EmailMessage:
    made = EmailMessage()
    values: dict[str, str | None] = {
        "From": "Food <news@food.example>",
        "To": ADA,
        "Subject": "午餐好了",
        "Date": "Tue, 01 Dec 2026 03:00:00 +0000",
        "Message-ID": "<7696581394577.0123456789abcdef0123@food.example>",
        "List-Unsubscribe": "<https://push.example/u/t>, <mailto:u@food.example>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    values.update({name.replace("_", "-"): value for name, value in headers.items()})
    for name, value in values.items():
        if value is not None:
            made[name] = value
    made.set_content("Lunch is ready.\n")
    made.add_alternative(HTML, subtype="html")
    return made


@contextmanager
def session(customer: Customer) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", customer.sandbox.smtp_port, timeout=5) as smtp:
        smtp.ehlo("food.example")
        yield smtp


def send(customer: Customer, raw: bytes | EmailMessage, to: str = ADA, options: tuple[str, ...] = ()) -> str:
    """The reply to the message, or to what was refused before it."""
    if isinstance(raw, EmailMessage):
        raw = raw.as_bytes().replace(b"\n", b"\r\n")
    with session(customer) as smtp:
        smtp.mail("bounce@b.food.example", options)
        for reply in (smtp.rcpt(to), smtp.docmd("DATA")):
            if reply[0] not in {250, 354}:
                return _words(reply)
        smtp.send(raw.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n")
        return _words(smtp.getreply())


def _words(reply: tuple[int, bytes]) -> str:
    return f"{reply[0]} {reply[1].decode()}"


def test_a_mail_is_kept_before_it_is_accepted(customer: Customer) -> None:
    assert send(customer, mail()).startswith("250 2.0.0 Ok: queued as ")
    [record] = customer.accepted()
    assert (record["provider"], record["to"], record["message_id"]) == ("smtp", ADA, "7696581394577")
    assert (record["title"], record["body"]) == ("午餐好了", "Lunch is ready.\n")
    assert record["unsubscribe"] == "https://push.example/u/t"
    assert record["links"] == ["https://t.example/c/1?a=1&b=2"]
    assert record["sender"] == "bounce@b.food.example"
    log = customer.sandbox.options.state / "accepted.jsonl"
    assert json.loads(log.read_text())["html"].strip() == HTML


def test_what_is_offered(customer: Customer) -> None:
    with session(customer) as smtp:
        assert {"pipelining", "enhancedstatuscodes", "8bitmime", "size", "smtputf8"} <= set(smtp.esmtp_features)


def test_one_recipient_a_transaction(customer: Customer) -> None:
    with session(customer) as smtp:
        smtp.mail("a@b.example")
        assert smtp.rcpt(ADA)[0] == 250
        assert _words(smtp.rcpt("bob@mail.example")).startswith("452 4.5.3")


@pytest.mark.parametrize("name", ["From", "To", "Date", "Message-ID", "Subject"])
def test_needed_headers(customer: Customer, name: str) -> None:
    assert send(customer, mail(**{name: None})).startswith("550 5.7.1 ")
    assert customer.accepted() == []


RAW = mail().as_bytes().replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (RAW.replace(b'charset="utf-8"', b'charset="klingon"'), "554 5.6.0"),
        (RAW.replace(b"ready.\r\n", b"ready.\n"), "521 5.5.2"),
        (RAW.replace(b"ready.", b"rea\rdy."), "521 5.5.2"),
        (RAW.replace(b"ready.", b"x" * 990), "554 5.6.0"),
        (RAW.replace(b"ready.", b"x" * 3000), "500 "),
        (RAW.replace(b"ready.", b"rea\x00dy."), "554 5.6.0"),
        (RAW.replace(b"ready.", "bereit: süß".encode()), "554 5.6.3"),
        (RAW.replace(b"Food <", "Küche <".encode()), "554 5.6.7"),
        (b"Subject: again\r\n" + RAW, "550 5.7.1"),
        (RAW.replace(b"Tue, 01 Dec", b"Someday"), "550 5.7.1"),
        (RAW.replace(b"<7696581394577.", b"7696581394577."), "550 5.7.1"),
        (RAW.replace(b"Food <news@food.example>", b"a@b.example, c@d.example"), "550 5.7.1"),
        (RAW.replace(b"<https://push.example/u/t>, ", b""), "550 5.7.1"),
        (RAW.replace(b"--\r\n", b"\r\n")[: RAW.rindex(b"--")], "554 5.6.0"),
    ],
)
def test_what_is_refused(customer: Customer, raw: bytes, reply: str) -> None:
    assert send(customer, raw).startswith(reply)
    assert customer.accepted() == []
    assert customer.ask("GET", "/sandbox/counters").json.get("smtp", {}).get("accepted") is None


def test_faults_before_the_message(customer: Customer) -> None:
    customer.fault("smtp", "dead_address", match="dead")
    customer.fault("smtp", "status", status=451, code="4.7.1", times=1)
    assert send(customer, mail(), "dead@mail.example") == "550 5.1.1 no such user here"
    assert send(customer, mail()) == "451 4.7.1 told to fail"
    assert send(customer, mail()).startswith("250")
    customer.fault("smtp", "reset_before")
    with pytest.raises((ConnectionResetError, smtplib.SMTPServerDisconnected)):
        send(customer, mail())
    assert len(customer.accepted()) == 1


def test_faults_after_the_message(customer: Customer) -> None:
    customer.fault("smtp", "status", status=550, code="5.7.26", stage="data", times=1)
    assert send(customer, mail()) == "550 5.7.26 told to fail"
    customer.fault("smtp", "reset_after", times=1)
    with pytest.raises((ConnectionResetError, smtplib.SMTPServerDisconnected)):
        send(customer, mail())
    assert len(customer.accepted()) == 1
    customer.fault("smtp", "slow", seconds=0.3, times=1)
    start = time.monotonic()
    assert send(customer, mail()).startswith("250")
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize(("accept", "kept"), [(None, 0), (True, 1)])
def test_silence(customer: Customer, accept: bool | None, kept: int) -> None:
    customer.fault("smtp", "silence", accept=accept)
    with session(customer) as smtp:
        smtp.mail("a@b.example")
        smtp.rcpt(ADA)
        smtp.docmd("DATA")
        smtp.send(RAW + b"\r\n.\r\n")
        assert smtp.sock is not None
        smtp.sock.settimeout(0.4)
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            smtp.getreply()
    assert len(customer.accepted()) == kept


def test_a_server_that_closes_says_so_and_does(customer: Customer) -> None:
    customer.fault("smtp", "status", status=421, code="4.7.28", times=1)
    with session(customer) as smtp:
        smtp.mail("a@b.example")
        assert smtp.rcpt(ADA)[0] == 421
        assert smtp.sock is None or smtp.sock.recv(1) == b""


def test_http_faults_are_not_mails(customer: Customer) -> None:
    answer = customer.fault("smtp", "html")
    assert answer.status == 400
    assert "dead_address" in answer.json["error"]


def test_html_is_shown_where_it_can_do_nothing(customer: Customer) -> None:
    send(customer, mail())
    shown = customer.ask("GET", "/sandbox/mail/1")
    assert shown.body.decode().strip() == HTML
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy
    assert "allow" not in policy
    assert "frame-src 'self'" in customer.ask("GET", "/").headers["content-security-policy"]
    assert customer.ask("GET", "/sandbox/mail/2").status == 404
    customer.text()
    assert customer.ask("GET", "/sandbox/mail/2").status == 404


def test_the_inbox_lists_mailboxes(customer: Customer) -> None:
    send(customer, mail())
    customer.text()
    seen = customer.ask("GET", "/sandbox/inbox?kind=email").json
    [phone] = seen["phones"]
    assert (phone["address"], phone["kind"]) == (ADA, "email")
    assert phone["messages"][0]["from"] == "Food <news@food.example>"
    assert "html" not in phone["messages"][0]


class _Unsubscribe(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_the_mail_programs_own_button_posts_once(customer: Customer) -> None:
    _Unsubscribe.seen = []
    with http.server.HTTPServer(("127.0.0.1", 0), _Unsubscribe) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/u/t"
        send(customer, mail(List_Unsubscribe=f"<{url}>"))
        answer = customer.ask("POST", "/sandbox/unsubscribe", b'{"seq": 1}')
        thread.join(5)
    assert (answer.status, answer.json) == (202, {"status": 200})
    assert _Unsubscribe.seen == [("/u/t", b"List-Unsubscribe=One-Click")]
    assert customer.ask("POST", "/sandbox/unsubscribe", b'{"seq": 9}').status == 404


def test_a_taken_default_port_is_no_reason_not_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        monkeypatch.setattr("orchestrator.sandbox.server.SMTP_PORT", busy.getsockname()[1])
        with Sandbox(Options(tmp_path, smtp_port=None)) as sandbox:
            assert sandbox.smtp_port != busy.getsockname()[1]
            assert int((tmp_path / "smtp-port").read_text()) == sandbox.smtp_port
