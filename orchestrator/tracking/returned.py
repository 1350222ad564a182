"""What a returning mail says, whoever wrote it: a bounce, a complaint, an automatic answer, or nothing.

From the form that says most to the one that says least: a feedback report (RFC 5965, and Outlook.com's older one), a
delivery report (RFC 3464), then prose: the words of ``returned.yaml``, and ``flufl.bounce``
(Mailman's) for forms in which only the address has a fixed place. Nothing here looks at signatures: what a mail *says*
is one thing, whether it is *believed* another (:mod:`orchestrator.tracking.bounces`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum

from flufl.bounce import all_failures

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.email.smtp_errors import bounced
from orchestrator.tracking.mail_parts import Mail, addresses, blocks, decoded, take_apart
from orchestrator.tracking.returned_words import wording

logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it logs what its detectors do, and could name addresses


class Kind(StrEnum):
    """What a returning mail is."""

    HARD = "hard"
    """The mailbox is dead: the address ends."""
    SOFT = "soft"
    """Not delivered, and the mailbox may live: full, refused by policy, too big, given up. Counted where it counts."""
    COMPLAINT = "complaint"
    """The person called it spam."""
    AUTO_REPLY = "auto-reply"
    """Out of office and the like: nobody wrote it."""
    NONE = "none"
    """Nothing that matters: delayed, delivered, read, not spam after all, or no report at all."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one mail says. ``status`` is an enhanced code (RFC 3463) or empty; ``reason`` one word for it.

    ``recipient`` is whom it is about, as far as it names anybody. ``by``: arf, dsn, words or flufl.
    """

    kind: Kind
    recipient: str = ""
    status: str = ""
    reason: str = ""
    by: str = ""


_STATUS = re.compile(r"(?<![\d.])([245]\.[0-7]\.\d{1,3})(?![\d.])")
_CODE = re.compile(r"(?<![\d.])([45])\d\d(?=[ \-#:]|$)")
_VAGUE = re.compile(r"[245]\.(0\.\d+|\d\.0|3\.9|4\.4|5\.1)$")
"""Codes that say no more than "failed": what is said beside them says it better."""
_NO_COMPLAINT = frozenset({"not-spam", "auth-failure"})
_READ = frozenset({"disposition-notification"})
_AUTOMATIC = ("X-Autoreply", "X-Autorespond", "X-Auto-Reply", "X-Mail-Autoreply", "X-AutoReply-From")
_FAILED = frozenset({"failed", "failure", "fail", "error", "undeliverable"})  # RFC 3464 has the first alone
_LOCAL = re.compile(r"([^\s<>@\"]+)@")
_RECIPIENT_LINE = re.compile(
    r"(?:(?:final|original)-recipient: *(?:rfc822;)?|rcpt to: *|(?:failed )?recipient(?: address)?: *|"
    r"收件人(?:地址)?[:：] *|无法(?:投递|送达|发送)到? *|^ *to: *)"
    r"(?:[^\n<>@]{0,60}<)?([^\s<>;,，]+@[^\s<>;,，:]+)",
    re.IGNORECASE | re.MULTILINE,
)
_WORDS = {
    "1.2": "no-domain", "2.1": "disabled", "2.2": "full", "2.3": "too-big", "3.4": "too-big",
    "4.7": "expired", "1": "no-mailbox", "2": "mailbox", "3": "system", "4": "network", "5": "protocol",
    "6": "content", "7": "policy", "0": "unnamed",
}  # fmt: skip


def classify(raw: bytes) -> Said:
    """What a mail says. Never raises: what cannot be read says nothing."""
    try:
        return classify_mail(take_apart(raw))
    except Exception:  # noqa: BLE001  # strangers write these, and the standard library's parser is not made of steel
        return Said(Kind.NONE, reason="unreadable")


def classify_mail(mail: Mail) -> Said:
    """What a mail says that was taken apart already. May raise what parsers raise."""
    kind = mail.report_type
    feedback, delivery = mail.first("message/feedback-report"), mail.first("message/delivery-status")
    if feedback is not None and kind in {"", "feedback-report"}:
        return _complaint(mail, blocks(feedback))
    if "staff@hotmail.com" in addresses(mail.header("From").lower()):
        return _outlook(mail)
    if delivery is not None and kind in {"", "delivery-status"}:
        return _delivery(mail, blocks(delivery))
    read = kind in _READ or mail.first("message/disposition-notification") is not None
    if read and not wording().failure.search(mail.header("Subject")):  # Dovecot refuses by such a notification too
        return Said(Kind.NONE, reason="read-receipt", by="dsn")
    return _prose(mail)


# --- complaints ------------------------------------------------------------------------------------------------------


def _complaint(mail: Mail, said: list[Message]) -> Said:
    """RFC 5965."""
    kinds = [decoded(block.get("Feedback-Type")).lower() for block in said]
    kind = next((kind for kind in kinds if kind), "")
    named = [decoded(block.get(name)) for name in ("Original-Rcpt-To", "Removal-Recipient") for block in said]
    recipient = _mailbox([*named, *(decoded(quoted.get("To")) for quoted in mail.quoted())])
    if not kind or kind in _NO_COMPLAINT:
        return Said(Kind.NONE, recipient, reason=kind or "unknown", by="arf")
    return Said(Kind.COMPLAINT, recipient, reason=kind[:30], by="arf")


def _outlook(mail: Mail) -> Said:
    """Outlook.com's Junk Mail Reporting Programme: the mail itself, with whom it went to in a header."""
    quoted = mail.quoted()
    if not quoted:
        return Said(Kind.NONE, reason="unknown")
    names = ("X-HmXmrOriginalRecipient", "To")
    return Said(
        Kind.COMPLAINT, _mailbox(decoded(one.get(name)) for name in names for one in quoted), "", "abuse", "arf"
    )


