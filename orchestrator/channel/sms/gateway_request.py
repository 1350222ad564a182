"""A text as the request that a gateway's description makes of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import orjson

from orchestrator.channel.base import Envelope, SmsPayload
from orchestrator.channel.sms.gateway_patterns import filled
from orchestrator.channel.sms.gateway_spec import RequestSpec

_FORM = "application/x-www-form-urlencoded"
_WHOLE_NUMBER = "{ttl_s}"  # alone in a JSON text, it is a number


@dataclass(frozen=True, slots=True)
class Sender:
    """Who we are to the gateway; ``basic`` is what stands after ``Basic`` in an Authorization header."""

    name: str
    user: str
    secret: str

    @property
    def basic(self) -> str:
        """User and secret for Basic authentication."""
        return b64encode(f"{self.user}:{self.secret}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Built:
    """A request ready to leave; ``target`` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None


def build(spec: RequestSpec, envelope: Envelope, payload: SmsPayload, sender: Sender) -> Built:
    """The request for one text.

    Raises:
        UnicodeEncodeError: the text has a character that the gateway's charset has not.
    """
    values = {
        "to": _number(envelope.address, spec.number),
        "text": payload.body,
        "id": envelope.message_id,
        "sender": sender.name,
        "ttl_s": str(max(int(envelope.ttl.total_seconds()), 0)),
        "secret": sender.secret,
        "basic": sender.basic,
    }
    query = _pairs(spec.query, values, spec.charset)
    headers = {name.lower(): filled(value, values) for name, value in spec.headers.items()}
    media_type, body = _body(spec, values)
    if media_type and "content-type" not in headers:
        headers["content-type"] = spec.media_type or media_type
    target = f"{spec.path}{'&' if '?' in spec.path else '?'}{query}" if query else spec.path
    return Built(spec.method, target, headers, body)


def _body(spec: RequestSpec, values: Mapping[str, str]) -> tuple[str, bytes | None]:
    if spec.json_ is not None:
        return "application/json", orjson.dumps(_json(spec.json_, values))
    if spec.form is not None:
        return f"{_FORM}; charset={spec.charset}", _pairs(spec.form, values, spec.charset).encode()
    if spec.text is not None:
        return f"text/plain; charset={spec.charset}", filled(spec.text, values).encode(spec.charset)
    return "", None


def _json(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return int(values["ttl_s"]) if value == _WHOLE_NUMBER else filled(value, values)
    if isinstance(value, dict):
        return {name: _json(each, values) for name, each in value.items()}
    return [_json(each, values) for each in value] if isinstance(value, list) else value


def _pairs(pairs: Mapping[str, str], values: Mapping[str, str], charset: str) -> str:
    def coded(text: str) -> str:
        return quote_plus(text.encode(charset))

    return "&".join(f"{coded(name)}={coded(filled(value, values))}" for name, value in pairs.items())


def _number(address: str, form: str) -> str:
    """``+8613800138000`` as is, without plus, as 0086…, or, of a Chinese one, without country code."""
    digits = address.removeprefix("+")
    if form == "e164":
        return address
    if form == "double_zero":
        return f"00{digits}"
    return digits.removeprefix("86") if form == "china" else digits
