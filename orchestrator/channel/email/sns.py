"""What Amazon SNS posts: whether Amazon signed it, for a topic of ours, just now.

A good signature proves only that *some* topic of Amazon's said it: so topics are allowed by name, and certificates are
taken from the host of that topic's region alone. (The pattern that Amazon publishes for certificate addresses is no
protection by itself: ``sns.s3.amazonaws.com`` fits it, and is a bucket that anybody may own.)

Source: Amazon SNS developer guide, "Verifying the signatures of Amazon SNS messages".
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from orchestrator.channel.callback import Refused
from orchestrator.channel.email.sns_certificates import Certificates
from orchestrator.channel.transport import NoAnswer, Transport
from orchestrator.clock import Clock

OLDEST = timedelta(hours=1)
AHEAD = timedelta(minutes=10)
"""How far Amazon's clock may be before ours."""
TOPIC = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z0-9-]{1,40}):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
NOTIFICATION, SUBSCRIBE, UNSUBSCRIBE = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"
SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIBE: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    UNSUBSCRIBE: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""What is signed of each kind, in this order; ``Subject`` only where there is one."""
_HASHES: Mapping[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303  # Amazon's choice
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[a-z0-9]+\.pem")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notification:
    """A genuine one. ``number`` is unique; ``message`` is what was published."""

    number: str
    topic: str
    message: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """A genuine message about the subscription itself, that needs nothing more."""


class SnsDoor:
    """Lets in what Amazon signed for the topics of one account.

    ``own_origin``: where a sandbox on this machine is, whose certificates are believed instead of Amazon's; else empty.
    """

    def __init__(self, topics: frozenset[str], transport: Transport, clock: Clock, own_origin: str = "") -> None:
        self.topics = topics
        self._transport = transport
        self._clock = clock
        self._own = own_origin
        self._certificates = Certificates(transport, clock)

    async def admit(self, body: bytes) -> Notification | Settled | Refused:
        """What was posted, when it is genuine. A subscription to a topic of ours is confirmed by one GET."""
        fields = read_fields(body)
        if fields is None:
            return Refused.MALFORMED
        refused = self._implausible(fields)
        if refused is not None:
            return refused
        key = await self._certificates.key(fields["SigningCertURL"])
        if key is None:
            return Refused.LATER
        if not genuine(fields, key):
            return Refused.FORGED
        return await self._take(fields)

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    def _implausible(self, fields: Mapping[str, str]) -> Refused | None:
        """What can be said against it before anything is fetched."""
        topic = fields["TopicArn"]
        if topic not in self.topics or fields["SignatureVersion"] not in _HASHES:
            return Refused.FORGED
        if not self._of_the_topic(fields["SigningCertURL"], topic):
            return Refused.FORGED
        return self._stale(fields["Timestamp"])

    def _of_the_topic(self, url: str, topic: str) -> bool:
        origin = self._own + "/sns" if self._own else f"https://{host_of(topic)}"
        return url.startswith(origin) and _CERTIFICATE.fullmatch(url[len(origin) :]) is not None

    def _stale(self, text: str) -> Refused | None:
        try:
            sent = datetime.fromisoformat(text[:40])
            age = self._clock.machine() - sent
        except (ValueError, TypeError):  # no time, or one without its zone
            return Refused.MALFORMED
        return None if -AHEAD <= age <= OLDEST else Refused.STALE

    async def _take(self, fields: Mapping[str, str]) -> Notification | Settled | Refused:
        topic = fields["TopicArn"]
        if fields["Type"] == NOTIFICATION:
            sent_at = datetime.fromisoformat(fields["Timestamp"])
            return Notification(fields["MessageId"], topic, fields["Message"], sent_at)
        if fields["Type"] == UNSUBSCRIBE:  # its SubscribeURL would subscribe again: that is for an operator to decide
            log.warning("sns_unsubscribed", extra={"topic": topic})
            return Settled()
        return await self._confirm(fields["SubscribeURL"], topic)

    async def _confirm(self, url: str, topic: str) -> Settled | Refused:
        if not self._confirms(url, topic):
            return Refused.FORGED
        answer = await self._transport.request("GET", url, headers={})
        if isinstance(answer, NoAnswer) or not 200 <= answer.status < 300:  # noqa: PLR2004  # as HTTP has it
            log.warning("sns_not_confirmed", extra={"topic": topic})
            return Refused.LATER
        log.info("sns_confirmed", extra={"topic": topic})
        return Settled()

    def _confirms(self, url: str, topic: str) -> bool:
        """Whether a GET there confirms a subscription to this topic, and does nothing else anywhere else."""
        origin = self._own + "/sns" if self._own else f"https://{host_of(topic)}"
        if not url.startswith(f"{origin}/?") or not url.isascii() or not url.isprintable():
            return False
        query = parse_qs(urlsplit(url).query)
        return query.get("Action") == ["ConfirmSubscription"] and query.get("TopicArn") == [topic]


def host_of(topic: str) -> str:
    """The host of SNS in a topic's region."""
    found = TOPIC.fullmatch(topic)
    assert found is not None, "topics are checked when the account is opened"
    return f"sns.{found[2]}.amazonaws.com" + (".cn" if found[1] == "aws-cn" else "")


def read_fields(body: bytes) -> dict[str, str] | None:
    """The fields of an SNS message (it comes as ``text/plain``); None when they are not those of any kind."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(read, dict):
        return None
    fields = {name: value for name, value in read.items() if isinstance(value, str)}
    wanted = SIGNED.get(fields.get("Type", ""))
    if wanted is None or ("Subject" in read and "Subject" not in fields and read["Subject"] is not None):
        return None
    needed = {*wanted, "Signature", "SignatureVersion", "SigningCertURL"} - {"Subject"}
    return fields if needed <= fields.keys() and fields["MessageId"] else None


def to_sign(fields: Mapping[str, str]) -> bytes:
    """``Name``, line feed, value, line feed for every signed field that is there."""
    return "".join(f"{name}\n{fields[name]}\n" for name in SIGNED[fields["Type"]] if name in fields).encode()


def genuine(fields: Mapping[str, str], key: rsa.RSAPublicKey) -> bool:
    """Whether the holder of this key signed these fields (PKCS #1 v1.5; version 1 is SHA-1, version 2 SHA-256)."""
    text = fields["Signature"]
    try:
        signature = base64.b64decode(text, validate=True)
        if base64.b64encode(signature).decode() != text:  # bits that decoding drops
            return False
        key.verify(signature, to_sign(fields), padding.PKCS1v15(), _HASHES[fields["SignatureVersion"]])
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