# --- delivery reports (RFC 3464) -------------------------------------------------------------------------------------

_GRAVITY = (Kind.HARD, Kind.SOFT, Kind.NONE)


def _delivery(mail: Mail, said: list[Message]) -> Said:
    """The gravest thing said: we have one recipient a transaction, so all blocks are about the same one."""
    found = [_block(mail, block) for block in said if block.get("Action") or block.get("Status")]
    if not found:
        return _prose(mail)
    worst = min(found, key=lambda one: _GRAVITY.index(one.kind))
    quoted = (decoded(one.get("To")) for one in mail.quoted())
    recipient = worst.recipient or _mailbox([mail.header("X-Failed-Recipients"), *quoted])
    return Said(worst.kind, recipient, worst.status, worst.reason, "dsn")


def _block(mail: Mail, block: Message) -> Said:
    action = decoded(block.get("Action")).split("(")[0].strip().lower()
    named = decoded(block.get("Status"))
    recipient = _mailbox(decoded(block.get(name)) for name in ("Original-Recipient", "Final-Recipient"))
    if action in _FAILED:
        diagnostic = " ".join(decoded(block.get(name)) for name in ("Diagnostic-Code", "X-Display-Name"))
        return _failed(recipient, _precise(_status(named), diagnostic, mail.text()))
    status = _status(named)
    return Said(Kind.NONE, recipient, status, action[:20] or "unknown")


def _status(text: str) -> str:
    found = _STATUS.search(text)
    return found[1] if found else ""


def _precise(status: str, *explained: str) -> str:
    """``Status``; where that says no more than "failed" (5.0.0), what is said beside it, if it agrees on 4 or 5."""
    if status and not _VAGUE.fullmatch(status):
        return status
    for text in explained:
        better = _of_text(text)
        if better and (not status or better[0] == status[0]) and not _VAGUE.fullmatch(better):
            return better
    return status or next((found for found in map(_of_text, explained) if found), "5.0.0")


def _of_text(text: str) -> str:
    """The enhanced code that a text comes to: its own, else what its words mean, else that of its SMTP code."""
    text = " ".join(text[:20_000].split())
    own = next((found for found in _STATUS.findall(text) if found[0] != "2" and not _VAGUE.fullmatch(found)), "")
    if own:
        return str(own)
    code = _CODE.search(text)
    meant = next((one.status for one in wording().reasons if one.words.search(text)), "")
    if code and meant and meant[0] != code[1] and code[1] == "4":
        meant = f"4{meant[1:]}"  # "450 user unknown" is a server in trouble
    return meant or (f"{code[1]}.0.0" if code else "")


def _failed(recipient: str, status: str, by: str = "") -> Said:
    kind = Kind.HARD if bounced_hard(status) else Kind.SOFT
    return Said(kind, recipient, status, _word(status), by)


def bounced_hard(status: str) -> bool:
    """Whether a failure with this status means that the mailbox is dead: as a refusal at the door would."""
    return status.startswith("5") and bounced(status).kind is OutcomeClass.DROP_ADDRESS


