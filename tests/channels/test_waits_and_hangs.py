"""Waits that providers name, and answers that never end."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from orchestrator.channel.base import Channel, Envelope, Outcome, OutcomeClass
from tests.channels.conftest import PATIENCE, PROVIDERS, Bench, timed

K = OutcomeClass
HTTP = tuple(provider for provider in PROVIDERS if provider != "smtp")
"""Mail servers name no wait."""
DAY = timedelta(hours=24)
SLACK = 4.0
"""Seconds that a channel may add to its timeout: to connect, to wait for a connection, and this machine's own."""


@pytest.mark.parametrize(
    ("named", "least", "most"),
    [
        ("1", 1, 3600),
        ("60", 60, 3600),
        ("date+90", 88, 3600),
        (str(365 * 86_400), 86_400, 86_400),
        ("garbage", 0, 3600),
        ("-5", 0, 3600),
        ("", 0, 3600),
    ],
)
@pytest.mark.parametrize("provider", HTTP)
def test_a_named_wait_is_kept_and_a_year_is_a_day(
    bench: Bench, provider: str, named: str, least: float, most: float
) -> None:
    with bench.suffering(provider, "status", status=429, retry_after=named):
        [outcome] = bench.send(bench.envelope(provider), provider=provider)
    wait = outcome.retry_after or timedelta()
    assert outcome.kind in {K.RETRY, K.RETRY_AFTER}
    usual = DAY if provider == "getui" and not least else timedelta(seconds=most)  # its 429 is for the day
    assert timedelta(seconds=least) <= wait <= usual <= DAY
    assert outcome.kind is K.RETRY_AFTER or not least  # a wait that makes sense is a wait


@pytest.mark.parametrize("kind", ["silence", "drip", "slow"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_who_hangs_is_left_in_time(bench: Bench, provider: str, kind: str) -> None:
    envelope = bench.envelope(provider)
    with bench.suffering(provider, kind, seconds=30):
        [outcome], took = timed(lambda: bench.send(envelope, provider=provider))
    assert outcome.kind is K.AMBIGUOUS
    assert took < PATIENCE + SLACK


@pytest.mark.parametrize("provider", ["fcm", "twilio", "webhook", "ses"])
def test_one_that_hangs_does_not_hold_up_the_others(bench: Bench, provider: str) -> None:
    """Ten messages hang; ten beside them, through the same channel, do not wait for them."""
    hung = [bench.envelope(provider) for _ in range(10)]
    free = [bench.envelope(provider) for _ in range(10)]

    async def both(channel: Channel) -> tuple[list[Outcome], list[Outcome], float]:
        waiting = [asyncio.create_task(channel.send(each)) for each in hung]
        await asyncio.sleep(0.2)
        start = time.monotonic()
        done = await asyncio.gather(*(channel.send(each) for each in free))
        took = time.monotonic() - start
        return await asyncio.gather(*waiting), list(done), took

    for each in hung:
        bench.customer.fault(provider, "silence", match=each.address)
    try:
        stuck, done, took = bench.run(provider, both, patience=3)
    finally:
        bench.customer.ask("DELETE", "/sandbox/faults")
    assert {outcome.kind for outcome in stuck} == {K.AMBIGUOUS}
    assert {outcome.kind for outcome in done} == {K.ACCEPTED}
    assert took < 2


@pytest.mark.parametrize("provider", ["smtp", "apns", "fcm"])
def test_a_port_that_refuses_has_taken_nothing(bench: Bench, provider: str) -> None:
    port = provider if provider in {"smtp", "apns"} else "http"
    envelope = bench.envelope(provider)
    bench.customer.fault(port, "refuse", seconds=2)
    [outcome] = bench.send(envelope, provider=provider, patience=1)
    assert outcome.kind in {K.RETRY, K.AMBIGUOUS}
    time.sleep(2)
    assert bench.accepted(envelope) == []
    assert bench.send(envelope, provider=provider, patience=5)[0].kind is K.ACCEPTED


def test_a_certificate_of_another_name_is_not_believed(bench: Bench) -> None:
    envelope = bench.envelope("apns")
    with bench.suffering("apns", "wrong_name") as hits:
        [outcome] = bench.send(envelope, provider="apns", patience=2)
        assert hits() >= 1
    assert (outcome.kind, outcome.may_have_left) == (K.RETRY, False), outcome
    assert bench.accepted(envelope) == []


def test_an_expired_wait_would_be_seen(bench: Bench) -> None:
    """The broken variant: a channel that shortens waits fails the test above."""

    class Hasty:
        def __init__(self, channel: Channel) -> None:
            self.channel = channel

        async def send(self, envelope: Envelope) -> Outcome:
            outcome = await self.channel.send(envelope)
            return Outcome(outcome.kind, outcome.code, retry_after=(outcome.retry_after or timedelta()) / 2)

    with bench.suffering("fcm", "status", status=429, retry_after="60"):
        outcome = bench.run("fcm", lambda channel: Hasty(channel).send(bench.envelope("fcm")))
    assert (outcome.retry_after or timedelta()) < timedelta(seconds=60)
