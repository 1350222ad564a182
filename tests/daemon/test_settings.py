"""The settings' two files: accounts of both, in order; what is wrong is named with its file; secrets stay secret."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.daemon.wiring import open_channels, routing_of
from orchestrator.errors import ConfigError
from orchestrator.settings import LEAST_LEASE, load_settings
from orchestrator.store.engine import BUSY_SECONDS

SECRET = "s3cret-canary"  # what must never be printed
LOG = {"channel": "sms", "provider": "log", "options": {"file": "sms.jsonl"}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_CONFIG", raising=False)
    return tmp_path


def write(name: str, content: Any) -> None:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def wrong() -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings()
    return str(caught.value)


def test_accounts_of_both_files_in_their_order() -> None:
    write("orchestrator.yaml", {"accounts": {"c": LOG, "a": LOG}})
    write("channels.yaml", {"accounts": {"d": LOG, "b": LOG}})
    assert list(load_settings().accounts) == ["c", "a", "d", "b"]


def test_the_environment_does_not_change_the_order_of_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    write("orchestrator.yaml", {"accounts": {"c": LOG}})
    write("channels.yaml", {"accounts": {"b": LOG, "a": LOG}})
    monkeypatch.setenv("ORCHESTRATOR_ACCOUNTS__A__RATE", "5")
    found = load_settings().accounts
    assert list(found) == ["c", "b", "a"]
    assert found["a"].rate == 5


def test_the_file_stands_beside_the_settings_wherever_they_are(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "etc").mkdir()
    write("etc/o.yaml", {"channels": "my-channels.yaml"})
    write("etc/my-channels.yaml", {"accounts": {"a": LOG}})
    monkeypatch.setenv("ORCHESTRATOR_CONFIG", "etc/o.yaml")
    assert list(load_settings().accounts) == ["a"]


def test_without_the_file_nothing_is_missing_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write("orchestrator.yaml", {"accounts": {"a": LOG}})
    assert list(load_settings().accounts) == ["a"]
    monkeypatch.setenv("ORCHESTRATOR_CHANNELS", "chanels.yaml")
    assert "channels: no such file: chanels.yaml" in wrong()


def test_the_same_name_twice_names_both_files() -> None:
    write("orchestrator.yaml", {"accounts": {"a": LOG}})
    write("channels.yaml", {"accounts": {"a": LOG}})
    said = wrong()
    assert "accounts.a: the same account stands in orchestrator.yaml and in channels.yaml" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": LOG}, "channels.yaml: a: this file holds accounts alone"),
        ({"accounts": ["a"]}, "channels.yaml: accounts: is not accounts by their names"),
        ("accounts: {a: [", "channels.yaml:1: is not YAML"),
        ({"accounts": {"a": {**LOG, "rote": {}}}}, "channels.yaml: accounts.a.rote: unknown field (did you mean 'ro"),
        ({"accounts": {"a": {**LOG, "route": {"country": ["DE"]}}}}, "did you mean 'countries'?"),
        (
            {"accounts": {"a": {**LOG, "route": {"countries": ["Germany"]}}}},
            "channels.yaml: accounts.a.route.countries",
        ),
        ({"accounts": {"a": {**LOG, "route": {"share": 0}}}}, "accounts.a.route.share"),
        ({"accounts": {"a": {**LOG, "channel": "sns"}}}, "channels.yaml: accounts.a.channel"),
        ({"accounts": {"a": {**LOG, "options": {"key_env": "NO_SUCH_VARIABLE"}}}}, "accounts.a.options: key_env"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(content: object, words: str) -> None:
    write("orchestrator.yaml", {"port": 0})
    write("channels.yaml", content)
    assert words in wrong()


def test_a_slip_in_the_settings_gets_the_nearest_word() -> None:
    write("orchestrator.yaml", {"databse": "x"})
    assert "orchestrator.yaml: databse: unknown field (did you mean 'database'?)" in wrong()


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (
            {**LOG, "provider": "twillio"},
            "channels.yaml: accounts.a.provider: no plugin for provider 'twillio' (did you mean",
        ),
        (
            {**LOG, "options": {"fiel": "x"}},
            "channels.yaml: accounts.a.options.fiel: unknown option (did you mean 'file'?)",
        ),
    ],
)
def test_unknown_providers_and_options_name_file_account_and_field(account: object, words: str) -> None:
    write("channels.yaml", {"accounts": {"a": account}})
    with pytest.raises(ConfigError) as caught:
        open_channels(load_settings())
    assert words in str(caught.value)


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", SECRET)
    inline = {**LOG, "options": {"auth_token": SECRET, "other_env": "THE_TOKEN"}}
    write("channels.yaml", {"accounts": {"a": inline}})
    found = load_settings()
    assert SECRET not in repr(found) + str(found.accounts["a"])
    with pytest.raises(ConfigError) as caught:
        open_channels(found)
    assert SECRET not in str(caught.value)
    write("channels.yaml", {"accounts": {"a": {**inline, "rate": SECRET, "chanel": SECRET}}})
    assert SECRET not in wrong()


def test_routes_are_read_in_the_order_of_the_files() -> None:
    routed = {**LOG, "route": {"countries": ["CN"], "platforms": ["ios"], "share": 3}}
    write("orchestrator.yaml", {"accounts": {"b": LOG}})
    write("channels.yaml", {"accounts": {"a": routed}})
    first, second = routing_of(load_settings(), {}).carriers
    assert (first.name, second.name) == ("b", "a")
    assert (second.countries, second.platforms, second.share) == (frozenset({"CN"}), frozenset({"ios"}), 3)


def test_kinds_are_known_without_opening_an_account() -> None:
    fcm = {"channel": "push", "provider": "fcm", "options": {"service_account_file": "/no/such/file"}}
    write("channels.yaml", {"accounts": {"fcm": fcm, "log": LOG}})
    found = {one.name: one.kinds for one in routing_of(load_settings(), {}).carriers}
    assert found == {"fcm": frozenset({"token", "fid"}), "log": frozenset({"*"})}


@pytest.mark.parametrize(("name", "least"), [("keep_messages", 100), ("keep_events", 400)])
def test_what_is_still_asked_for_cannot_be_forgotten(name: str, least: int) -> None:
    write("orchestrator.yaml", {name: f"P{least}D"})
    assert getattr(load_settings(), name) == timedelta(days=least)
    write("orchestrator.yaml", {name: f"P{least - 1}D"})
    assert f"orchestrator.yaml: {name}: Input should be greater than or equal to {least} days" in wrong()


@pytest.mark.parametrize("lease", ["PT1S", "PT9.9S", 0, -60])
def test_a_lease_that_runs_out_under_ordinary_load_is_refused(lease: str | int) -> None:
    write("orchestrator.yaml", {"lease": lease})
    said = wrong()
    assert "orchestrator.yaml: lease: a worker that waits for the database would lose it" in said
    assert "PT10S" in said


def test_a_lease_that_outlasts_a_wait_for_the_database_is_taken() -> None:
    write("orchestrator.yaml", {"lease": "PT10S"})
    assert load_settings().lease == timedelta(seconds=10)
    beats = LEAST_LEASE / 3
    assert beats.total_seconds() + BUSY_SECONDS < LEAST_LEASE.total_seconds(), (
        "a beat that waits its longest is in time"
    )
