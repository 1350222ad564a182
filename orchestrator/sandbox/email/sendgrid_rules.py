"""What SendGrid refuses in a ``mail/send``: its shapes and limits. Source: the v3 Mail Send reference."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

LARGEST = 30 * 1024 * 1024
MOST_ARGUMENT_BYTES = 10_000
MOST_SCHEDULED = 72 * 3600
UNVERIFIED = "unverified"
"""A domain that begins so is nobody's here; every other one has been verified."""
RESERVED = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)
_ADDRESS = re.compile(r"[!-~]+@[A-Za-z0-9.\-]+\.[A-Za-z0-9\-]+")


class SendgridRefusal(NamedTuple):
    """One error: its words, the field, and the HTTP status."""

    message: str
    field: str | None = None
    status: int = 400


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class Person(_Shape):
    """An address, and a name."""

    email: str
    name: str | None = None


class Personalization(_Shape):
    """One envelope."""

    to: Annotated[list[Person], Field(min_length=1)]
    cc: list[Person] = []
    bcc: list[Person] = []
    subject: str | None = None
    headers: dict[str, str] = {}
    substitutions: dict[str, str] = {}
    custom_args: dict[str, str] = {}
    send_at: int | None = None


class ContentPart(_Shape):
    """A part of the mail."""

    type: Annotated[str, Field(min_length=1)]
    value: Annotated[str, Field(min_length=1)]


class MailSend(_Shape):
    """The request. Templates, attachments and unsubscribe groups are not played here."""

    personalizations: Annotated[list[Personalization], Field(min_length=1, max_length=1000)]
    sender: Annotated[Person, Field(alias="from")]
    content: Annotated[list[ContentPart], Field(min_length=1)]
    subject: str = ""
    reply_to: Person | None = None
    headers: dict[str, str] = {}
    categories: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=10)] = []
    custom_args: dict[str, str] = {}
    send_at: int | None = None
    batch_id: str | None = None
    ip_pool_name: Annotated[str | None, Field(min_length=2, max_length=64)] = None
    mail_settings: dict[str, Any] = {}
    tracking_settings: dict[str, Any] = {}


def read_request(body: bytes) -> MailSend | SendgridRefusal:
    """The request, or why it is none."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return SendgridRefusal("Bad Request", None)
    try:
        return MailSend.model_validate(read)
    except ValidationError as error:
        first: Any = error.errors()[0]
        return SendgridRefusal(first["msg"], ".".join(map(str, first["loc"])))


def refusal(given: MailSend, now: float) -> SendgridRefusal | None:
    """The first thing wrong with the meaning of a request."""
    return _people(given) or _subject(given) or _parts(given) or _extras(given, now)


def _people(given: MailSend) -> SendgridRefusal | None:
    domain = given.sender.email.rpartition("@")[2].lower()
    everybody = [person for each in given.personalizations for person in (*each.to, *each.cc, *each.bcc)]
    reply_to = [given.reply_to] if given.reply_to is not None else []
    for person in [given.sender, *everybody, *reply_to]:
        if not _ADDRESS.fullmatch(person.email):
            return SendgridRefusal("Does not contain a valid address.", "personalizations.0.to.0.email")
    addresses = [person.email.lower() for person in everybody]
    if len(set(addresses)) != len(addresses):
        return SendgridRefusal("Each email address in the personalization block should be unique", "personalizations")
    if domain.startswith(UNVERIFIED):
        message = "The from address does not match a verified Sender Identity."
        return SendgridRefusal(message, "from", 403)
    return None


def _subject(given: MailSend) -> SendgridRefusal | None:
    if all((each.subject or given.subject) for each in given.personalizations):
        return None
    return SendgridRefusal("The subject is required.", "subject")


def _parts(given: MailSend) -> SendgridRefusal | None:
    kinds = [part.type for part in given.content]
    if "text/plain" in kinds[1:]:
        message = "If present, text/plain and text/html may only be provided once, text/plain first."
        return SendgridRefusal(message, "content")
    if any(";" in kind or "\r" in kind or "\n" in kind for kind in kinds):
        return SendgridRefusal("The content type must not contain ';' or CRLF characters.", "content.0.type")
    return None


def _extras(given: MailSend, now: float) -> SendgridRefusal | None:
    everything: list[MailSend | Personalization] = [given, *given.personalizations]
    for each in everything:
        if any(name.lower() in RESERVED for name in each.headers):
            return SendgridRefusal("The header key is a reserved header.", "headers")
        if any(not name.isascii() or re.search(r"[\x00-\x1f]", name + value) for name, value in each.headers.items()):
            return SendgridRefusal("Header keys must be ASCII, and values in one line.", "headers")
        if len(orjson.dumps({**given.custom_args, **each.custom_args})) > MOST_ARGUMENT_BYTES:
            return SendgridRefusal("The custom arguments are larger than 10000 bytes.", "custom_args")
        if each.send_at is not None and each.send_at > now + MOST_SCHEDULED:
            return SendgridRefusal("send_at may not be more than 72 hours away.", "send_at")
    if len(set(given.categories)) != len(given.categories):
        return SendgridRefusal("The categories must be unique.", "categories")
    return None
