"""Google's token endpoint: a signed assertion for a bearer token (RFC 7523).

Access tokens carry their own dates under a MAC, so that, like Google's, they outlive a restart of the server.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from enum import StrEnum
from typing import Any

import jwt

from orchestrator.sandbox.credentials import CLIENT_EMAIL, Credentials

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
)
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
LONGEST = 3600
SKEW = 300
"""Seconds a client's clock may be ahead of ours."""


class GrantError(Exception):
    """An assertion that gets no token: OAuth's ``error`` and ``error_description``."""

    def __init__(self, description: str, error: str = "invalid_grant") -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class Standing(StrEnum):
    """What a bearer token is worth."""

    GOOD = "good"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Issuer:
    """Gives tokens out and recognises them. ``lifetime`` in seconds."""

    def __init__(self, credentials: Credentials, lifetime: int = LONGEST) -> None:
        self._public_key = credentials.public_key
        self._key_id = credentials.private_key_id
        self._audiences = frozenset({GOOGLE_AUDIENCE, credentials.token_uri})
        self._secret = hashlib.sha256(credentials.private_key_pem.encode()).digest()
        self._revoked_until = 0.0
        self.lifetime = lifetime

    def grant(self, grant_type: str, assertion: str) -> dict[str, Any]:
        """A token for an assertion.

        Raises:
            GrantError: what Google would answer instead.
        """
        if grant_type != GRANT_TYPE:
            raise GrantError(f"Invalid grant_type: {grant_type[:80]}", "unsupported_grant_type")
        self._judge(self._claims(assertion))
        return {"access_token": self._mint(), "expires_in": self.lifetime, "token_type": "Bearer"}

    def another(self) -> str:
        """A bearer token, for whoever has been recognised in another way."""
        return self._mint()

    def standing(self, token: str) -> Standing:
        """Whether a bearer token is ours and still good."""
        head, _, mac = token.rpartition(".")
        if not head or not hmac.compare_digest(mac.encode(), self._mac(head).encode()):
            return Standing.UNKNOWN
        issued, expires = (float(part) for part in head.split(".")[1].split("-")[:2])
        good = issued / 1e6 > self._revoked_until and time.time() < expires / 1e6
        return Standing.GOOD if good else Standing.EXPIRED

    @property
    def revoked_until(self) -> float:
        """Tokens given out before this instant are expired; other providers' tokens heed it too."""
        return self._revoked_until

    def expire_all(self) -> None:
        """Every token given out so far is expired from now on."""
        self._revoked_until = time.time()

    def _claims(self, assertion: str) -> dict[str, Any]:
        try:
            if jwt.get_unverified_header(assertion).get("kid", self._key_id) != self._key_id:
                raise GrantError("Invalid JWT Signature.")
            unchecked = {f"verify_{claim}": False for claim in ("exp", "iat", "nbf", "aud")}
            options: Any = {**unchecked, "require": ["iss", "aud", "iat", "exp"]}
            claims: dict[str, Any] = jwt.decode(assertion, self._public_key, algorithms=["RS256"], options=options)
        except jwt.MissingRequiredClaimError as error:
            raise GrantError(f"Invalid JWT: the claim {error.claim} is missing.") from None
        except jwt.PyJWTError:
            raise GrantError("Invalid JWT Signature.") from None
        return claims

    def _judge(self, claims: dict[str, Any]) -> None:
        if claims["iss"] != CLIENT_EMAIL:
            raise GrantError("Invalid grant: account not found")
        if claims["aud"] not in self._audiences:
            raise GrantError("Invalid JWT: Failed audience check.")
        if not SCOPES.intersection(str(claims.get("scope", "")).split()):
            raise GrantError("Invalid OAuth scope or ID token audience provided.")
        if not _timely(claims["iat"], claims["exp"]):
            raise GrantError(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )

    def _mint(self) -> str:
        now = time.time()
        expires = int((now + self.lifetime) * 1e6)
        head = f"ya29.{int(now * 1e6)}-{expires}-{secrets.token_urlsafe(12)}"
        return f"{head}.{self._mac(head)}"

    def _mac(self, head: str) -> str:
        return hmac.new(self._secret, head.encode(), hashlib.sha256).hexdigest()


def _timely(issued: object, expires: object) -> bool:
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        return False
    now = time.time()
    return issued <= now + SKEW and now < expires and 0 < expires - issued <= LONGEST
