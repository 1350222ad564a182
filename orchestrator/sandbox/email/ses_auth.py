"""Amazon's signature (Version 4) on the requests that the sandbox takes, checked as Amazon checks it.

Source: AWS, "Create a signed AWS API request" and "Troubleshoot signed requests".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from starlette.requests import Request

ACCESS_KEY_ID = "AKIASANDBOXSANDBOX00"
REGION = "us-east-1"
SERVICE = "ses"
SECRET = "ses-secret-access-key"  # noqa: S105  # the name of a file
SKEW_SECONDS = 300
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


class SesRefusal(NamedTuple):
    """An exception of Amazon's: its name, words and HTTP status."""

    name: str
    message: str
    status: int = 400


def refused_signature(request: Request, body: bytes, secret: str) -> SesRefusal | None:
    """What is wrong with the signature of a request, in Amazon's words."""
    header = request.headers.get("authorization", "")
    if not header:
        return SesRefusal("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    found = _AUTHORIZATION.fullmatch(header)
    if found is None:
        return SesRefusal("IncompleteSignature", "Authorization header is malformed", 400)
    key_id, day, region, service, names, signature = found.groups()
    if key_id != ACCESS_KEY_ID:
        message = "The security token included in the request is invalid."
        return SesRefusal("UnrecognizedClientException", message, 403)
    if (region, service) != (REGION, SERVICE):
        message = f"Credential should be scoped to a valid region. Credential should be scoped to service: {SERVICE!r}."
        return SesRefusal("InvalidSignatureException", message, 403)
    return _refused_time(request, day) or _refused_digest(request, body, secret, names.split(";"), signature)


def _refused_time(request: Request, day: str) -> SesRefusal | None:
    text = request.headers.get("x-amz-date", "")
    try:
        signed = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return SesRefusal("IncompleteSignature", "Date in X-Amz-Date is not valid", 400)
    if abs(time.time() - signed.timestamp()) > SKEW_SECONDS or not text.startswith(day):
        return SesRefusal("InvalidSignatureException", f"Signature expired: {text} is not now", 403)
    return None


def _refused_digest(request: Request, body: bytes, secret: str, names: list[str], signature: str) -> SesRefusal | None:
    needed = {"host", "x-amz-date"} | {name for name in request.headers if name.startswith("x-amz-")}
    if not needed <= set(names) or names != sorted(names):
        return SesRefusal("InvalidSignatureException", "'Host' and every 'X-Amz-' header must be signed, in order", 403)
    expected = _signature(request, body, secret, names)
    if not hmac.compare_digest(expected, signature):
        message = "The request signature we calculated does not match the signature you provided."
        return SesRefusal("InvalidSignatureException", message, 403)
    return None


def _signature(request: Request, body: bytes, secret: str, names: list[str]) -> str:
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    path = quote(request.url.path, safe="/-_.~")
    digest = hashlib.sha256(body).hexdigest()
    canonical = f"{request.method}\n{path}\n{request.url.query}\n{headers}\n{';'.join(names)}\n{digest}"
    moment = request.headers["x-amz-date"]
    scope = f"{moment[:8]}/{REGION}/{SERVICE}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}".encode(), "sha256").hex()
