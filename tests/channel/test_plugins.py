"""Accounts by entry point; wrong options are named where they stand; the channel that writes to a file."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.channel.base import Ambiguity, Channel, Envelope, OutcomeClass, PushPayload, SmsPayload
from orchestrator.channel.plugins import open_channel, providers
from orchestrator.errors import ConfigError

CALLBACK = "https://push.example/callbacks/one"


def _problems(provider: str, options: dict[str, object], callback_url: str = CALLBACK) -> str:
    with pytest.raises(ConfigError) as caught:
        open_channel("one", provider, options, callback_url=callback_url)
    return str(caught.value)


def test_ours_are_installed() -> None:
    assert {"fcm", "twilio", "log"} <= set(providers())


def test_an_unknown_provider_gets_the_nearest_word() -> None:
    said = _problems("twillio", {})
    assert "accounts.one.provider: no plugin for provider 'twillio' (did you mean 'twilio'?)" in said


def test_somebodys_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "pigeon-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[orchestrator.channels]\npigeon = pigeon_post:fly\nlame = pigeon_post:nothing\n"
    )
    (tmp_path / "pigeon_post.py").write_text(
        "def fly(account, options, callback_url):\n    return account, options, callback_url\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    opened: object = open_channel("one", "pigeon", {"speed": 3}, callback_url=f"{CALLBACK}/")
    assert opened == ("one", {"speed": 3}, CALLBACK)
    assert "accounts.one.provider: plugin 'pigeon_post:nothing' does not load" in _problems("lame", {})
    sys.modules.pop("pigeon_post", None)


@pytest.mark.parametrize(
    ("provider", "options", "said"),
    [
        ("fcm", {}, "accounts.one.options.service_account_file: is required"),
        ("fcm", {"service_acount_file": "x"}, "(did you mean 'service_account_file'?)"),
        ("fcm", {"service_account_file": "/no-such"}, "cannot read /no-such: No such file"),
        ("fcm", {"service_account_file": "/no/such"}, "cannot read the file that it names: No such file"),
        ("twilio", {"account_sid": "AC1"}, "accounts.one.options.account_sid: "),
        (
            "twilio",
            {"account_sid": "AC" + "0" * 32, "auth_token_file": "t"},
            "one of 'from' and 'messaging_service_sid'",
        ),
        ("twilio", {"form": "+1"}, "accounts.one.options.form: unknown option (did you mean 'from'?)"),
        ("log", {}, "accounts.one.options.file: is required"),
        ("log", {"file": "/proc/nothing/x"}, "accounts.one.options.file: cannot write"),
    ],
)
def test_wrong_options_are_named(provider: str, options: dict[str, object], said: str) -> None:
    assert said in _problems(provider, options)


def test_twilio_options(tmp_path: Path) -> None:
    token = tmp_path / "token"
    good: dict[str, object] = {"account_sid": "AC" + "0" * 32, "auth_token_file": str(token), "from": "+15005550006"}
    token.write_text("")
    assert "auth_token_file" in _problems("twilio", good)
    token.write_text("two words")
    assert "must hold one secret" in _problems("twilio", good)
    token.write_text("secret\n")
    assert "accounts.one.options.base_url: must be https" in _problems(
        "twilio", good | {"base_url": "http://api.twilio.com"}
    )
    assert "underscore" in _problems("twilio", good, "https://my_host/callbacks/one")
    asyncio.run(_opened("twilio", good, Ambiguity.HOLD))


def test_fcm_options(tmp_path: Path, key_pem: str) -> None:
    file = tmp_path / "service-account.json"
    fields = {"project_id": "p-1", "client_email": "a@b.example", "private_key": key_pem, "type": "service_account"}
    good: dict[str, object] = {"service_account_file": str(file)}
    file.write_text("not JSON")
    assert "is no service account's key file (not JSON)" in _problems("fcm", good)
    file.write_text(json.dumps(fields | {"project_id": "../x"}))
    assert "(project_id)" in _problems("fcm", good)
    file.write_text(json.dumps(fields | {"private_key": "canary-secret"}))
    said = _problems("fcm", good)
    assert "private_key is no private key in PEM" in said
    assert "canary" not in said
    file.write_text(json.dumps(fields | {"token_uri": "http://evil.example/token"}))
    assert "token_uri: must be https" in _problems("fcm", good)
    file.write_text(json.dumps(fields))
    assert "base_url: must be https" in _problems("fcm", good | {"base_url": "http://10.1.1.1"})
    asyncio.run(_opened("fcm", good, Ambiguity.RESEND))


async def _opened(provider: str, options: dict[str, object], ambiguity: Ambiguity) -> None:
    channel = open_channel("one", provider, options, callback_url=CALLBACK)
    assert (channel.provider, channel.ambiguity) == (provider, ambiguity)
    await channel.close()


def test_log_writes_what_would_be_sent(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "log.jsonl"

    def envelope(payload: PushPayload | SmsPayload) -> Envelope:
        return Envelope("17", 1, "token-canary-1234", "token", payload, timedelta(hours=1), "run-1")

    async def main() -> None:
        channel: Channel = open_channel("one", "log", {"file": str(file)}, callback_url="")
        outcome = await channel.send(envelope(PushPayload("午餐", "come", link="app://x", data={"a": "b"})))
        assert (outcome.kind, outcome.provider_id) == (OutcomeClass.ACCEPTED, "log-17")
        assert (await channel.send(envelope(SmsPayload("hi\nthere")))).kind is OutcomeClass.ACCEPTED
        bad = await channel.send(envelope(SmsPayload("\ud800")))
        assert (bad.kind, bad.may_have_left) == (OutcomeClass.DROP_MESSAGE, False)
        await channel.close()
        closed = await channel.send(envelope(SmsPayload("late")))
        assert (closed.kind, closed.may_have_left) == (OutcomeClass.RETRY, False)

    asyncio.run(main())
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["to"], line["message_id"], line["ttl_s"]) for line in lines] == [("…1234", "17", 3600)] * 2
    assert lines[0]["title"] == "午餐"
    assert lines[1]["body"] == "hi\nthere"
    assert "canary" not in file.read_text()


@pytest.mark.parametrize(
    "secret",
    ["5f" * 16, "SG." + "x" * 22 + "." + "y" * 43, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "x" * 999 + "/y"],
)
def test_a_secret_where_a_file_name_belongs_is_not_shown(secret: str) -> None:
    options: dict[str, object] = {"account_sid": "AC" + "0" * 32, "auth_token_file": secret, "from": "+15005550006"}
    said = _problems("twilio", options)
    assert "cannot read the file that it names" in said
    assert secret not in said
