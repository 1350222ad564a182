"""APNs: connections that rest or are replaced, and the provider token they present."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.channel.base import (
    Health,
    Scope,
)
from orchestrator.channel.push.apns import ApnsChannel
from tests.channel.http2_end import (
    Asked,
    Http2End,
    answers,
    refuses,
)
from tests.channel.push.apns_end import ENVELOPE, OK, SIGNER, TOPIC, K, Place

# Connections and tokens.


@pytest.mark.parametrize("reason", ["IdleTimeout", "Shutdown"])
def test_a_connection_of_no_more_use_is_replaced(place: Place, reason: str) -> None:
    async def main() -> None:
        async with place.opened(refuses(503 if reason == "Shutdown" else 400, reason), OK) as (channel, far):
            assert (await channel.send(ENVELOPE)).kind is K.RETRY
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
            assert len(far.lines) == 2

    asyncio.run(main())


def test_too_many_token_updates_rest_the_connection_and_mint_nothing(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK, refuses(429, "TooManyProviderTokenUpdates")) as (channel, far):
            await channel.send(ENVELOPE)
            assert (await channel.send(ENVELOPE)).code == "TooManyProviderTokenUpdates"
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.code, outcome.scope) == (K.RETRY_AFTER, "resting", Scope.ACCOUNT)
            assert not outcome.may_have_left
            assert outcome.retry_after is not None
            assert timedelta(minutes=19) < outcome.retry_after <= timedelta(minutes=21)
            assert (len(far.requests), channel._tokens.minted) == (2, 1)

    asyncio.run(main())


def test_another_connection_goes_on_while_one_rests(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK, refuses(429, "TooManyProviderTokenUpdates"), OK, connections=2) as (channel, far):
            await channel.send(ENVELOPE)
            await channel.send(ENVELOPE)
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
            assert len(far.lines) == 2

    asyncio.run(main())


def test_expired_is_tried_once_with_the_next_slots_token_on_new_connections(place: Place) -> None:
    def clock_of_apns(asked: Asked) -> None:
        """Takes every token but the first one."""
        first = far_tokens.setdefault("first", asked.head["authorization"])
        (refuses(403, "ExpiredProviderToken") if asked.head["authorization"] == first else OK)(asked)

    far_tokens: dict[str, str] = {}

    async def main() -> None:
        async with place.opened(clock_of_apns, connections=3) as (channel, far):
            found = await asyncio.gather(*(channel.send(replace(ENVELOPE, message_id=str(n))) for n in range(30)))
            assert {each.kind for each in found} == {K.ACCEPTED}
            tokens = {asked.head["authorization"] for asked in far.requests}
            assert (len(tokens), channel._tokens.minted) == (2, 2)
            assert len(far.requests) <= 60
            for line in far.lines:  # no connection ever saw two
                assert len({asked.head["authorization"] for asked in far.requests if asked.line is line}) <= 1
            again = len(far.requests)
            await channel.send(ENVELOPE)
            assert len(far.requests) == again + 1  # what was learnt is remembered

    asyncio.run(main())


def test_no_request_of_an_attempt_begins_after_the_lease_under_which_it_was_begun(place: Place) -> None:
    """The second one neither: a process may stand still while it waits for the answer to the first."""
    late = time.monotonic()
    assert place.sent(OK, begin_by=late)[1] == 0

    async def main() -> None:
        async with place.opened(answers(403, {"reason": "ExpiredProviderToken"}, after=0.2), OK) as (channel, far):
            outcome = await channel.send(replace(ENVELOPE, begin_by=time.monotonic() + 0.15))
            assert (outcome.kind, outcome.code, outcome.may_have_left) == (K.RETRY, "pool_timeout", False)
            assert len(far.requests) == 1
            assert (await channel.send(replace(ENVELOPE, begin_by=time.monotonic() + 60))).kind is K.ACCEPTED

    asyncio.run(main())


def test_a_clock_two_hours_behind_stops_the_account_and_says_why(place: Place) -> None:
    outcome, requests = place.sent(refuses(403, "ExpiredProviderToken"))
    assert (outcome.kind, outcome.code, requests) == (K.STOP_CHANNEL, "ExpiredProviderToken", 2)

    async def main() -> None:
        async with place.opened(refuses(403, "ExpiredProviderToken")) as (channel, _):
            (finding,) = await channel.check()
            assert finding.health is Health.BROKEN
            assert "clock" in finding.hint

    asyncio.run(main())


def test_a_connection_of_another_key_is_left_for_a_new_one(place: Place) -> None:
    async def main() -> None:
        async with place.opened(refuses(403, "UnrelatedKeyIdInToken"), OK) as (channel, far):
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
            assert (len(far.requests), len(far.lines), channel._tokens.minted) == (2, 2, 1)

    asyncio.run(main())


def test_fifty_channels_that_start_together_present_one_token(place: Place) -> None:
    async def main() -> None:
        async with Http2End(place.tls).plays(OK) as far:
            servers = place.servers(far, patience=10, connections=1)
            channels = [ApnsChannel(SIGNER, TOPIC, servers, place.clock) for _ in range(50)]
            found = await asyncio.gather(*(channel.send(ENVELOPE) for channel in channels))
            assert {each.kind for each in found} == {K.ACCEPTED}
            assert len({asked.head["authorization"] for asked in far.requests}) == 1
            assert len(far.lines) == 50
            await asyncio.gather(*(channel.close() for channel in channels))

    asyncio.run(main())
