"""APNs: tokens of an unknown environment are looked for in both, and what is known is not doubted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from h2.errors import ErrorCodes

from orchestrator.channel.push.apns import ApnsChannel
from tests.channel.http2_end import (
    Act,
    Http2End,
    hangs_up,
    refuses,
    resets,
    silence,
)
from tests.channel.push.apns_end import BAD, ENVELOPE, OK, SIGNER, TOPIC, K, Place

# Environments.


@asynccontextmanager
async def two(place: Place, production: Act, sandbox: Act) -> AsyncIterator[tuple[ApnsChannel, Http2End, Http2End]]:
    async with Http2End(place.tls).plays(production) as far, Http2End(place.tls).plays(sandbox) as other:
        channel = ApnsChannel(SIGNER, TOPIC, place.servers(far, other, patience=2.0, connections=1), place.clock)
        yield channel, far, other
        await channel.close()


NOBODY_KNOWS = replace(ENVELOPE, details={})


def test_an_unknown_environment_is_looked_for_once_and_remembered(place: Place) -> None:
    async def main() -> None:
        async with two(place, BAD, OK) as (channel, far, other):
            assert [(await channel.send(NOBODY_KNOWS)).kind for _ in range(3)] == [K.ACCEPTED] * 3
            assert (len(far.requests), len(other.requests)) == (1, 3)

    asyncio.run(main())


def test_what_was_remembered_is_forgotten_when_it_is_no_longer_so(place: Place) -> None:
    async def main() -> None:
        async with two(place, BAD, OK) as (channel, far, other):
            await channel.send(NOBODY_KNOWS)
            far.plays(OK)
            other.plays(BAD)
            assert [(await channel.send(NOBODY_KNOWS)).kind for _ in range(2)] == [K.ACCEPTED] * 2
            assert (len(far.requests), len(other.requests)) == (3, 2)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sandbox", "kind", "code"),
    [
        (BAD, K.DROP_ADDRESS, "BadDeviceToken"),
        (refuses(403, "BadEnvironmentKeyInToken"), K.DROP_ADDRESS, "BadDeviceToken"),  # and the account goes on
        (refuses(400, "TopicDisallowed"), K.DROP_ADDRESS, "BadDeviceToken"),
        (refuses(410, "Unregistered", timestamp=1790000000123), K.DROP_ADDRESS, "Unregistered"),
        (silence, K.AMBIGUOUS, "timeout"),
        (refuses(503, "ServiceUnavailable"), K.RETRY, "ServiceUnavailable"),
    ],
)
def test_what_the_other_environment_says(place: Place, sandbox: Act, kind: K, code: str) -> None:
    async def main() -> None:
        async with two(place, BAD, sandbox) as (channel, far, other):
            outcome = await channel.send(NOBODY_KNOWS)
            assert (outcome.kind, outcome.code) == (kind, code)
            assert (len(far.requests), len(other.requests)) == (1, 1)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("environment", "requests"), [("production", (1, 0)), ("sandbox", (0, 1)), ("", (1, 1)), ("nonsense", (1, 1))]
)
def test_a_known_environment_is_not_doubted(place: Place, environment: str, requests: tuple[int, int]) -> None:
    async def main() -> None:
        async with two(place, BAD, BAD) as (channel, far, other):
            outcome = await channel.send(replace(ENVELOPE, details={"environment": environment}))
            assert outcome.kind is K.DROP_ADDRESS
            assert (len(far.requests), len(other.requests)) == requests

    asyncio.run(main())


@pytest.mark.parametrize("act", [silence, resets(ErrorCodes.REFUSED_STREAM), refuses(410, "Unregistered"), hangs_up])
def test_the_other_environment_is_asked_after_bad_device_token_alone(place: Place, act: Act) -> None:
    async def main() -> None:
        async with two(place, act, OK) as (channel, _, other):
            await channel.send(NOBODY_KNOWS)
            assert other.requests == []

    asyncio.run(main())
