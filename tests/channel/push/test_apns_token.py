"""Provider tokens: the same in every process, one per half hour, never two on a connection within 20 minutes (R17)."""

from __future__ import annotations

import json
import random
from base64 import urlsafe_b64decode
from datetime import timedelta
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, derive_private_key, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typing_extensions import override

from orchestrator.channel.http2 import Connection
from orchestrator.channel.push.apns_token import ProviderTokens, Signer, load_signer, sign
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError

MINUTE = timedelta(minutes=1)
SIGNER = Signer("TEAM567890", "KEY4567890", generate_private_key(SECP256R1()))


class Line:
    """A connection, as far as tokens are concerned."""


def new_line() -> Connection:
    return cast("Connection", Line())


def read(token: str) -> tuple[Any, Any]:
    head, claims, _ = token.split(".")
    return tuple(json.loads(urlsafe_b64decode(part + "==")) for part in (head, claims))


def test_the_signature_is_rfc_6979s() -> None:
    """RFC 6979 A.2.5, P-256 with SHA-256, message "sample"."""
    key = derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, SECP256R1())
    assert sign(key, b"sample").hex().upper() == (
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    )


def test_exactly_apples_header_and_claims(clock: ManualClock) -> None:
    token = SIGNER.token(1790000000)
    assert read(token) == ({"alg": "ES256", "kid": "KEY4567890"}, {"iss": "TEAM567890", "iat": 1790000000})
    jwt.decode(token, SIGNER.key.public_key(), algorithms=["ES256"], options={"verify_iat": False})


def test_fifty_that_start_together_have_one_token(clock: ManualClock) -> None:
    everybody = [ProviderTokens(SIGNER, clock) for _ in range(50)]
    clock.advance(17 * MINUTE)
    assert len({tokens.of(new_line()) for tokens in everybody}) == 1


class Restless(ProviderTokens):
    """Dates its tokens with the second, as SDKs do."""

    @override
    def _token(self, slot: int) -> str:
        self.minted += 1
        return self._signer.token(int(self._clock.machine().timestamp()))


class Hasty(ProviderTokens):
    """Changes a connection's token as soon as the slot changes."""

    @override
    def of(self, connection: Any) -> str:
        return self._token(self._slot())


def a_day(tokens: ProviderTokens, clock: ManualClock) -> None:
    """What APNs asks, at every connection, over a day of connections that come and go.

    Raises:
        AssertionError: an old token, or another one too soon.
    """
    chance, lines = random.Random(3), dict[Connection, tuple[str, float]]()
    for _ in range(24 * 60 * 2):
        clock.advance(MINUTE / 2)
        if chance.random() < 0.05:
            lines[new_line()] = ("", 0.0)
        if len(lines) > 5:
            del lines[next(iter(lines))]
        for line, (shown, since) in lines.items():
            token = tokens.of(line)
            age = clock.machine().timestamp() - read(token)[1]["iat"]
            assert 0 <= age < 3600
            if token != shown:
                assert not shown or clock.monotonic() - since >= 1200
                lines[line] = (token, clock.monotonic())
    assert tokens.minted <= 24 * 2 + 1


def test_a_day(clock: ManualClock) -> None:
    a_day(ProviderTokens(SIGNER, clock), clock)


@pytest.mark.parametrize("careless", [Restless, Hasty])
def test_careless_ones_are_caught(clock: ManualClock, careless: type[ProviderTokens]) -> None:
    with pytest.raises(AssertionError):
        a_day(careless(SIGNER, clock), clock)


def test_an_expired_token_leads_to_the_next_slots_and_no_further(clock: ManualClock) -> None:
    tokens = ProviderTokens(SIGNER, clock)
    first, second, third = new_line(), new_line(), new_line()
    issued = [read(tokens.of(first))[1]["iat"]]
    tokens.expired_on(first)
    issued.append(read(tokens.of(second))[1]["iat"])
    tokens.expired_on(second)
    tokens.expired_on(first)  # a straggler
    issued.append(read(tokens.of(third))[1]["iat"])
    assert [each - issued[0] for each in issued] == [0, 1800, 1800]
    assert tokens.minted == 2
    clock.advance(30 * MINUTE)  # the slot has come: no new token for it
    tokens.of(third)
    assert tokens.minted == 2


def test_who_gives_up_is_back_to_its_own_clock(clock: ManualClock) -> None:
    tokens = ProviderTokens(SIGNER, clock)
    line = new_line()
    before = tokens.of(line)
    tokens.expired_on(line)
    tokens.give_up()
    assert tokens.of(new_line()) == before


def test_a_clock_that_was_set_back_is_followed(clock: ManualClock) -> None:
    class Set(ManualClock):
        @override
        def monotonic(self) -> float:
            return self.beat

        beat = 0.0

    wrong = Set(clock.machine() + timedelta(hours=2))
    tokens, line = ProviderTokens(SIGNER, wrong), new_line()
    ahead = read(tokens.of(line))[1]["iat"]
    wrong.instant, wrong.beat = clock.machine(), 1300.0
    assert read(tokens.of(line))[1]["iat"] == ahead - 7200


def pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_the_key_file(key: RSAPrivateKey) -> None:
    loaded = load_signer("ios", "TEAM567890", "KEY4567890", pem(SIGNER.key))
    assert loaded.token(1) == SIGNER.token(1)
    for wrong in (b"", b"no key", pem(key), pem(generate_private_key(SECP384R1()))):
        with pytest.raises(ConfigError, match=r"accounts\.ios\.options\.key_file") as caught:
            load_signer("ios", "TEAM567890", "KEY4567890", wrong)
        assert "PRIVATE KEY-----" not in str(caught.value)
