"""APNs' provider token: the same one in every process, without a word between them.

APNs takes a token for an hour, and at most one new token in 20 minutes on a connection. So it is dated back to the last
half hour, and signed deterministically (RFC 6979): whoever has the key writes the same bytes.
Source: Apple, "Establishing a token-based connection to APNs".
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakKeyDictionary

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.channel.http2 import Connection
from orchestrator.channel.options import problem
from orchestrator.clock import Clock
from orchestrator.errors import ConfigError

SLOT = timedelta(minutes=30)
HOLD = timedelta(minutes=21)
"""A connection keeps its token for so long, a minute over what APNs asks: the token is 51 minutes old at most then."""
_SLOT = int(SLOT.total_seconds())
_HOLD = HOLD.total_seconds()
_SLOTS_KEPT = 4
_COORDINATE = 32  # bytes of r and of s (RFC 7518 §3.4)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who we are at Apple."""

    team_id: str
    key_id: str
    key: EllipticCurvePrivateKey

    def token(self, issued_at: int) -> str:
        """The JWT of that second: exactly the header and the claims that Apple names."""
        header = _base64(orjson.dumps({"alg": "ES256", "kid": self.key_id}))
        claims = _base64(orjson.dumps({"iss": self.team_id, "iat": issued_at}))
        return f"{header}.{claims}.{_base64(sign(self.key, f'{header}.{claims}'.encode()))}"


def sign(key: EllipticCurvePrivateKey, data: bytes) -> bytes:
    """ES256 as JWS wants it, r and s side by side; of equal bytes always the same signature."""
    r, s = decode_dss_signature(key.sign(data, ECDSA(SHA256(), deterministic_signing=True)))
    return r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE)


def load_signer(account: str, team_id: str, key_id: str, pem: bytes) -> Signer:
    """The key as Apple gives it (``AuthKey_….p8``).

    Raises:
        ConfigError: what is wrong with it; never what stands in it.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong(account, "holds no private key in PEM", "the file AuthKey_….p8 from Apple") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise _wrong(account, "holds no P-256 key", "make a key for APNs at developer.apple.com")
    try:
        sign(key, b"")
    except UnsupportedAlgorithm:
        raise _wrong(
            account, "cannot be used: this OpenSSL is older than 3.2", "install cryptography's wheel"
        ) from None
    return Signer(team_id, key_id, key)


def _wrong(account: str, message: str, hint: str) -> ConfigError:
    return ConfigError([problem(account, "key_file", message, hint)])


@dataclass(slots=True)
class _Held:
    """The token that a connection presents. ``since``: monotonic seconds."""

    slot: int
    since: float


class ProviderTokens:
    """The account's tokens by slot, and which of them each connection presents."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock
        self._tokens: dict[int, str] = {}
        self._held: WeakKeyDictionary[Connection, _Held] = WeakKeyDictionary()
        self._ahead = 0  # the slot to use although it has not come: APNs' clock is ahead of ours
        self.minted = 0

    def of(self, connection: Connection) -> str:
        """The token to present on this connection now; another one every 21 minutes at most."""
        held, now = self._held.get(connection), self._clock.monotonic()
        if held is None or (now - held.since >= _HOLD and self._slot() != held.slot):
            held = self._held[connection] = _Held(self._slot(), now)
        return self._token(held.slot)

    def expired_on(self, connection: Connection) -> None:
        """APNs says that this connection's token is too old: our clock is late. New connections get the next slot's."""
        held = self._held.get(connection)
        if held is not None and held.slot <= self._now():
            self._ahead = max(self._ahead, held.slot + 1)

    def give_up(self) -> None:
        """The next slot's token was refused, too: it was not the token's age alone."""
        self._ahead = 0

    def _now(self) -> int:
        return int(self._clock.machine().timestamp()) // _SLOT

    def _slot(self) -> int:
        now = self._now()
        return min(max(now, self._ahead), now + 1)

    def _token(self, slot: int) -> str:
        if slot not in self._tokens:
            while len(self._tokens) >= _SLOTS_KEPT:
                del self._tokens[min(self._tokens)]
            self._tokens[slot] = self._signer.token(slot * _SLOT)
            self.minted += 1
        return self._tokens[slot]


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
