"""What SNS posts: a signed envelope, with the certificate it is checked with.

The certificate is self-made, so the real address rules cannot hold here: it is served by the sandbox itself.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from orchestrator.sandbox.credentials import Credentials

TOPIC = "arn:aws:sns:us-east-1:000000000000:sandbox-ses"
CERTIFICATE = "/sns/SimpleNotificationService-5a4db0c05a4db0c05a4db0c05a4db0c0.pem"
_FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


@dataclass(frozen=True, slots=True)
class SnsKey:
    """A key and its certificate."""

    key: rsa.RSAPrivateKey
    certificate: bytes


def open_key(credentials: Credentials) -> SnsKey:
    """The sandbox's, made the first time and kept."""
    key = serialization.load_pem_private_key(credentials.secret("sns-key.pem", _new_key).encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    certificate = credentials.secret("sns-certificate.pem", lambda: _certificate(key))
    return SnsKey(key, certificate.encode() + b"\n")


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, shape = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, shape, serialization.NoEncryption()).decode().strip()


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.sandbox.invalid")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
    return signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode().strip()


@dataclass(frozen=True, slots=True)
class SnsPost:
    """One message of SNS. ``said``: of a notification, what is published; ``token``: of a confirmation, its token."""

    signing: SnsKey
    base_url: str
    said: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    version: str = "1"
    number: str = field(default_factory=lambda: secrets.token_hex(16))
    """The same whenever this is posted again."""

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        del url
        fields = self._confirmation() if self.token else self._notification()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if forged else self.signing.key
        envelope = {**fields, "Signature": _signature(fields, key, self.version)}
        headers = {
            "User-Agent": "Amazon Simple Notification Service Agent",
            "Content-Type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": fields["Type"],
            "x-amz-sns-message-id": self.number,
            "x-amz-sns-topic-arn": TOPIC,
        }
        return headers, orjson.dumps(envelope)

    def _notification(self) -> dict[str, str]:
        subject = "Amazon SES Email Event Notification"
        said = orjson.dumps(self.said).decode()
        return {**self._common("Notification"), "Subject": subject, "Message": said, "UnsubscribeURL": self.base_url}

    def _confirmation(self) -> dict[str, str]:
        query = urlencode({"Action": "ConfirmSubscription", "TopicArn": TOPIC, "Token": self.token})
        message = f"You have chosen to subscribe to the topic {TOPIC}."
        url = f"{self.base_url}/sns/?{query}"
        common = self._common("SubscriptionConfirmation")
        return {**common, "Message": message, "SubscribeURL": url, "Token": self.token}

    def _common(self, kind: str) -> dict[str, str]:
        return {
            "Type": kind,
            "MessageId": self.number,
            "TopicArn": TOPIC,
            "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "SignatureVersion": self.version,
            "SigningCertURL": self.base_url + CERTIFICATE,
        }


def _signature(fields: Mapping[str, str], key: rsa.RSAPrivateKey, version: str) -> str:
    signed = "".join(f"{name}\n{fields[name]}\n" for name in _FIELDS[fields["Type"]] if name in fields)
    algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303  # Amazon's choice
    return base64.b64encode(key.sign(signed.encode(), padding.PKCS1v15(), algorithm)).decode()
