"""APNs: the request, one per attempt, and every row of its error table."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from h2.errors import ErrorCodes

from orchestrator.channel.base import (
    Envelope,
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    PushPayload,
    Scope,
    SmsPayload,
)
from orchestrator.channel.http2_connect import client_context
from orchestrator.channel.push.apns import ApnsChannel, Servers
from orchestrator.channel.push.apns_errors import TABLE
from orchestrator.channel.push.apns_token import Signer
from orchestrator.clock import ManualClock
from tests.channel.http2_end import (
    Act,
    Asked,
    Http2End,
    answers,
    cuts,
    garbage,
    goes_away,
    half,
    hangs_up,
    refuses,
    resets,
    silence,
)

K = OutcomeClass
OK = answers(200)
DEVICE = "5e1f" * 16
PAYLOAD = PushPayload(
    "Canarytitle",
    "Canarybody noodles",
    link="https://app.example/x",
    image="https://i.example/n.png",
    data={"coupon": "C1"},
)
ENVELOPE = Envelope(
    "4711",
    1,
    DEVICE,
    "apns",
    PAYLOAD,
    timedelta(minutes=90),
    "run-7-user-9",
    {"environment": "production"},
    ack="A" * 44,
)
SIGNER = Signer("TEAM567890", "KEY4567890", generate_private_key(SECP256R1()))
TOPIC = "com.example.app"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ca_file(certificate: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(certificate)
    return path


class Place:
    """Where a test happens."""

    def __init__(self, tls: ssl.SSLContext, ca_file: Path, clock: ManualClock) -> None:
        self.tls = tls
        self.context = client_context(ca_file)
        self.clock = clock

    def servers(self, far: Http2End, other: Http2End | None = None, *, patience: float, connections: int) -> Servers:
        sandbox = (other or far).url
        timeout = timedelta(seconds=patience)
        return Servers(far.url, sandbox, "production", self.context, connections, timeout)

    @asynccontextmanager
    async def opened(
        self, *acts: Act, patience: float = 2.0, connections: int = 1
    ) -> AsyncIterator[tuple[ApnsChannel, Http2End]]:
        async with Http2End(self.tls).plays(*acts) as far:
            servers = self.servers(far, patience=patience, connections=connections)
            channel = ApnsChannel(SIGNER, TOPIC, servers, self.clock)
            try:
                yield channel, far
            finally:
                await channel.close()

    def sent(self, *acts: Act, patience: float = 2.0, **changed: Any) -> tuple[Outcome, int]:
        """The outcome, and how many requests carried the message."""

        async def main() -> tuple[Outcome, int]:
            async with self.opened(*acts, patience=patience) as (channel, far):
                outcome = await channel.send(replace(ENVELOPE, **changed))
                return outcome, len(far.requests)

        return asyncio.run(main())


@pytest.fixture
def place(tls: ssl.SSLContext, ca_file: Path, clock: ManualClock) -> Place:
    return Place(tls, ca_file, clock)


def test_the_request(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            (asked,) = far.requests
            head = asked.head
            assert outcome == Outcome(K.ACCEPTED, "200", head["apns-id"])
            assert str(UUID(head["apns-id"])) == head["apns-id"]
            assert (head[":method"], head[":scheme"], head[":path"]) == ("POST", "https", f"/3/device/{DEVICE}")
            assert head[":authority"] == f"localhost:{far.port}"
            assert head["authorization"].startswith("bearer ey")
            assert head["apns-topic"] == TOPIC
            assert (head["apns-push-type"], head["apns-priority"]) == ("alert", "10")
            assert int(head["apns-expiration"]) == int(place.clock.machine().timestamp()) + 5400
            assert head["apns-collapse-id"] == "run-7-user-9"
            assert asked.json == {
                "aps": {"alert": {"title": "Canarytitle", "body": "Canarybody noodles"}, "mutable-content": 1},
                "coupon": "C1",
                "link": "https://app.example/x",
                "image": "https://i.example/n.png",
                "ack": "A" * 44,
                "msg_id": "4711",
            }
            assert not far.indexed & {b":path", b"authorization", b"apns-id", b"apns-collapse-id"}

    asyncio.run(main())


def test_the_id_is_of_the_attempt_and_the_collapse_id_of_the_message(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            for attempt in (1, 2, 2):
                await channel.send(replace(ENVELOPE, attempt=attempt))
            first, second, again = (asked.head for asked in far.requests)
            assert first["apns-id"] != second["apns-id"] == again["apns-id"]
            assert len({each["apns-collapse-id"] for each in (first, second, again)}) == 1

    asyncio.run(main())


def test_the_address_knows_better(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            await channel.send(replace(ENVELOPE, details={"app": "com.example.other", "environment": "sandbox"}))
            assert far.requests[0].head["apns-topic"] == "com.example.other"

    asyncio.run(main())


# Every row of providers §2: status, reason, class; whatever else the row says stands in tests below.
ROWS = [
    (400, "BadDeviceToken", K.DROP_ADDRESS),
    (400, "DeviceTokenNotForTopic", K.DROP_ADDRESS),
    (400, "BadTopic", K.STOP_CHANNEL),
    (400, "MissingTopic", K.STOP_CHANNEL),
    (400, "TopicDisallowed", K.STOP_CHANNEL),
    (400, "BadCollapseId", K.DROP_MESSAGE),
    (400, "BadExpirationDate", K.DROP_MESSAGE),
    (400, "BadMessageId", K.DROP_MESSAGE),
    (400, "BadPriority", K.DROP_MESSAGE),
    (400, "InvalidPushType", K.DROP_MESSAGE),
    (400, "DuplicateHeaders", K.DROP_MESSAGE),
    (400, "MissingDeviceToken", K.DROP_MESSAGE),
    (400, "PayloadEmpty", K.DROP_MESSAGE),
    (400, "IdleTimeout", K.RETRY),
    (403, "ExpiredProviderToken", K.STOP_CHANNEL),
    (403, "InvalidProviderToken", K.STOP_CHANNEL),
    (403, "MissingProviderToken", K.STOP_CHANNEL),
    (403, "BadCertificate", K.STOP_CHANNEL),
    (403, "BadCertificateEnvironment", K.STOP_CHANNEL),
    (403, "Forbidden", K.STOP_CHANNEL),
    (403, "UnrelatedKeyIdInToken", K.STOP_CHANNEL),
    (403, "BadEnvironmentKeyIdInToken", K.STOP_CHANNEL),
    (403, "BadEnvironmentKeyInToken", K.STOP_CHANNEL),
    (404, "BadPath", K.DROP_MESSAGE),
    (405, "MethodNotAllowed", K.DROP_MESSAGE),
    (410, "Unregistered", K.DROP_ADDRESS),
    (410, "ExpiredToken", K.DROP_ADDRESS),
    (413, "PayloadTooLarge", K.DROP_MESSAGE),
    (429, "TooManyRequests", K.RETRY_AFTER),
    (429, "TooManyProviderTokenUpdates", K.RETRY_AFTER),
    (500, "InternalServerError", K.RETRY),
    (503, "ServiceUnavailable", K.RETRY),
    (503, "Shutdown", K.RETRY),
]
TWICE = {"ExpiredProviderToken", "UnrelatedKeyIdInToken"}


@pytest.mark.parametrize(("status", "reason", "kind"), ROWS)
def test_rows(place: Place, status: int, reason: str, kind: K) -> None:
    outcome, requests = place.sent(refuses(status, reason))
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, reason, False)
    assert requests == (2 if reason in TWICE else 1)
    if kind is K.STOP_CHANNEL:
        assert outcome.scope is Scope.ACCOUNT


def test_the_table_has_these_rows_and_no_other() -> None:
    assert {(status, reason) for status, reason, _ in ROWS} == set(TABLE)


@pytest.mark.parametrize(
    ("status", "reason", "wait", "scope"),
    [
        (429, "TooManyRequests", 5 * MINUTE, Scope.ADDRESS),
        (429, "TooManyProviderTokenUpdates", MINUTE, Scope.MESSAGE),
        (500, "InternalServerError", 15 * MINUTE, Scope.ACCOUNT),
        (503, "ServiceUnavailable", 15 * MINUTE, Scope.ACCOUNT),
        (503, "Shutdown", None, Scope.MESSAGE),
    ],
)
def test_waits(place: Place, status: int, reason: str, wait: timedelta | None, scope: Scope) -> None:
    outcome, _ = place.sent(refuses(status, reason))
    assert (outcome.retry_after, outcome.scope) == (wait, scope)


def test_a_named_wait_is_heard_though_none_is_documented(place: Place) -> None:
    outcome, _ = place.sent(answers(503, {"reason": "ServiceUnavailable"}, retry_after="90"))
    assert (outcome.kind, outcome.retry_after) == (K.RETRY_AFTER, timedelta(seconds=90))


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (answers(400), K.DROP_MESSAGE, "400"),
        (answers(403), K.STOP_CHANNEL, "403"),
        (answers(404), K.STOP_CHANNEL, "404"),
        (answers(410), K.STOP_CHANNEL, "410"),
        (answers(429), K.RETRY_AFTER, "429"),
        (answers(500), K.RETRY, "500"),
        (answers(503, b"<!DOCTYPE html><p>That's an error."), K.RETRY, "503"),
        (answers(502, b"<html>"), K.RETRY, "502"),
        (answers(400, {"reason": 5}), K.DROP_MESSAGE, "400"),
        (answers(400, [1]), K.DROP_MESSAGE, "400"),
        (answers(400, {"reason": "token 5e1f is bad"}), K.DROP_MESSAGE, "400"),
        (answers(408), K.AMBIGUOUS, "408"),
        (answers(307, location="https://elsewhere.example"), K.STOP_CHANNEL, "307"),
        (answers(204), K.AMBIGUOUS, "204"),
        (answers(200, apns_id=""), K.AMBIGUOUS, "200"),
        (half(403), K.STOP_CHANNEL, "403"),
        (half(200), K.ACCEPTED, "200"),
        (half(410, b'{"reason":"Unregi'), K.STOP_CHANNEL, "410"),
    ],
)
def test_without_a_reason_the_status_decides(place: Place, act: Act, kind: K, code: str) -> None:
    outcome, requests = place.sent(act, patience=2.0)
    assert (outcome.kind, outcome.code, requests) == (kind, code, 1)


def test_a_hundred_unknown_reasons(place: Place) -> None:
    chance = random.Random(7)
    by_status = {400: K.DROP_MESSAGE, 403: K.STOP_CHANNEL, 410: K.STOP_CHANNEL, 429: K.RETRY_AFTER, 500: K.RETRY}
    asked = [(chance.choice(list(by_status)), f"New{chance.randrange(10**9)}") for _ in range(100)]

    async def main() -> None:
        async with place.opened(*(refuses(*each) for each in asked), OK) as (channel, far):
            for status, reason in asked:
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (by_status[status], reason, True)
            assert len(far.requests) == 100

    asyncio.run(main())


@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken"])
def test_410_says_since_when(place: Place, reason: str) -> None:
    outcome, _ = place.sent(refuses(410, reason, timestamp=1790000000123))
    assert outcome.dead_since == datetime.fromtimestamp(1790000000, UTC) + timedelta(milliseconds=123)
    for odd in ("soon", -5, 10**15, None):
        assert place.sent(refuses(410, reason, timestamp=odd))[0].dead_since is None


@pytest.mark.parametrize(
    ("act", "kind", "code", "left"),
    [
        (resets(ErrorCodes.REFUSED_STREAM), K.RETRY, "refused", False),
        (goes_away(-2), K.RETRY, "refused", False),
        (goes_away(0), K.AMBIGUOUS, "broken", True),
        (resets(ErrorCodes.INTERNAL_ERROR), K.AMBIGUOUS, "broken", True),
        (hangs_up, K.AMBIGUOUS, "broken", True),
        (cuts, K.AMBIGUOUS, "broken", True),
        (garbage, K.AMBIGUOUS, "broken", True),
        (silence, K.AMBIGUOUS, "timeout", True),
    ],
)
def test_a_lost_answer_costs_one_request(place: Place, act: Act, kind: K, code: str, left: bool) -> None:
    outcome, requests = place.sent(act, patience=2.0)
    assert (outcome.kind, outcome.code, outcome.may_have_left, requests) == (kind, code, left, 1)
    assert outcome.detail in {"", "it went away Shutdown"}


def test_nobody_there(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            assert far.server is not None
            far.server.close()
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.code, outcome.may_have_left) == (K.RETRY, "connect", False)
            (finding,) = await channel.check()
            assert finding.health is Health.BROKEN

    asyncio.run(main())


@pytest.mark.parametrize(
    "changed",
    [
        {"address": "not-hex"},
        {"address": ""},
        {"address": "abc"},
        {"address": "ab/../../x"},
        {"address": "ab" * 300},
        {"details": {"app": "com.example\r\nx: y"}},
        {"payload": PushPayload("t", "x" * 5000)},
        {"payload": SmsPayload("x")},
    ],
)
def test_what_cannot_be_sent_is_not(place: Place, changed: dict[str, Any]) -> None:
    outcome, requests = place.sent(OK, **changed)
    assert (requests, outcome.may_have_left) == (0, False)
    assert outcome.kind is (K.DROP_ADDRESS if "address" in changed else K.DROP_MESSAGE)


def test_a_topic_of_the_addresss_own_stops_nobody_else(place: Place) -> None:
    stops, _ = place.sent(refuses(400, "TopicDisallowed"), details={"app": "com.example.other"})
    assert (stops.kind, stops.scope) == (K.STOP_CHANNEL, Scope.ADDRESS)


def test_reconcile_and_close(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, _):
            assert await channel.reconcile(Inquiry("1", DEVICE, PAYLOAD, place.clock.machine())) is None
            assert channel.problems(PAYLOAD) == []

    asyncio.run(main())


# Environments.


@asynccontextmanager
async def two(place: Place, production: Act, sandbox: Act) -> AsyncIterator[tuple[ApnsChannel, Http2End, Http2End]]:
    async with Http2End(place.tls).plays(production) as far, Http2End(place.tls).plays(sandbox) as other:
        channel = ApnsChannel(SIGNER, TOPIC, place.servers(far, other, patience=2.0, connections=1), place.clock)
        yield channel, far, other
        await channel.close()


BAD = refuses(400, "BadDeviceToken")
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


@pytest.mark.parametrize(
    ("act", "health", "word"),
    [
        (BAD, Health.FINE, "takes the key"),
        (refuses(410, "Unregistered"), Health.FINE, "takes the key"),
        (refuses(403, "InvalidProviderToken"), Health.BROKEN, "InvalidProviderToken"),
        (refuses(400, "TopicDisallowed"), Health.BROKEN, "TopicDisallowed"),
        (refuses(403, "BadEnvironmentKeyInToken"), Health.BROKEN, "BadEnvironmentKeyInToken"),
        (refuses(503, "ServiceUnavailable"), Health.WARNING, "ServiceUnavailable"),
        (answers(404, b"<html>"), Health.BROKEN, "404"),
        (silence, Health.BROKEN, "no answer"),
    ],
)
def test_checking_sends_to_nobody(place: Place, act: Act, health: Health, word: str) -> None:
    async def main() -> None:
        async with place.opened(act, patience=2.0) as (channel, far):
            (finding,) = await channel.check()
            assert (finding.health, word in finding.what) == (health, True)
            assert set(far.requests[0].head[":path"].removeprefix("/3/device/")) == {"0"}
            assert health is Health.FINE or finding.hint or health is Health.WARNING or word == "404"

    asyncio.run(main())


@pytest.mark.parametrize(("hours", "side"), [(2, "behind"), (-2, "ahead")])
def test_checking_sees_a_wrong_clock(place: Place, hours: int, side: str) -> None:
    date = (place.clock.machine() + timedelta(hours=hours)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    async def main() -> None:
        async with place.opened(answers(403, {"reason": "InvalidProviderToken"}, date=date)) as (channel, _):
            skew, verdict = await channel.check()
            assert (skew.health, verdict.health) == (Health.BROKEN, Health.BROKEN)
            assert side in skew.what
            assert "7200" in skew.what
            assert "clock" in verdict.hint

    asyncio.run(main())


def test_nothing_private_in_an_outcome(place: Place) -> None:
    for status, reason, _ in ROWS:
        text = repr(place.sent(refuses(status, reason))[0])
        assert not any(canary in text for canary in (DEVICE, "Canary", "eyJ", "C1"))
