"""Access tokens for FCM: a JWT signed with the service account's key, exchanged for a bearer token.

Source: Google, "Using OAuth 2.0 for Server to Server Applications" (JWT bearer grant, RFC 7523).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from orchestrator.channel.base import Outcome
from orchestrator.channel.cached_token import Token, json_object, lasting, unminted
from orchestrator.channel.options import problem, read_file, safe_url
from orchestrator.channel.transport import Answer, Http, NoAnswer
from orchestrator.clock import Clock
from orchestrator.errors import ConfigError

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_LIFE = timedelta(hours=1)
_LONGEST_LIFE = 10**6


class _KeyFile(BaseModel):
    """The fields we use of Google's JSON key file; it has more, and may get others."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    project_id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.:\-]{0,62}$")]
    client_email: Annotated[str, Field(min_length=3)]
    private_key_id: str = ""
    private_key: SecretStr
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Who we are at Google."""

    project: str
    email: str
    key_id: str
    key: RSAPrivateKey
    token_url: str

    def assertion(self, now: datetime) -> str:
        """The signed claim that is exchanged for a token."""
        claims = {"iss": self.email, "scope": SCOPE, "aud": self.token_url}
        times = {"iat": int(now.timestamp()), "exp": int((now + _ASSERTION_LIFE).timestamp())}
        return jwt.encode(claims | times, self.key, algorithm="RS256", headers={"kid": self.key_id})


def load_service_account(account: str, field: str, path: Path) -> ServiceAccount:
    """Read Google's JSON key file.

    Raises:
        ConfigError: what is wrong with the file; never what stands in it.
    """
    return read_service_account(account, field, read_file(account, field, path), str(path))


def read_service_account(account: str, field: str, content: bytes, named: str) -> ServiceAccount:
    """Read what stands in Google's JSON key file. ``named``: where it was found.

    Raises:
        ConfigError: what is wrong with it; never what stands in it.
    """
    try:
        read = _KeyFile.model_validate_json(content)
        key = load_pem_private_key(read.private_key.get_secret_value().encode(), password=None)
    except ValidationError as error:
        wrong = ", ".join(
            sorted({".".join(map(str, one["loc"])) or "not JSON" for one in error.errors(include_input=False)})
        )
        raise ConfigError([problem(account, field, f"{named} is no service account's key file ({wrong})")]) from None
    except (ValueError, TypeError):
        raise ConfigError([problem(account, field, f"{named}: private_key is no private key in PEM")]) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError([problem(account, field, f"{named}: private_key is no RSA key")])
    token_url = safe_url(account, f"{field}: token_uri", read.token_uri)
    return ServiceAccount(read.project_id, read.client_email, read.private_key_id, key, token_url)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Google's token server, as far as one service account has to do with it. What it does is a ``Mint``."""

    service: ServiceAccount
    transport: Http
    clock: Clock

    async def __call__(self) -> Token | Outcome:
        """One exchange of a signed claim for a token."""
        asked_at = self.clock.machine()
        answer = await self._ask({"grant_type": GRANT, "assertion": self.service.assertion(asked_at)})
        if isinstance(answer, NoAnswer):
            return unminted(answer, asked_at)
        return _read(answer, asked_at) or unminted(answer, asked_at, _error(answer))

    async def knock(self) -> Answer | NoAnswer:
        """What the token server answers to an empty request: a refusal, with its date."""
        return await self._ask({})

    async def _ask(self, form: dict[str, str]) -> Answer | NoAnswer:
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        body = urlencode(form).encode()
        return await self.transport.request("POST", self.service.token_url, headers=headers, body=body)


def _read(answer: Answer, asked_at: datetime) -> Token | None:
    fields = json_object(answer)
    seconds = fields.get("expires_in", 3600)
    if answer.status != 200 or not isinstance(seconds, int) or seconds > _LONGEST_LIFE:  # noqa: PLR2004
        return None
    return lasting(fields.get("access_token"), timedelta(seconds=seconds), asked_at)


def _error(answer: Answer) -> str:
    """``invalid_grant`` (wrong clock, deleted key) and the like; empty where the answer names no error."""
    error = json_object(answer).get("error")
    return error if isinstance(error, str) and error.isidentifier() and len(error) < 64 else ""  # noqa: PLR2004
