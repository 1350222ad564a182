"""What Twilio posts to us: its signature, status callbacks, and what people write back.

There is no timestamp in a signature: whoever takes a callback in must make (MessageSid, MessageStatus) unique.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from twilio.request_validator import (
    HMAC_SHA1,
    HMAC_SHA256,
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)

from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Reply, Report, ReportState, carried_id
from orchestrator.channel.sms.twilio_errors import kind_of

STATES: dict[str, ReportState] = {
    "accepted": ReportState.SENT,  # by the messaging service
    "scheduled": ReportState.SENT,
    "queued": ReportState.SENT,
    "sending": ReportState.SENT,
    "sent": ReportState.SENT,  # the carrier took it: not the phone
    "partially_delivered": ReportState.SENT,  # not final
    "delivered": ReportState.DELIVERED,
    "read": ReportState.DELIVERED,
    "undelivered": ReportState.UNDELIVERED,
    "failed": ReportState.UNDELIVERED,
    "canceled": ReportState.UNDELIVERED,
}
TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
_ORIGIN = re.compile(r"(https?)://([^/?#:@]+|\[[0-9a-fA-F:.]+\])(:[0-9]+)?(?=[/?]|$)")


class Signature:
    """Checks ``X-Twilio-Signature`` in constant time, on the URL with and without its port: Twilio does either."""

    def __init__(self, auth_token: str, shared_key: str | None) -> None:
        keys = {HMAC_SHA1: auth_token} | ({HMAC_SHA256: shared_key} if shared_key else {})
        self._validators = {name: RequestValidator(key) for name, key in keys.items()}

    def genuine(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        """Whether Twilio signed this form for this URL; an algorithm we have no key for is refused."""
        given = {name.lower(): value for name, value in headers.items()}
        algorithm = get_signature_algorithm(given.get(SIGNATURE_SETTINGS_HEADER.lower(), "")).upper()
        validator = self._validators.get(algorithm)
        signature = given.get(SIGNATURE_HEADER.lower(), "").encode()
        if validator is None or not signature:
            return False
        matches = [
            hmac.compare_digest(validator.compute_signature(each, dict(form), algorithm).encode(), signature)
            for each in _variants(url)
        ]
        return any(matches)


def _variants(url: str) -> set[str]:
    """The URL as it is, without its port, or with the port of its scheme; not a byte else is touched."""
    parts = _ORIGIN.match(url)
    if parts is None:
        return {url}
    scheme, host, port = parts.groups()
    default = "443" if scheme == "https" else "80"
    other = f"{scheme}://{host}" if port else f"{scheme}://{host}:{default}"
    return {url, other + url[parts.end() :]}


def hear(signature: Signature, request: CallbackRequest) -> Heard | Refused:
    """Whether Twilio said this, and what; a reply gets an empty TwiML document, which sends nothing back."""
    form = request.form()
    if form is None:
        return Refused.MALFORMED
    if not signature.genuine(request.url, form, request.headers):
        return Refused.FORGED
    said = read(form, request.query.get("m", ""))
    heard = () if said is None else (said,)
    return Heard(heard, TWIML, "text/xml") if request.hook == "inbound" else Heard(heard)


def read(form: Mapping[str, str], message_id: str = "") -> Report | Reply | None:
    """What a genuine callback says; None when it says nothing we use."""
    sid = form.get("MessageSid") or form.get("SmsSid") or form.get("SmsMessageSid") or ""
    if not sid:
        return None
    status = form.get("MessageStatus") or form.get("SmsStatus") or ""
    if state := STATES.get(status):
        code = form.get("ErrorCode", "")
        return Report(sid, status, state, code, kind_of(code), message_id=carried_id(message_id))
    if "Body" in form and form.get("From"):
        return Reply(sid, form["From"], form["Body"])
    return None
