"""What APNs is sent: never over 4,096 bytes, never a header that it refuses; and the account's options."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from orchestrator.channel.base import ACK_LENGTH, Envelope, PushPayload, SmsPayload
from orchestrator.channel.push.apns import ApnsChannel, open_channel
from orchestrator.channel.push.apns_message import (
    PAYLOAD_LIMIT,
    apns_id,
    collapse_id,
    is_device,
    problems,
    request_of,
)
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.conftest import NOW

CLOCK = ManualClock(NOW)
PEM = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=1500)
KEY = st.text(min_size=1, max_size=30).filter(lambda key: key not in {"aps", "msg_id", "link", "image", "ack"})


def envelope(payload: PushPayload, **changed: Any) -> Envelope:
    given: dict[str, Any] = {"ttl": timedelta(hours=1), "collapse_key": "k", "ack": "a" * ACK_LENGTH} | changed
    return Envelope("9" * 20, 1, "ab" * 32, "apns", payload, **given)


@settings(max_examples=300, deadline=None)
@given(title=TEXT, body=TEXT, link=TEXT, image=TEXT, data=st.dictionaries(KEY, TEXT, max_size=4))
def test_what_passes_is_never_too_large(title: str, body: str, link: str, image: str, data: dict[str, str]) -> None:
    payload = PushPayload(title, body, link, image, data)
    if problems(payload):
        return
    sent = request_of(envelope(payload), payload, "com.example.app", CLOCK.now()).body
    assert len(sent) <= PAYLOAD_LIMIT
    read = orjson.loads(sent)
    assert read["aps"]["alert"] == {name: text for name, text in (("title", title), ("body", body)) if text}
    assert {name: read[name] for name in data} == data


@pytest.mark.parametrize("letter", ["x", "ü", "你", "🍜", "\x01", '"', "\\"])
def test_the_limit_is_exact(letter: str) -> None:
    """JSON's bytes are counted: a quotation mark costs two, a control character six."""
    cost = len(orjson.dumps(letter)) - 2
    rest = PAYLOAD_LIMIT - len(
        request_of(envelope(PushPayload("t", "b")), PushPayload("t", "b"), "a", CLOCK.now()).body
    )
    fits = PushPayload("t", "b" + letter * (rest // cost))
    assert not problems(fits)
    assert problems(PushPayload("t", fits.body + letter))
    assert len(request_of(envelope(fits), fits, "a", CLOCK.now()).body) > PAYLOAD_LIMIT - cost


def test_problems() -> None:
    assert problems(PushPayload("", "", data={"a": "b"})) == ["neither title nor body"]
    for key in ("aps", "msg_id", "link", "ack", "image"):
        assert problems(PushPayload("t", "b", data={key: "x"})) == [f"data key {key!r} is reserved"]
    assert "surrogate" in problems(PushPayload("t", "\ud800"))[0]
    assert problems(SmsPayload("x")) == ["a push account carries push payloads only"]


def test_without_an_image_nothing_is_mutable_and_without_ack_nothing_is_asked() -> None:
    payload = PushPayload("t", "")
    sent = orjson.loads(request_of(envelope(payload, ack=""), payload, "a", CLOCK.now()).body)
    assert sent == {"aps": {"alert": {"title": "t"}}, "msg_id": "9" * 20}


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (timedelta(seconds=-5), 0),
        (timedelta(seconds=0.9), 0),
        (timedelta(seconds=59.9), 59),
        (timedelta(days=90), 2592000),
    ],
)
def test_expiration(ttl: timedelta, seconds: int) -> None:
    payload = PushPayload("t", "b")
    found = request_of(envelope(payload, ttl=ttl), payload, "a", CLOCK.now()).expiration
    assert found == str(int(CLOCK.now().timestamp()) + seconds if seconds else 0)


def test_collapse_ids_fit_and_stay_apart() -> None:
    assert collapse_id("k" * 64) == "k" * 64
    others = [collapse_id(key) for key in ("k" * 64 + "a", "k" * 64 + "b", "午餐", "", "a b", "a\r\nb", "\ud800")]
    assert len(set(others)) == len(others)
    assert all(len(each) == 64 and each.isascii() for each in others)


@given(st.integers(0, 2**63).map(str), st.integers(1, 20))
def test_apns_ids_are_uuids_of_the_attempts_name(message_id: str, attempt: int) -> None:
    """The same at every release: APNs tells us by it what it was that it took."""
    namespace = UUID("6f1b0f57-6f0b-4c68-9d7b-5d3f3b0c7b1e")
    assert apns_id(message_id, attempt) == str(uuid5(namespace, f"{message_id}/{attempt}"))


def test_devices() -> None:
    assert all(is_device(each) for each in ("ab", "AB" * 32, "01" * 100))
    assert not any(is_device(each) for each in ("", "a", "abc", "zz", "ab\n", "ab/cd", "ab " * 3, "ab" * 257))


# Options.


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "key.p8").write_bytes(PEM)
    return {
        "team_id": "TEAM567890",
        "key_id": "KEY4567890",
        "key_file": tmp_path / "key.p8",
        "topic": "com.example.app",
    }


def opened(options: dict[str, Any], **changed: Any) -> ApnsChannel:
    merged = {name: value for name, value in {**options, **changed}.items() if value is not None}
    channel = open_channel("ios", merged, "https://p.example/callbacks/ios")
    assert isinstance(channel, ApnsChannel)
    return channel


def test_opening(options: dict[str, Any]) -> None:
    channel = opened(options)
    assert (channel.channel, channel.provider, set(channel.kinds)) == ("push", "apns", {"apns"})
    assert [pool.authority for pool in channel._pools.values()] == ["api.push.apple.com", "api.sandbox.push.apple.com"]
    both = opened(options, base_url="https://127.0.0.1:8443")
    assert both._pools["production"] is both._pools["sandbox"]
    apart = opened(options, base_url="https://127.0.0.1:8443", development_url="https://127.0.0.1:8444/")
    assert [pool.authority for pool in apart._pools.values()] == ["127.0.0.1:8443", "127.0.0.1:8444"]


def test_the_key_may_stand_in_the_environment(options: dict[str, Any]) -> None:
    for text in (PEM.decode(), PEM.decode().replace("\n", "\\n")):
        opened(options, key_file=None, key=SecretStr(text))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"team_id": "short"}, "team_id"),
        ({"key_id": "KEY 567890"}, "key_id"),
        ({"topic": "com.example\r\n"}, "topic"),
        ({"environment": "development"}, "environment"),
        ({"key_file": None}, "key_file"),
        ({"key": SecretStr("both")}, "key_file"),
        ({"key": "in the file"}, "key"),
        ({"key_file": Path("/nowhere.p8")}, "key_file"),
        ({"base_url": "http://127.0.0.1:8443"}, "base_url"),
        ({"base_url": "https://user@a.example"}, "base_url"),
        ({"development_url": "ftp://a.example"}, "development_url"),
        ({"ca_file": Path("/nowhere.pem")}, "ca_file"),
        ({"connections": 0}, "connections"),
        ({"timeout": "PT2M"}, "timeout"),
        ({"topics": "x"}, "topics"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"accounts.ios.options.{named}"):
        opened(options, **changed)
