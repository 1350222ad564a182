"""Access tokens: one for all, early, by one task; refusals stop the account (R17)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.cached_token import CachedToken
from orchestrator.channel.push.fcm_auth import GRANT, SCOPE, Exchange, ServiceAccount
from orchestrator.channel.transport import Answer
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers, html, reset, silence

MINUTE = timedelta(minutes=1)


def token(value: str = "t-1", seconds: object = 3600) -> Act:
    return answers(200, {"access_token": value, "expires_in": seconds, "token_type": "Bearer"})


@asynccontextmanager
async def opened(key: RSAPrivateKey, clock: ManualClock, *acts: Act) -> AsyncIterator[tuple[CachedToken, FarEnd]]:
    async with FarEnd().plays("/token", *acts) as far:
        transport = Wire(timedelta(seconds=0.5))
        service = ServiceAccount("p", "push@p.example", "key-1", key, f"{far.url}/token")
        tokens = CachedToken(Exchange(service, transport, clock), clock)
        yield tokens, far
        await tokens.close()
        await transport.close()


def test_the_exchange_is_googles(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, token()) as (tokens, far):
            assert await tokens.token() == "t-1"
            form = far.requests[0].form
            assert form["grant_type"] == GRANT
            claims = jwt.decode(
                form["assertion"],
                key.public_key(),
                ["RS256"],
                audience=f"{far.url}/token",
                options={"verify_exp": False, "verify_iat": False},
            )
            now = int(clock.machine().timestamp())
            assert (claims["iss"], claims["scope"]) == ("push@p.example", SCOPE)
            assert (claims["iat"], claims["exp"]) == (now, now + 3600)
            assert jwt.get_unverified_header(form["assertion"])["kid"] == "key-1"

    asyncio.run(main())


def test_one_exchange_for_fifty_who_start_together_and_none_for_the_rest(
    key: RSAPrivateKey, clock: ManualClock
) -> None:
    async def main() -> None:
        async with opened(key, clock, token()) as (tokens, far):
            assert await asyncio.gather(*(tokens.token() for _ in range(50))) == ["t-1"] * 50
            clock.advance(54 * MINUTE)
            assert await tokens.token() == "t-1"
            assert len(far.requests) == 1

    asyncio.run(main())


def test_five_minutes_early_in_the_background(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, token("t-1"), token("t-2")) as (tokens, far):
            await tokens.token()
            clock.advance(55 * MINUTE)
            assert await asyncio.gather(*(tokens.token() for _ in range(20))) == ["t-1"] * 20
            await _until(lambda: len(far.requests) == 2)
            await _until_token(tokens, "t-2")
            assert len(far.requests) == 2

    asyncio.run(main())


def test_trouble_while_a_token_still_works_costs_nothing(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, token(), answers(400, {"error": "invalid_grant"}), token("t-2")) as (
            tokens,
            far,
        ):
            await tokens.token()
            clock.advance(56 * MINUTE)
            assert await tokens.token() == "t-1"
            await _until(lambda: len(far.requests) == 2)
            await asyncio.sleep(0.05)
            assert await tokens.token() == "t-1"  # and asks nobody for five seconds
            assert len(far.requests) == 2
            clock.advance(timedelta(seconds=6))
            assert await tokens.token() == "t-1"
            await _until_token(tokens, "t-2")

    asyncio.run(main())


def test_an_ended_token_is_never_used(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, token("t-1", 60), token("t-2")) as (tokens, _):
            await tokens.token()
            clock.advance(MINUTE)
            assert await tokens.token() == "t-2"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "kind", "code", "requests"),
    [
        (answers(400, {"error": "invalid_grant"}), OutcomeClass.STOP_CHANNEL, "token:invalid_grant", 1),
        (answers(401, {"error": "invalid_client"}), OutcomeClass.STOP_CHANNEL, "token:invalid_client", 1),
        (html(404), OutcomeClass.STOP_CHANNEL, "token:404", 1),
        (answers(302, location="https://evil.example"), OutcomeClass.STOP_CHANNEL, "token:302", 1),
        (answers(429, retry_after="9"), OutcomeClass.RETRY_AFTER, "token:429", 1),
        (answers(503), OutcomeClass.RETRY, "token:503", 3),
        (html(502), OutcomeClass.RETRY, "token:502", 3),
        (reset, OutcomeClass.RETRY, "token:broken", 3),
        (silence, OutcomeClass.RETRY, "token:timeout", 3),
        (answers(200, {"no": "token"}), OutcomeClass.RETRY, "token:200", 3),
        (answers(200, {"access_token": "a\r\nx: y", "expires_in": 60}), OutcomeClass.RETRY, "token:200", 3),
        (token("t", "soon"), OutcomeClass.RETRY, "token:200", 3),
    ],
)
def test_failures(
    key: RSAPrivateKey, clock: ManualClock, act: Act, kind: OutcomeClass, code: str, requests: int
) -> None:
    """Whatever becomes of the exchange, the message was not sent."""

    async def main() -> None:
        async with opened(key, clock, act) as (tokens, far):
            both = await asyncio.gather(tokens.token(), tokens.token())
            for outcome in both:
                assert isinstance(outcome, Outcome)
                assert (outcome.kind, outcome.code, outcome.may_have_left) == (kind, code, False)
            assert await tokens.token() == both[0]  # remembered for a while
            assert len(far.requests) == requests

    asyncio.run(main())


def test_a_named_wait_is_kept_whole(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, answers(429, retry_after="90"), token()) as (tokens, far):
            outcome = await tokens.token()
            assert isinstance(outcome, Outcome)
            assert (outcome.retry_after, outcome.scope) == (timedelta(seconds=90), Scope.ACCOUNT)
            clock.advance(timedelta(seconds=89))
            assert await tokens.token() == outcome
            clock.advance(timedelta(seconds=1))
            assert await tokens.token() == "t-1"
            assert len(far.requests) == 2

    asyncio.run(main())


def test_a_refused_token_is_exchanged_once_for_all(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, token("t-1"), token("t-2"), token("t-3")) as (tokens, far):
            await tokens.token()
            assert await asyncio.gather(*(tokens.instead_of("t-1") for _ in range(20))) == ["t-2"] * 20
            assert len(far.requests) == 2
            assert await tokens.instead_of("t-2") is None  # not the token's fault
            assert await tokens.instead_of("t-1") == "t-2"
            clock.advance(20 * MINUTE)
            assert await tokens.instead_of("t-2") == "t-3"

    asyncio.run(main())


def test_a_token_that_worked_may_be_revoked_again_and_again(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, token("t-1"), token("t-2"), token("t-3")) as (tokens, far):
            await tokens.token()
            assert await tokens.instead_of("t-1") == "t-2"
            await tokens.use(answered, lambda _: False)
            clock.advance(timedelta(seconds=4))
            outcome = await tokens.instead_of("t-2")
            assert isinstance(outcome, Outcome)
            assert (outcome.kind, outcome.retry_after) == (OutcomeClass.RETRY, timedelta(seconds=6))
            assert not outcome.may_have_left
            clock.advance(timedelta(seconds=6))
            assert await tokens.instead_of("t-2") == "t-3"
            assert len(far.requests) == 3

    asyncio.run(main())


def test_a_sender_that_gives_up_does_not_end_the_exchange(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, token()) as (tokens, far):
            first = asyncio.create_task(tokens.token())
            second = asyncio.create_task(tokens.token())
            await asyncio.sleep(0)
            first.cancel()
            assert await second == "t-1"
            assert len(far.requests) == 1

    asyncio.run(main())


async def _until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not fact():  # noqa: ASYNC110  # what is waited for happens in a server and a thread of its own
            await asyncio.sleep(0.01)


async def answered(_token: str) -> Answer:
    return Answer(200, {}, b"")


async def _until_token(tokens: CachedToken, value: str) -> None:
    async with asyncio.timeout(2):
        while await tokens.token() != value:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
