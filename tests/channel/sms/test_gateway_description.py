"""An SMS gateway by description: what is wrong with one, its secrets, and checking that it works."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from orchestrator.channel.base import (
    Health,
)
from orchestrator.channel.plugins import open_channel
from orchestrator.channel.sms.gateway_patterns import filled, found, places, text_at
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import Act, answers, silence
from tests.channel.sms.gateway_end import FORM_GATEWAY, HOOK, JSON_GATEWAY, OK, TOKEN, _changed, opened


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("base_url", "http://sms.example", "must be https://"),
        ("request", ..., "request: is required"),
        ("request.methd", "POST", "request.methd: unknown option (did you mean 'method'?)"),
        ("request.json.to", "{number}", "unknown {number}: there are basic, id, secret, sender, text, to, ttl_s"),
        ("request.json.text", "hello", "{text} stands nowhere in the request"),
        ("request.form", {"a": "b"}, "give one of json, form and text"),
        ("request.method", "GET", "a GET has no body: use query"),
        ("request.headers", {"X": "{text}"}, "{text} cannot stand in a header"),
        ("request.path", "v1", "request.path: "),
        ("request.path", "/a b", "request.path: "),
        ("id", {"path": "a", "header": "b"}, "give one of path, matches and header"),
        ("id", {"path": "a..b"}, "is no path"),
        ("id", {"matches": "(a)(b)"}, "has more than one group"),
        ("success", {"equals": 5}, "'equals' needs a 'path'"),
        ("success", {"matches": "("}, "is no regular expression"),
        ("success", {"matches": "(a+)+$"}, "it could run for long"),
        ("success", {"matches": "(?:a|a)*b"}, "it could run for long"),
        ("success", {"matches": ".*.*.*x"}, "it could run for long"),
        ("success", {"matches": r"(a*)\1"}, "it could run for long"),
        ("success", {"matches": "x" * 201}, "at most 200 characters"),
        ("errors", {"kind": "retry", "statuss": 1}, "errors.0.statuss: unknown option (did you mean 'status'?)"),
        ("replies.fromm", "x", "replies.fromm: unknown option (did you mean 'from'?)"),
        ("errors", {"kind": "drop_message"}, "says nothing"),
        ("errors", {"status": 400, "kind": "accepted"}, "an error is not accepted"),
        ("errors", {"status": 400, "kind": "dropp"}, "errors.0.kind: "),
        ("errors", {"status": 400, "kind": "retry", "wait": "PT1S"}, "'wait' belongs to kind retry_after"),
        ("receipts.statuses", {"x": "arrived"}, "receipts.statuses.x: "),
        ("receipts.codes", {"x": "retry"}, "receipts.codes.x: "),
        ("check.headers", {"X": "{to}"}, "{to} is not known when nothing is sent"),
        ("timeout", "PT2M", "timeout: "),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(path: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_channel("one", "gateway", _changed(path, value), callback_url="https://push.example/callbacks/one")
    assert "accounts.one.options." in str(caught.value)
    assert words in str(caught.value)


def test_secrets_that_a_description_needs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(TOKEN)
    (tmp_path / "short").write_text("short")
    (tmp_path / "hook").write_text(HOOK)
    described = _changed("base_url", "https://sms.example")
    url = "https://push.example/callbacks/one"
    with pytest.raises(ConfigError, match="callback_secret_file: receipts and replies need it"):
        open_channel("one", "gateway", described, callback_url=url)
    described["callback_secret_file"] = str(tmp_path / "short")
    with pytest.raises(ConfigError, match="at least 16 characters"):
        open_channel("one", "gateway", described, callback_url=url)
    described["callback_secret_file"] = str(tmp_path / "hook")
    with pytest.raises(ConfigError, match="one of secret_file and secret_env is required"):
        open_channel("one", "gateway", described, callback_url=url)
    described["secret_file"] = str(tmp_path / "secret")
    channel = open_channel("one", "gateway", described, callback_url=url)
    assert (channel.channel, channel.provider) == ("sms", "gateway")
    asyncio.run(channel.close())


def test_the_slowest_pattern_that_is_let_in_is_quick() -> None:
    start = time.perf_counter()
    assert found(".*a.*b", "a" * 100_000) is None
    assert time.perf_counter() - start < 2


def test_paths_and_places() -> None:
    value = {"a": [{"b": 1}, {"b": True}, {"b": 1.5}, {"b": None}], "c": "x"}
    assert [text_at(f"a.{place}.b", value) for place in range(5)] == ["1", "true", "1.5", "", ""]
    assert [text_at(path, value) for path in ("c", "c.d", "a", "z.0", "a.-1.b")] == ["x", "", "", "", ""]
    assert places("{a}{{b}}{c}") == {"a", "c"}
    assert filled("{a}{{b}}{c}", {"a": "{c}", "c": "1"}) == "{c}{b}1"


@pytest.mark.parametrize(
    ("act", "health", "words"),
    [
        (answers(200, {}), Health.FINE, "accepts us"),
        (answers(401), Health.BROKEN, "401"),
        (silence, Health.BROKEN, "timeout"),
    ],
)
def test_the_check(clock: ManualClock, act: Act, health: Health, words: str) -> None:
    async def main() -> None:
        async with opened(clock, JSON_GATEWAY, OK) as (channel, far):
            far.plays("/v1/account", act)
            finding = (await channel.check())[0]
            assert finding.health is health
            assert words in finding.what
            assert [(seen.method, seen.path) for seen in far.requests] == [("GET", "/v1/account")]
            assert far.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        async with opened(clock, FORM_GATEWAY, OK) as (channel, _):
            assert [finding.health for finding in await channel.check()] == [Health.FINE]

    asyncio.run(main())
