"""Signs requests as Amazon Web Services want them: Signature Version 4.

Source: AWS, "Create a signed AWS API request". By hand because the SDK that does it also sends, and sends again. A test
compares each signature with the one of Amazon's own package.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs. ``session_token``: of temporary credentials alone."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one service in one region."""

    credentials: Credentials
    region: str
    service: str

    def headers(self, method: str, url: str, body: bytes, content_type: str, at: datetime) -> dict[str, str]:
        """The headers to send with a request to ``url`` (no query), signed at ``at`` (UTC, good for five minutes).

        ``Host`` is signed and not among them: the HTTP client writes it from the URL.
        """
        moment = at.strftime("%Y%m%dT%H%M%SZ")
        given = {"x-amz-date": moment}
        if content_type:
            given["content-type"] = content_type
        if self.credentials.session_token:
            given["x-amz-security-token"] = self.credentials.session_token
        signed = {"host": _host(url), **given}
        request = _canonical(method, url, signed, body)
        scope = f"{moment[:8]}/{self.region}/{self.service}/aws4_request"
        to_sign = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = hmac.new(self._key(moment[:8]), to_sign.encode(), hashlib.sha256).hexdigest()
        names = ";".join(sorted(signed))
        credential = f"{self.credentials.access_key_id}/{scope}"
        authorization = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return {**given, "authorization": authorization}

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.credentials.secret_access_key}".encode()
        for part in (day, self.region, self.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key


def _host(url: str) -> str:
    """As the HTTP client writes it: without the port that goes without saying."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme)
    return host if usual else f"{host}:{parts.port}"


def _canonical(method: str, url: str, signed: Mapping[str, str], body: bytes) -> str:
    path = quote(urlsplit(url).path or "/", safe="/-_.~")
    lines = [f"{name}:{' '.join(signed[name].split())}" for name in sorted(signed)]
    return "\n".join([method, path, "", *lines, "", ";".join(sorted(signed)), hashlib.sha256(body).hexdigest()])