def _word(status: str) -> str:
    """One word for a status."""
    detail = status[2:]
    word = _WORDS.get(detail) or _WORDS.get(detail.split(".")[0], "unnamed")
    return f"{word}-for-now" if status.startswith("4") and word in {"no-mailbox", "no-domain", "disabled"} else word


# --- prose -----------------------------------------------------------------------------------------------------------


def _prose(mail: Mail) -> Said:
    """A mail in no standard form. Automatic answers come from people's own addresses, bounces from a mail system's."""
    subject, text = mail.header("Subject"), _own_words(mail.text())
    system = _from_a_system(mail)
    failed = bool(
        wording().failure.search(subject) or mail.header("X-Failed-Recipients") or mail.report_type == "delivery-status"
    )
    if (not system or wording().answer.search(subject)) and _answers(mail, subject):
        return Said(Kind.AUTO_REPLY, _mailbox([mail.header("From")]), reason="out-of-office", by="words")
    if (system or failed) and wording().delay.search(subject) and not wording().failure.search(subject):
        return Said(Kind.NONE, _recipient(mail, text), reason="delayed", by="words")
    if not system and not failed and not _nobodys(mail):
        return Said(Kind.NONE, reason="unknown")
    temporary, permanent = _scanned(mail)
    return _bounce_in_words(mail, text, temporary, permanent, sure=failed)


def _bounce_in_words(mail: Mail, text: str, temporary: list[str], permanent: list[str], *, sure: bool) -> Said:
    """``sure``: its subject says that it is a bounce; without that its words have to, or flufl's detectors."""
    status = _of_text(text)
    recipient = _recipient(mail, text, permanent or temporary)
    if not permanent and wording().delay.search(text) and (temporary or status[:1] in {"", "4"}):
        return Said(Kind.NONE, recipient, reason="delayed", by="words")
    if status and (sure or permanent or temporary or status != "4.4.7"):
        return _failed(recipient, status, "words")
    if permanent or sure:
        return _failed(recipient, "5.0.0", "flufl" if permanent else "words")
    return Said(Kind.NONE, recipient, reason="unknown", by="words")


def _own_words(text: str) -> str:
    """The text up to where it quotes our mail: that would speak in our words."""
    kept: list[str] = []
    for line in text.splitlines():
        if wording().quoted.search(line.strip()) and kept:
            break
        kept.append(line)
    return re.sub(r"\s*\n\s*(?=\S)", "\n", "\n".join(kept))


def _from_a_system(mail: Mail) -> bool:
    names = [mail.header("From"), mail.header("Return-Path")]
    return any(wording().daemon.search(local) for name in names for local in [name.lstrip('"<'), *_LOCAL.findall(name)])


def _nobodys(mail: Mail) -> bool:
    """A null envelope sender: what nobody may answer."""
    return str(mail.head.get("Return-Path", "")).strip() == "<>"


def _answers(mail: Mail, subject: str) -> bool:
    """RFC 3834's header, those of older programs, else the subject."""
    if wording().failure.search(subject):
        return False
    submitted = mail.header("Auto-Submitted").split(";")[0].strip().lower()
    old = mail.header("Precedence").lower() in {"auto_reply", "auto-reply"} or any(map(mail.header, _AUTOMATIC))
    return old or submitted.startswith("auto-") or bool(wording().answer.search(subject))


def _scanned(mail: Mail) -> tuple[list[str], list[str]]:
    """flufl.bounce's opinion: who could not be reached for now, and who for good."""
    try:
        temporary, permanent = all_failures(mail.head)
    except Exception:  # noqa: BLE001  # thirty years of other people's formats
        return [], []
    return sorted(_read(temporary)), sorted(_read(permanent))


def _read(found: Iterable[bytes]) -> set[str]:
    return {one.decode("ascii", "replace") for one in found if b"@" in one}


def _recipient(mail: Mail, text: str, known: Iterable[str] = ()) -> str:
    """Whom a bounce in words is about."""
    line = _RECIPIENT_LINE.search(text) or _RECIPIENT_LINE.search(mail.text())
    own = {one.lower() for name in ("From", "To", "Sender", "Reply-To") for one in addresses(mail.header(name))}
    named = [one for one in addresses(text) if one.lower() not in own]
    quoted = (decoded(one.get("To")) for one in mail.quoted())
    return _mailbox([mail.header("X-Failed-Recipients"), *known, line[1] if line else "", *named, *quoted])


def _mailbox(texts: Iterable[str]) -> str:
    """The first mailbox in any of these texts."""
    return next((found[0] for found in map(addresses, texts) if found), "")
