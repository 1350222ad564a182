"""Mail that comes back, as mail servers word it."""

from __future__ import annotations

from orchestrator.channel.callback import Purpose
from orchestrator.channel.email.smtp_signing import Signer

SIGNER = Signer(b"k" * 32)


class Box:
    """What a channel knows of its own signature."""

    postmarks = staticmethod(SIGNER.find)


def verp(message_id: int, signer: Signer = SIGNER) -> str:
    return signer.tagged(Purpose.BOUNCE, "bounce@b.food.example", str(message_id))


def dsn(
    to: str,
    *,
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str = "smtp; 550 5.1.1 no such user",
    quoted: str = "<1@food.example>",
) -> bytes:
    """A bounce as Postfix writes it."""
    return f"""Return-Path: <>
Date: Tue, 1 Dec 2026 03:00:00 +0000
From: MAILER-DAEMON@mx.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B1"

--B1
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--B1
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
Arrival-Date: Tue,  1 Dec 2026 02:59:59 +0000

Final-Recipient: rfc822; ada@mail.example
Original-Recipient: rfc822;ada@mail.example
Action: {action}
Status: {status}
Remote-MTA: dns; mail.example
Diagnostic-Code: {diagnostic}

--B1
Content-Type: message/rfc822

Message-ID: {quoted}
From: Food <news@food.example>
To: ada@mail.example
Subject: Lunch

Lunch is ready.
--B1--
""".replace("\n", "\r\n").encode()


def arf(quoted: str, *, kind: str = "abuse", to: str = "fbl@food.example") -> bytes:
    """A complaint as a mailbox provider's feedback loop sends it, the recipient blacked out."""
    return f"""From: <fbl@provider.example>
Date: Tue, 1 Dec 2026 03:00:00 +0000
Subject: FW: Lunch
To: <{to}>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="B2"

--B2
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.

--B2
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Rcpt-To: <redacted@provider.example>

--B2
Content-Type: text/rfc822-headers

From: <news@food.example>
Received: from mailserver.example.net
To: <redacted@provider.example>
Subject: Lunch
Message-ID: {quoted}

--B2--
""".replace("\n", "\r\n").encode()


def unsubscribing(message_id: int, *, headers: str = "", signer: Signer = SIGNER) -> bytes:
    """What a mail program sends to the mailto address of List-Unsubscribe."""
    to = signer.tagged(Purpose.UNSUBSCRIBE, "unsubscribe@b.food.example", str(message_id))
    return f"From: Ada <ada@mail.example>\r\nTo: {to}\r\nSubject: unsubscribe\r\n{headers}\r\n\r\n".encode()
