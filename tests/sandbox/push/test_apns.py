"""The sandbox's APNs is as strict as Apple's, and misbehaves when told to; our channel gets on with both."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from orchestrator.channel.base import Envelope, Health, Outcome, OutcomeClass, PushPayload
from orchestrator.channel.http2_pool import Pool
from orchestrator.channel.push.apns import ApnsChannel, Servers, open_channel
from orchestrator.channel.push.apns_token import load_signer
from orchestrator.channel.transport import Answer, NoAnswer
from orchestrator.clock import ManualClock, SystemClock
from orchestrator.sandbox.push.apns_credentials import KEY_ID, TEAM_ID
from orchestrator.sandbox.server import Options, Sandbox
from tests.sandbox.conftest import Customer

K = OutcomeClass
DEVICE = "5e1f" * 16
TOPIC = "com.example.app"
ENVELOPE = Envelope(
    "4711", 1, DEVICE, "apns", PushPayload("Lunch?", "Noodles", "https://a.example/x"), timedelta(hours=1), "run-7"
)


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def reason(self) -> str:
        return str(self.body["reason"])


class Phone:
    """A plain HTTP/2 client: one connection, one request at a time."""

    def __init__(self, customer: Customer) -> None:
        folder = customer.sandbox.options.state
        self.key = (folder / "apns-key.p8").read_bytes()
        context = ssl.create_default_context(cafile=folder / "apns-ca.pem")
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", customer.sandbox.apns_port), timeout=5)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.h2 = H2Connection(
            H2Configuration(header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.settings: list[int] = []
        self._send()

    def token(self, age: float = 60, head: dict[str, Any] | None = None, **claims: Any) -> str:
        given = {"iss": TEAM_ID, "iat": int(time.time() - age)} | claims
        kept = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(kept, self.key, algorithm="ES256", headers={"kid": KEY_ID, "typ": None} | (head or {}))

    def push(
        self, device: str = DEVICE, body: Any = None, secret: type[HeaderTuple] = NeverIndexedHeaderTuple, **fields: Any
    ) -> Got:
        raw = body if isinstance(body, bytes) else json.dumps(body or {"aps": {"alert": "x"}}).encode()
        head: dict[str, Any] = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": "localhost",
            ":path": f"/3/device/{device}",
            "authorization": "bearer " + fields.pop("token", "") if "token" in fields else f"bearer {self.token()}",
            "apns-topic": TOPIC,
            "apns-push-type": "alert",
            **{name.replace("__", ":").replace("_", "-"): value for name, value in fields.items()},
        }
        hidden = {":path", "authorization"}
        listed = [
            (name, each) for name, value in head.items() for each in (value if isinstance(value, list) else [value])
        ]
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(
            number,
            [
                (secret if name in hidden else HeaderTuple)(name.encode(), value.encode())
                for name, value in listed
                if value is not None
            ],
            end_stream=not raw,
        )
        if raw:
            self.h2.send_data(number, raw[:60000], end_stream=True)
        self._send()
        return self._answer(number)

    def _answer(self, number: int) -> Got:
        status, headers, body = 0, dict[str, str](), b""
        while True:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed")
            for event in self.h2.receive_data(data):
                if isinstance(event, events.RemoteSettingsChanged):
                    self.settings.append(self.h2.remote_settings.max_concurrent_streams)
                if isinstance(event, events.ResponseReceived):
                    headers = {bytes(name).decode(): bytes(value).decode() for name, value in event.headers}
                    status = int(headers.pop(":status"))
                if isinstance(event, events.DataReceived):
                    body += event.data or b""
                if isinstance(event, events.StreamEnded) and event.stream_id == number:
                    self._send()
                    return Got(status, headers, json.loads(body) if body else None)
            self._send()

    def _send(self) -> None:
        self.socket.sendall(self.h2.data_to_send())


@contextmanager
def phone_of(customer: Customer) -> Iterator[Phone]:
    phone = Phone(customer)
    try:
        yield phone
    finally:
        phone.socket.close()


@pytest.fixture
def phone(refuser: Customer) -> Iterator[Phone]:
    with phone_of(refuser) as phone:
        yield phone


def counters(customer: Customer) -> dict[str, int]:
    found: dict[str, int] = customer.ask("GET", "/sandbox/counters").json["apns"]
    return found


def test_a_push_is_kept_and_shown(customer: Customer) -> None:
    with phone_of(customer) as phone:
        apns_id = str(uuid4())
        got = phone.push(
            body={"aps": {"alert": {"title": "T", "body": "B"}}, "msg_id": "7"}, apns_id=apns_id, apns_collapse_id="k"
        )
        assert (got.status, got.body, got.headers["apns-id"]) == (200, None, apns_id)
    (kept,) = customer.accepted()
    assert (kept["provider"], kept["to"], kept["id"], kept["message_id"]) == ("apns", DEVICE, apns_id, "7")
    assert (kept["title"], kept["body"], kept["collapse_key"]) == ("T", "B", "k")
    (shown,) = customer.ask("GET", "/sandbox/inbox?kind=push").json["phones"]
    assert shown["messages"][0]["title"] == "T"


@pytest.mark.parametrize(
    ("status", "reason", "changed"),
    [
        (405, "MethodNotAllowed", {"__method": "GET"}),
        (404, "BadPath", {"__path": "/4/device/abcd"}),
        (400, "MissingDeviceToken", {"device": ""}),
        (400, "DuplicateHeaders", {"apns_topic": [TOPIC, TOPIC]}),
        (403, "MissingProviderToken", {"authorization": None}),
        (403, "MissingProviderToken", {"authorization": "basic abc"}),
        (403, "InvalidProviderToken", {"token": "abc"}),
        (400, "MissingTopic", {"apns_topic": None}),
        (400, "BadTopic", {"apns_topic": "com example"}),
        (400, "TopicDisallowed", {"apns_topic": "org.other.app"}),
        (400, "InvalidPushType", {"apns_push_type": None}),
        (400, "InvalidPushType", {"apns_push_type": "loud"}),
        (400, "InvalidPushType", {"body": {"aps": {"content-available": 1}}}),
        (400, "BadPriority", {"apns_priority": "7"}),
        (
            400,
            "BadPriority",
            {"apns_priority": "10", "apns_push_type": "background", "body": {"aps": {"content-available": 1}}},
        ),
        (400, "BadExpirationDate", {"apns_expiration": "tomorrow"}),
        (400, "BadExpirationDate", {"apns_expiration": "-1"}),
        (400, "BadCollapseId", {"apns_collapse_id": "x" * 65}),
        (400, "BadMessageId", {"apns_id": "7"}),
        (400, "BadMessageId", {"apns_id": str(uuid4()).upper()}),
        (400, "PayloadEmpty", {"body": b"{"}),
        (400, "PayloadEmpty", {"body": b"[1]"}),
        (400, "PayloadEmpty", {"body": {"alert": "x"}}),
        (413, "PayloadTooLarge", {"body": {"aps": {"alert": "x" * 4096}}}),
        (400, "BadDeviceToken", {"device": "bad0" * 16}),
        (400, "BadDeviceToken", {"device": "xyz"}),
        (400, "BadDeviceToken", {"device": "0" * 64}),
        (410, "Unregistered", {"device": "dead" * 16}),
    ],
)
def test_refusals(phone: Phone, status: int, reason: str, changed: dict[str, Any]) -> None:
    got = phone.push(**changed)
    assert (got.status, got.reason) == (status, reason)


def test_an_empty_body(phone: Phone) -> None:
    assert phone.push(body=b" ").reason == "PayloadEmpty"


def test_410_says_since_when(phone: Phone) -> None:
    since = phone.push(device="dead" * 16).body["timestamp"]
    assert abs(since / 1000 - time.time()) < 60


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ({"age": 3700}, "ExpiredProviderToken"),
        ({"age": -3700}, "InvalidProviderToken"),
        ({"iss": "OTHERTEAM1"}, "InvalidProviderToken"),
        ({"iss": None}, "InvalidProviderToken"),
        ({"iat": None}, "InvalidProviderToken"),
        ({"iat": "now"}, "InvalidProviderToken"),
        ({"exp": int(time.time()) + 3600}, "InvalidProviderToken"),
        ({"head": {"kid": "OTHERKEY11"}}, "InvalidProviderToken"),
        ({"head": {"typ": "JWT"}}, "InvalidProviderToken"),
    ],
)
def test_provider_tokens(phone: Phone, token: dict[str, Any], reason: str) -> None:
    assert phone.push(token=phone.token(**token)).reason == reason


def test_another_token_too_soon_makes_the_connection_useless(customer: Customer) -> None:
    with phone_of(customer) as phone:
        first, second = phone.token(age=600), phone.token(age=60)
        assert phone.push(token=first).status == 200
        assert phone.push(token=first).status == 200
        assert phone.push(token=second).reason == "TooManyProviderTokenUpdates"
        assert phone.push(token=first).reason == "TooManyProviderTokenUpdates"
    with phone_of(customer) as another:
        assert another.push(token=first).status == 200


def test_one_stream_until_a_token_was_accepted(customer: Customer) -> None:
    with phone_of(customer) as phone:
        assert phone.push(token="x").status == 403
        assert phone.settings == [1]
        token = phone.token()
        phone.push(token=token)
        phone.push(token=token)
        assert phone.settings == [1, 100]


@pytest.mark.parametrize(("secret", "noticed"), [(NeverIndexedHeaderTuple, False), (HeaderTuple, True)])
def test_an_indexed_token_is_noticed(customer: Customer, secret: type[HeaderTuple], noticed: bool) -> None:
    with phone_of(customer) as phone:
        phone.push(secret=secret)
    assert ("indexed authorization" in counters(customer)) == noticed
    assert ("indexed :path" in counters(customer)) == noticed


def test_the_certificates_are_made_once_and_nobody_else_reads_the_key(customer: Customer) -> None:
    folder = customer.sandbox.options.state
    before = (folder / "apns-ca.pem").read_text(), (folder / "apns-key.p8").read_text()
    assert all((folder / name).stat().st_mode & 0o077 == 0 for name in ("apns-key.p8", "apns-server.pem"))
    assert int((folder / "apns-port").read_text()) == customer.sandbox.apns_port
    customer.sandbox.__exit__(None, None, None)
    with Sandbox(Options(folder)):
        assert ((folder / "apns-ca.pem").read_text(), (folder / "apns-key.p8").read_text()) == before


def test_the_port_is_the_usual_one_or_a_free_one(tmp_path: Path) -> None:
    with (
        Sandbox(Options(tmp_path / "a", apns_port=None)) as first,
        Sandbox(Options(tmp_path / "b", apns_port=None)) as second,
    ):
        assert first.apns_port != second.apns_port


# Our channel against it.


def opened(customer: Customer, **options: Any) -> ApnsChannel:
    folder = customer.sandbox.options.state
    given = {
        "team_id": TEAM_ID,
        "key_id": KEY_ID,
        "key_file": folder / "apns-key.p8",
        "ca_file": folder / "apns-ca.pem",
        "topic": TOPIC,
        "base_url": f"https://127.0.0.1:{customer.sandbox.apns_port}",
        "timeout": "PT1S",
    }
    channel = open_channel("ios", given | options, "")
    assert isinstance(channel, ApnsChannel)
    return channel


def sent(customer: Customer, *devices: str) -> list[Outcome]:
    async def main() -> list[Outcome]:
        channel = opened(customer)
        found = await asyncio.gather(
            *(channel.send(Envelope("1", 1, each, "apns", ENVELOPE.payload, ENVELOPE.ttl, "k")) for each in devices)
        )
        await channel.close()
        return list(found)

    return asyncio.run(main())


def test_a_round_trip(customer: Customer) -> None:
    devices = [f"{number:04x}" * 16 for number in range(1, 151)]
    assert {each.kind for each in sent(customer, *devices)} == {K.ACCEPTED}
    assert sorted(each["to"] for each in customer.accepted()) == sorted(devices)
    seen = counters(customer)
    assert (seen["requests"], seen["accepted"]) == (150, 150)
    assert seen["connections"] <= 3
    assert not [name for name in seen if name.startswith(("indexed", "protocol"))]


def test_devices_tell_how_they_fare(customer: Customer) -> None:
    dead, bad = sent(customer, "dead" * 16, "bad0" * 16)
    assert (dead.kind, dead.code, dead.dead_since is not None) == (K.DROP_ADDRESS, "Unregistered", True)
    assert (bad.kind, bad.code) == (K.DROP_ADDRESS, "BadDeviceToken")
    assert customer.accepted() == []


@pytest.mark.parametrize(
    ("fault", "kind", "code", "accepted"),
    [
        ({"kind": "status", "status": 500}, K.RETRY, "InternalServerError", 0),
        ({"kind": "status", "status": 503, "code": "Shutdown"}, K.RETRY, "Shutdown", 0),
        ({"kind": "status", "status": 429}, K.RETRY_AFTER, "TooManyRequests", 0),
        ({"kind": "status", "status": 418, "code": "Teapot"}, K.DROP_MESSAGE, "Teapot", 0),
        ({"kind": "dead_address", "code": 1790000000000}, K.DROP_ADDRESS, "Unregistered", 0),
        ({"kind": "empty", "status": 500}, K.RETRY, "500", 0),
        ({"kind": "html"}, K.RETRY, "502", 0),
        ({"kind": "refused_stream"}, K.RETRY, "refused", 0),
        ({"kind": "goaway_before"}, K.RETRY, "refused", 0),
        ({"kind": "reset_before"}, K.AMBIGUOUS, "broken", 0),
        ({"kind": "silence"}, K.AMBIGUOUS, "timeout", 0),
        ({"kind": "silence", "accept": True}, K.AMBIGUOUS, "timeout", 1),
        ({"kind": "goaway_after"}, K.AMBIGUOUS, "broken", 1),
        ({"kind": "reset_after"}, K.AMBIGUOUS, "broken", 1),
        ({"kind": "slow", "seconds": 30}, K.AMBIGUOUS, "timeout", 1),
        ({"kind": "slow", "seconds": 0.1}, K.ACCEPTED, "200", 1),
        ({"kind": "delay", "seconds": 0.1}, K.ACCEPTED, "200", 1),
        ({"kind": "truncated"}, K.AMBIGUOUS, "200", 1),  # a 200 without apns-id proves nothing
    ],
)
def test_faults_cost_one_request(customer: Customer, fault: dict[str, Any], kind: K, code: str, accepted: int) -> None:
    assert customer.fault("apns", **fault).status == 201
    (outcome,) = sent(customer, DEVICE)
    assert (outcome.kind, outcome.code) == (kind, code)
    seen = counters(customer)
    assert (seen["requests"], seen.get("accepted", 0), len(customer.accepted())) == (1, accepted, accepted)


CHAOS = ("goaway_before", "goaway_after", "refused_stream", "reset_before", "reset_after", "silence", "empty")


def chaos(customer: Customer) -> tuple[list[str], list[Outcome], dict[str, int]]:
    """Four hundred sends while everything goes wrong: whom to, what came of it, and how often each was accepted."""
    for seed, kind in enumerate(CHAOS):
        customer.fault("apns", kind, probability=0.03, seed=seed)
    devices = [f"{number:04x}" * 16 for number in range(1, 401)]
    outcomes = sent(customer, *devices)
    accepted: dict[str, int] = {}
    for each in customer.ask("GET", "/sandbox/messages?limit=10000").json["messages"]:
        accepted[each["to"]] = accepted.get(each["to"], 0) + 1
    return devices, outcomes, accepted


def agree(devices: list[str], outcomes: list[Outcome], accepted: dict[str, int]) -> None:
    """What we say of each message is what became of it."""
    assert max(accepted.values()) == 1
    for device, outcome in zip(devices, outcomes, strict=True):
        if outcome.kind is K.ACCEPTED:
            assert accepted.get(device) == 1
        elif outcome.kind is not K.AMBIGUOUS:
            assert device not in accepted


def test_in_chaos_what_we_say_is_what_happened(customer: Customer) -> None:
    devices, outcomes, accepted = chaos(customer)
    agree(devices, outcomes, accepted)
    assert {each.kind for each in outcomes} == {K.ACCEPTED, K.AMBIGUOUS, K.RETRY}
    assert any(each.code == "refused" for each in outcomes)
    seen = counters(customer)
    assert seen["requests"] <= len(devices)


def test_in_chaos_a_channel_that_retries_by_itself_is_caught(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aioapns does: whatever had no answer is sent again."""
    once = Pool.request

    async def stubborn(self: Pool, compose: Any, body: bytes, *, begin_by: float) -> Answer | NoAnswer:
        answer = await once(self, compose, body, begin_by=begin_by)
        return await once(self, compose, body, begin_by=begin_by) if isinstance(answer, NoAnswer) else answer

    monkeypatch.setattr(Pool, "request", stubborn)
    with pytest.raises(AssertionError):
        agree(*chaos(customer))


