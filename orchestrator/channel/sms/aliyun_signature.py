"""Aliyun's RPC signature, version 1.0, and a request under it. Source: Aliyun, "RPC mechanism".

The parameters travel in the body: phone numbers do not belong in a URL, which is logged everywhere.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha1
from urllib.parse import quote
from uuid import uuid4

_VERSION = "2017-05-25"


def signed(parameters: Mapping[str, str], *, key_id: str, secret: str, now: datetime) -> dict[str, str]:
    """The parameters of one POST with what every call carries, under a nonce of its own."""
    given = {
        **parameters,
        "AccessKeyId": key_id,
        "Format": "JSON",
        "RegionId": "cn-hangzhou",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": str(uuid4()),
        "SignatureVersion": "1.0",
        "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Version": _VERSION,
    }
    return {**given, "Signature": signature("POST", given, secret)}


def signature(method: str, parameters: Mapping[str, str], secret: str) -> str:
    """Base64 of HMAC-SHA1 over the method and the sorted parameters."""
    pairs = sorted(parameters.items())
    canonical = "&".join(f"{percent_encoded(name)}={percent_encoded(value)}" for name, value in pairs)
    to_sign = f"{method}&%2F&{percent_encoded(canonical)}"
    return b64encode(hmac.new(f"{secret}&".encode(), to_sign.encode(), sha1).digest()).decode()


def percent_encoded(text: str) -> str:
    """By RFC 3986: all but letters, digits and ``-_.~``; a space is %20, never a plus."""
    return quote(text, safe="~")


def encoded(parameters: Mapping[str, str]) -> bytes:
    """The parameters as a form."""
    return "&".join(f"{percent_encoded(name)}={percent_encoded(value)}" for name, value in parameters.items()).encode()
