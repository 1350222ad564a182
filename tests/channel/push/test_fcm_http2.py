"""FCM as it is really spoken to: over TLS and HTTP/2, to a server by the book."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from h2.errors import ErrorCodes
from pydantic import SecretStr

from orchestrator.channel.base import OutcomeClass as K
from orchestrator.channel.negotiated import Negotiated
from orchestrator.channel.options import read_certificates
from orchestrator.channel.push.fcm import FcmChannel, open_channel
from orchestrator.channel.push.fcm_auth import ServiceAccount
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import FarEnd
from tests.channel.far_end import answers as older_answers
from tests.channel.http2_end import Act, Http2End, answers, goes_away, resets
from tests.channel.push.test_fcm import ENVELOPE, FCM, NAME, SEND

OK = answers(200, {"name": NAME})
REFUSED = [{"@type": FCM, "errorCode": "UNAUTHENTICATED"}]
EXPIRED = answers(401, {"error": {"code": 401, "status": "UNAUTHENTICATED", "details": REFUSED}})


@asynccontextmanager
async def opened(
    tls: ssl.SSLContext, certificate: bytes, key: RSAPrivateKey, clock: ManualClock, *acts: Act
) -> AsyncIterator[tuple[FcmChannel, Http2End]]:
    tokens = [older_answers(200, {"access_token": f"t-{n}", "expires_in": 3600}) for n in (1, 2)]
    async with FarEnd().plays("/token", *tokens) as google, Http2End(tls).plays(*acts) as far:
        service = ServiceAccount("proj-1", "push@p.example", "key-1", key, f"{google.url}/token")
        transport = Negotiated(timedelta(seconds=1), root_pem=certificate)
        channel = FcmChannel(service, transport, clock, base_url=far.url)
        yield channel, far
        await channel.close()


def test_many_messages_are_accepted_over_one_connection(
    tls: ssl.SSLContext, certificate: bytes, key: RSAPrivateKey, clock: ManualClock
) -> None:
    async def main() -> None:
        async with opened(tls, certificate, key, clock, OK) as (channel, far):
            envelopes = [replace(ENVELOPE, message_id=str(n), address=f"device-{n}") for n in range(40)]
            found = await asyncio.gather(*(channel.send(each) for each in envelopes))
            assert {(each.kind, each.provider_id) for each in found} == {(K.ACCEPTED, NAME)}
            assert {asked.json["message"]["token"] for asked in far.requests} == {f"device-{n}" for n in range(40)}
            assert {(asked.head[":path"], asked.head["authorization"]) for asked in far.requests} == {
                (SEND, "Bearer t-1")
            }
            assert len(far.lines) == 1

    asyncio.run(main())


def test_a_token_that_is_refused_is_replaced_on_the_same_connection(
    tls: ssl.SSLContext, certificate: bytes, key: RSAPrivateKey, clock: ManualClock
) -> None:
    async def main() -> None:
        async with opened(tls, certificate, key, clock, EXPIRED, OK) as (channel, far):
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
            assert [asked.head["authorization"] for asked in far.requests] == ["Bearer t-1", "Bearer t-2"]
            assert len(far.lines) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "kind", "may_have_left"),
    [
        (resets(ErrorCodes.REFUSED_STREAM), K.RETRY, False),
        (goes_away(-2), K.RETRY, False),
        (goes_away(0), K.AMBIGUOUS, True),
        (resets(ErrorCodes.INTERNAL_ERROR), K.AMBIGUOUS, True),
    ],
)
def test_what_google_says_it_did_not_process_is_known_not_to_be_accepted(
    tls: ssl.SSLContext,
    certificate: bytes,
    key: RSAPrivateKey,
    clock: ManualClock,
    act: Act,
    kind: K,
    may_have_left: bool,
) -> None:
    async def main() -> None:
        async with opened(tls, certificate, key, clock, act) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.may_have_left) == (kind, may_have_left)
            assert (len(far.requests), len(far.lines)) == (1, 1)

    asyncio.run(main())


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe"])
def test_a_file_without_certificates_is_named(content: bytes | None, key_pem: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    account = {"type": "service_account", "project_id": "p", "client_email": "a@b.example", "private_key_id": "1"}
    text = SecretStr(json.dumps({**account, "private_key": key_pem, "token_uri": "http://127.0.0.1/t"}))
    with pytest.raises(ConfigError, match=r"accounts\.android\.options\.ca_file"):
        open_channel("android", {"service_account": text, "ca_file": path}, "")


def test_certificates_may_have_comments_in_any_language(certificate: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes("# \u6839\u8bc1\u4e66\n".encode() + certificate)
    read = read_certificates("android", "ca_file", path)
    assert read is not None
    assert read.endswith(certificate)
