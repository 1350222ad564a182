"""What Twilio posts: a form, signed over the URL and every field."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator


@dataclass(frozen=True, slots=True)
class TwilioPost:
    """One status callback or inbound message."""

    form: Mapping[str, str]
    auth_token: str
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    """The same whenever this is posted again."""

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        signer = RequestValidator(secrets.token_hex(16) if forged else self.auth_token)
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": signer.compute_signature(url, dict(self.form)),
            "I-Twilio-Idempotency-Token": self.token,
        }
        return headers, urlencode(self.form).encode()