def test_what_others_suffer_apns_does_not(refuser: Customer) -> None:
    assert refuser.fault("apns", "undelivered").status == 400
    assert refuser.fault("fcm", "goaway_before").status == 400


def at(customer: Customer, skew: timedelta) -> ApnsChannel:
    """A channel on a machine whose clock is wrong by ``skew``."""
    folder = customer.sandbox.options.state
    signer = load_signer("ios", TEAM_ID, KEY_ID, (folder / "apns-key.p8").read_bytes())
    context = ssl.create_default_context(cafile=folder / "apns-ca.pem")
    context.set_alpn_protocols(["h2"])
    url = f"https://127.0.0.1:{customer.sandbox.apns_port}"
    servers = Servers(url, url, "production", context, 2, timedelta(seconds=5))
    return ApnsChannel(signer, TOPIC, servers, ManualClock(SystemClock().machine() + skew))


@pytest.mark.parametrize(
    ("hours", "code", "side"), [(-2, "ExpiredProviderToken", "behind"), (2, "InvalidProviderToken", "ahead")]
)
def test_a_clock_two_hours_off_stops_the_account_and_doctor_says_why(
    customer: Customer, hours: int, code: str, side: str
) -> None:
    async def main() -> None:
        channel = at(customer, timedelta(hours=hours))
        outcome = await channel.send(ENVELOPE)
        assert (outcome.kind, outcome.code) == (K.STOP_CHANNEL, code)
        skew, verdict = await channel.check()
        assert (skew.health, verdict.health) == (Health.BROKEN, Health.BROKEN)
        assert side in skew.what
        await channel.close()

    asyncio.run(main())
    assert counters(customer)["requests"] <= 4


def test_a_clock_an_hour_behind_still_sends(customer: Customer) -> None:
    """With the next half hour's token, where this one's is too old."""

    async def main() -> None:
        channel = at(customer, timedelta(minutes=-59))
        found = await asyncio.gather(*(channel.send(ENVELOPE) for _ in range(40)))
        assert {each.kind for each in found} == {K.ACCEPTED}
        assert channel._tokens.minted <= 2
        await channel.close()

    asyncio.run(main())


def test_doctor_is_pleased(customer: Customer) -> None:
    async def main() -> None:
        channel = opened(customer)
        (finding,) = await channel.check()
        assert finding.health is Health.FINE
        await channel.close()

    asyncio.run(main())
    assert customer.accepted() == []
