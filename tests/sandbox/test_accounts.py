"""What a new user pastes: accounts at every provider, files that are there, and callbacks that find the deployment."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestrator.channel.plugins import calls_back, open_channel
from orchestrator.sandbox import __main__ as program
from orchestrator.sandbox.accounts import CALLING, accounts, callbacks, channels_yaml, place_of
from orchestrator.sandbox.app import PROVIDERS
from orchestrator.settings import load_settings
from tests.sandbox.conftest import Customer, Open

ALIASES = {"aliyun-reply"}


def test_there_is_one_for_every_stand_in(refuser: Customer) -> None:
    names = {module.__name__.rpartition(".")[2] for module in PROVIDERS}
    assert set(accounts(refuser.sandbox.place)) == names | {"apns", "smtp"}


def test_all_of_what_is_printed_opens(
    customer: Customer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--print-config", "--state", str(customer.sandbox.options.state)]) == 0
    (tmp_path / "channels.yaml").write_text(capsys.readouterr().out)
    monkeypatch.chdir(tmp_path)
    made = load_settings().accounts
    assert set(made) == set(accounts(customer.sandbox.place))
    for name, account in made.items():
        channel = open_channel(name, account.provider, account.options, callback_url="http://127.0.0.1:1/callbacks/x")
        assert (channel.channel, channel.provider) == (account.channel, name)


def test_without_a_sandbox_it_is_what_one_would_be(tmp_path: Path) -> None:
    printed = YAML(typ="safe").load(channels_yaml(place_of(tmp_path / "none")))["accounts"]
    assert printed["smtp"]["options"]["port"] == 8025
    assert printed["fcm"]["options"]["base_url"] == "http://127.0.0.1:8090"
    assert printed["apns"]["options"]["base_url"] == "https://127.0.0.1:8443"
    assert not (tmp_path / "none").exists()


def test_every_file_that_is_named_is_there_and_private(refuser: Customer) -> None:
    for account in accounts(refuser.sandbox.place).values():
        for name, value in account.options.items():
            if name.endswith("_file"):
                assert Path(value).stat().st_mode & 0o077 == 0


def test_who_calls_back_is_told_where(open_sandbox: Open) -> None:
    customer = open_sandbox(app="http://127.0.0.1:8080/", callbacks={"ses": "http://127.0.0.1:1/elsewhere"})
    secret = (customer.sandbox.options.state / "callback-secret").read_text().strip()
    told = callbacks("http://127.0.0.1:8080", secret)
    assert told["jpush"] == f"http://127.0.0.1:8080/callbacks/jpush/report/{secret}"
    assert told["aliyun-reply"] == f"http://127.0.0.1:8080/callbacks/aliyun/reply/{secret}"
    assert told["twilio"] == "http://127.0.0.1:8080/callbacks/twilio/inbound"
    assert set(told) == CALLING
    hearing = {name for name in accounts(customer.sandbox.place) if calls_back(name, name)}
    assert hearing == CALLING - ALIASES


@pytest.mark.parametrize("given", ["fcm=http://x/", "jpush", "jpush=", "jpush=ftp://x/", "nobody=http://x/"])
def test_a_callback_nobody_makes_is_refused_with_those_that_are(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--callback", given])
    said = capsys.readouterr().err
    assert "aliyun, aliyun-reply, gateway" in said or "is not a URL" in said


def test_the_page_is_told_the_same(refuser: Customer) -> None:
    answer = refuser.ask("POST", "/sandbox/callbacks", b'{"provider": "fcm", "url": "http://127.0.0.1:1/"}')
    assert (answer.status, "these do: aliyun" in answer.error) == (400, True)
