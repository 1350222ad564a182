"""What SES refuses in a ``SendEmail``: its shapes, limits and identities. Source: the API reference of sesv2."""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.sandbox.email.ses_auth import SesRefusal

MOST_RECIPIENTS = 50
LARGEST = 40 * 1024 * 1024
CONFIGURATION_SETS = frozenset({"sandbox"})
UNVERIFIED = "unverified"
"""A domain that begins so is nobody's here; every other one has been verified."""
_RESERVED = frozenset(
    {"from", "to", "cc", "bcc", "subject", "date", "message-id", "reply-to", "sender", "return-path"}
    | {"mime-version", "content-type", "content-transfer-encoding", "dkim-signature", "received"}
)
_ADDRESS = re.compile(r"[!-~]+@[A-Za-z0-9.\-\[\]]+")

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,256}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Words(_Shape):
    """``Content``."""

    Data: str
    Charset: str = "us-ascii"


class Parts(_Shape):
    """``Body``."""

    Text: Words | None = None
    Html: Words | None = None


class MailHeader(_Shape):
    """``MessageHeader``."""

    Name: Annotated[str, Field(pattern=r"^[!-9;-@A-~]{1,126}$")]
    Value: Annotated[str, Field(pattern=r"^[ -~]{1,995}$")]


class Simple(_Shape):
    """``Message``."""

    Subject: Words
    Body: Parts
    Headers: Annotated[list[MailHeader], Field(max_length=15)] = []


class MailContent(_Shape):
    """``EmailContent``, of which the sandbox takes the simple kind alone."""

    Simple: Simple


class Destination(_Shape):
    """Whom to."""

    ToAddresses: list[str] = []
    CcAddresses: list[str] = []
    BccAddresses: list[str] = []


class Tag(_Shape):
    """``MessageTag``."""

    Name: _Name
    Value: _Name


class SendEmail(_Shape):
    """The request."""

    Content: MailContent
    FromEmailAddress: str
    Destination: Destination
    ReplyToAddresses: list[str] = []
    EmailTags: Annotated[list[Tag], Field(max_length=50)] = []
    ConfigurationSetName: str | None = None
    FeedbackForwardingEmailAddress: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers beyond the usual ones."""
        return {header.Name: header.Value for header in self.Content.Simple.Headers}


def read_request(body: bytes) -> SendEmail | SesRefusal:
    """The request, or why it is none."""
    if len(body) > LARGEST:
        return _bad("Message length is more than 41943040 bytes long")
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return SesRefusal("SerializationException", "request body is not JSON", 400)
    try:
        return SendEmail.model_validate(read)
    except ValidationError as error:
        first: Any = error.errors()[0]
        return _bad(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def refusal(given: SendEmail) -> SesRefusal | None:
    """The first thing wrong with the meaning of a request."""
    return _sender(given) or _recipients(given) or _parts(given) or _settings(given)


def _sender(given: SendEmail) -> SesRefusal | None:
    address = _plain(given.FromEmailAddress)
    if not given.FromEmailAddress.isascii() or not address:
        return _bad("Missing final '@domain'" if "@" not in given.FromEmailAddress else "Invalid From address")
    if address.rpartition("@")[2].lower().startswith(UNVERIFIED):
        message = "Email address is not verified. The following identities failed the check in region US-EAST-1: "
        return SesRefusal("MessageRejected", message + address, 400)
    return None


def _recipients(given: SendEmail) -> SesRefusal | None:
    to = given.Destination
    everybody = [*to.ToAddresses, *to.CcAddresses, *to.BccAddresses]
    if not everybody:
        return _bad("Destination has no addresses")
    if len(everybody) > MOST_RECIPIENTS:
        return _bad(f"Recipient count exceeds {MOST_RECIPIENTS}.")
    for address in [*everybody, *given.ReplyToAddresses]:
        if not _plain(address):
            local_is_odd = "@" in address and not address.rpartition("@")[0].isascii()
            return _bad("Local address contains control or non-ASCII characters" if local_is_odd else "Illegal address")
    return None


def _plain(text: str) -> str:
    """The address in it, when it is one."""
    if any(ord(character) < 32 for character in text):  # noqa: PLR2004  # control characters
        return ""
    address = parseaddr(text)[1]
    return address if _ADDRESS.fullmatch(address) else ""


def _parts(given: SendEmail) -> SesRefusal | None:
    mail = given.Content.Simple
    if mail.Body.Text is None and mail.Body.Html is None:
        return _bad("Missing required parameter: Body")
    words = [each for each in (mail.Subject, mail.Body.Text, mail.Body.Html) if each is not None]
    if any(each.Charset.lower() != "utf-8" and not each.Data.isascii() for each in words):
        return _bad("Data contains characters that its charset does not have")
    if re.search(r"[\r\n\x00]", mail.Subject.Data):
        return _bad("Subject contains control characters")
    return _headers([header.Name.lower() for header in mail.Headers])


def _headers(names: list[str]) -> SesRefusal | None:
    if len(set(names)) != len(names):
        return _bad("Duplicate header")
    reserved = next((name for name in names if name in _RESERVED), None)
    if reserved is not None:
        return _bad(f"Header {reserved} cannot be set")
    if "list-unsubscribe-post" in names and "list-unsubscribe" not in names:
        return _bad("List-Unsubscribe-Post without List-Unsubscribe")
    return None


def _settings(given: SendEmail) -> SesRefusal | None:
    name = given.ConfigurationSetName
    if name is not None and name not in CONFIGURATION_SETS:
        return SesRefusal("NotFoundException", f"Configuration set <{name}> does not exist.", 404)
    return None


def _bad(message: str) -> SesRefusal:
    return SesRefusal("BadRequestException", message)
