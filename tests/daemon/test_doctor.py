"""``doctor``: what it looks at, that accounts are asked at once and each within its time, and what it never prints."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from orchestrator.audience.erasing import erase_user
from orchestrator.audience.suppressions import Suppressed, suppress_all
from orchestrator.channel.base import Finding, Health
from orchestrator.channel.log import open_channel
from orchestrator.cli.app import app
from orchestrator.clock import ManualClock, SystemClock
from orchestrator.daemon import checkup, examination
from orchestrator.daemon.checkup import look_around
from orchestrator.daemon.examination import examine
from orchestrator.daemon.line import Line
from orchestrator.daemon.wiring import know_erased
from orchestrator.errors import ConfigError, Problem
from orchestrator.ledger.restored import REASON
from orchestrator.ledger.stops import stop_account
from orchestrator.settings import Settings
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import run
from tests import world

SECRET = "s3cret-canary"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(here: Path) -> Iterator[Store]:
    made = Store(str(here / "o.db"))
    upgrade(made)
    yield made
    made.close()


def log(channel: str = "push", **more: Any) -> dict[str, Any]:
    return {"channel": channel, "provider": "log", "options": {"file": f"{channel}.jsonl"}, **more}


def settings(**more: Any) -> Settings:
    return Settings(**{"database": "o.db", "accounts": {"fcm": log(), "twilio": log("sms")}, **more})


def seen(found: Settings, what: str) -> list[Line]:
    return [line for line in look_around(found, SystemClock()) if line.what == what]


def test_a_new_folder_has_warnings_and_nothing_broken() -> None:
    lines = list(look_around(settings(), SystemClock()))
    assert {line.what for line in lines} == {"sqlite", "zone data", "disk", "api keys", "database"}
    assert not [line for line in lines if line.health is Health.BROKEN]
    assert all(line.hint for line in lines if line.health is not Health.FINE)


@pytest.mark.parametrize(
    ("version", "health"),
    [
        ((3, 40, 1), Health.WARNING),
        ((3, 44, 5), Health.WARNING),
        ((3, 44, 6), Health.FINE),
        ((3, 50, 7), Health.FINE),
        ((3, 51, 2), Health.WARNING),
        ((3, 51, 3), Health.FINE),
        ((3, 52, 0), Health.FINE),
    ],
)
def test_the_wal_bug(version: tuple[int, int, int], health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", version)
    assert [line.health for line in seen(settings(), "sqlite")] == [health]


@pytest.mark.parametrize(("version", "health"), [("2025.2", Health.WARNING), ("2026.3", Health.FINE)])
def test_old_zone_data(version: str, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "version", lambda _: version)
    clock = ManualClock(datetime(2026, 12, 7, tzinfo=UTC))
    assert [line.health for line in look_around(settings(), clock) if line.what == "zone data"] == [health]


@pytest.mark.parametrize(
    ("free", "health"), [(1 << 20, Health.BROKEN), (500 << 20, Health.WARNING), (1 << 40, Health.FINE)]
)
def test_the_disk(free: int, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Usage:
        free: int

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free))
    assert [line.health for line in seen(settings(), "disk")] == [health]


def test_a_public_url_is_missed_by_mail_and_by_who_calls_back() -> None:
    assert seen(settings(), "public_url") == []
    twilio = {"channel": "sms", "provider": "twilio"}
    [line] = seen(settings(accounts={"sms": twilio}), "public_url")
    assert (line.health, "sms cannot reach" in line.found) == (Health.WARNING, True)
    assert seen(settings(accounts={"m": log("email")}), "public_url")[0].health is Health.WARNING
    found = settings(accounts={"sms": twilio}, public_url="https://push.example")
    assert seen(found, "public_url")[0].health is Health.FINE


def test_stopped_accounts_say_what_to_do(store: Store) -> None:
    with store.write() as connection:
        stop_account(connection, "fcm", "UNAUTHENTICATED", datetime.now(UTC), datetime.now(UTC), "daemon")
        stop_account(connection, "twilio", REASON, datetime.now(UTC), datetime.now(UTC), "daemon")
    [fcm], [twilio] = seen(settings(), "account fcm"), seen(settings(), "account twilio")
    assert (fcm.health, fcm.found) == (Health.BROKEN, "stopped: UNAUTHENTICATED")
    assert "orchestrator accounts resume fcm" in fcm.hint
    assert "orchestrator restore accept" in twilio.hint


def test_consents_that_nobody_gave_and_steps_that_no_account_carries(store: Store) -> None:
    world.person(store, "ada", phone="+4915112345678", consents=("push",))
    world.launch(store, world.bundle(), datetime.now(UTC))
    lines = seen(settings(accounts={"fcm": log()}), "campaign lunch")
    assert [(line.health, line.found) for line in lines] == [
        (Health.BROKEN, "no account for sms"),
        (Health.WARNING, "nobody has agreed to promotions on sms: nobody would get anything"),
    ]


def test_members_that_do_not_add_up(store: Store) -> None:
    world.person(store, "ada")
    world.plan(store, world.bundle(), ManualClock(world.OPENING))
    assert [line.health for line in seen(settings(), "ledger")] == [Health.FINE]
    with store.write() as connection:
        connection.execute(update(run).values(audience=7))
    [line] = seen(settings(), "ledger")
    assert (line.health, "1 members for an audience of 7" in line.found) == (Health.BROKEN, True)


def test_an_older_schema_is_said(here: Path) -> None:
    made = Store(str(here / "o.db"))
    with made.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    made.close()
    [line] = seen(settings(), "database")
    assert (line.health, "db upgrade" in line.hint) == (Health.BROKEN, True)


class Checked:
    """A log channel that can be checked: it finds this, or that, or nothing at all."""

    def __init__(self, does: Any) -> None:
        self.inner, self.does, self.closed = open_channel("x", {"file": "x.jsonl"}, ""), does, False
        self.provider, self.timeout = "checked", timedelta(seconds=0.3)

    async def check(self) -> Sequence[Finding]:
        return await self.does()  # type: ignore[no-any-return]

    async def close(self) -> None:
        self.closed = True
        await self.inner.close()


async def fine() -> list[Finding]:
    return [Finding(Health.FINE, "credentials work"), Finding(Health.WARNING, "quota is low", "ask for more")]


async def slow() -> list[Finding]:
    await asyncio.sleep(30)
    return []


async def breaks() -> list[Finding]:
    raise ValueError(SECRET)


async def nothing() -> list[Finding]:
    return []


def test_accounts_are_asked_at_once_each_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    does = {"fine": fine, "slow": slow, "slow2": slow, "slow3": slow, "breaks": breaks, "nothing": nothing}
    made = {}

    def opened(_settings: Settings, name: str) -> Any:
        if name == "wrong":
            raise ConfigError(
                [Problem("channels.yaml", 0, "accounts.wrong.options.key", "unknown option", "did you …")]
            )
        made[name] = Checked(does[name])
        return made[name]

    monkeypatch.setattr(examination, "open_account_channel", opened)
    began = time.monotonic()
    lines = examine(settings(), [*does, "wrong"])
    assert time.monotonic() - began < 1.5
    found = {(line.what, line.health, line.found) for line in lines}
    assert found == {
        ("account fine", Health.FINE, "checked: credentials work"),
        ("account fine", Health.WARNING, "checked: quota is low"),
        *((f"account {name}", Health.BROKEN, "checked: no answer within 0.3 s") for name in ("slow", "slow2", "slow3")),
        ("account breaks", Health.BROKEN, "checked: its check failed with ValueError"),
        ("account nothing", Health.FINE, "checked: nothing is wrong"),
        ("account wrong", Health.BROKEN, "channels.yaml: accounts.wrong.options.key: unknown option"),
    }
    assert SECRET not in str(lines)
    assert all(channel.closed for channel in made.values())


def cli(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(args), env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_the_command(here: Path, store: Store) -> None:
    (here / "orchestrator.yaml").write_text(
        json.dumps({"database": "o.db", "api_keys": [SECRET], "accounts": {"fcm": log(), "twilio": log("sms")}})
    )
    code, said = cli("doctor")
    assert (code, "cannot be checked without sending" in said, SECRET in said) == (0, True, False)
    with store.write() as connection:
        stop_account(connection, "fcm", "401", datetime.now(UTC), datetime.now(UTC), "daemon")
    code, said = cli("doctor", "--json")
    lines = json.loads(said)
    assert code == 1
    assert {"what": "account fcm", "health": "broken", "found": "stopped: 401"}.items() <= next(
        line.items() for line in lines if line["health"] == "broken"
    )
    code, said = cli("doctor", "--account", "twilio", "--json")
    assert (code, {line["what"] for line in json.loads(said)}) == (0, {"account twilio"})


def test_accounts_show_state_answers_and_what_to_do(here: Path, store: Store) -> None:
    from orchestrator.ledger.ids import message_id
    from orchestrator.store.tables import attempt

    routed = log("sms", route={"countries": ["CN"], "share": 2})
    content = {"database": "o.db", "accounts": {"fcm": log(rate=7), "twilio": routed}}
    (here / "orchestrator.yaml").write_text(json.dumps(content))
    world.person(store, "ada")
    world.launch(store, world.bundle(), datetime.now(UTC))
    with store.write() as connection:
        from orchestrator.ledger.runs import create_run

        now = datetime.now(UTC)
        number = create_run(connection, "lunch", "v", now.date(), now=now, closes_at=now)
        assert number is not None
        for n, (ago, outcome) in enumerate([(5, "accepted"), (6, "accepted"), (9, "retry"), (90, "accepted")]):
            at = now - timedelta(minutes=ago)
            row = {"message_id": message_id(number, 1, 1), "n": n, "worker_id": 1, "account": "fcm"}
            connection.execute(attempt.insert().values(**row, started_at=at, ended_at=at, outcome=outcome))
        stop_account(connection, "twilio", "20003", now, now, "daemon")
    code, said = cli("accounts", "list", "--json")
    fcm, twilio = json.loads(said)
    assert code == 0
    assert (fcm["answers"], fcm["rate"], fcm["breaker"]) == ({"accepted": 2, "retry": 1}, 7.0, None)
    assert (twilio["stopped"], twilio["route"]) == ("20003", {"countries": ["CN"], "share": 2})
    assert "orchestrator accounts resume twilio" in twilio["hint"]
    code, said = cli("accounts")
    assert code == 0
    assert "accepted 2, retry 1" in said
    assert "CN, share 2" in said


def test_the_key_of_what_erased_people_had_refused(here: Path, store: Store) -> None:
    assert seen(settings(), "erasure key") == []
    world.person(store, "ada")
    know_erased(settings(), store)
    with store.write() as connection:
        suppress_all(connection, [Suppressed("push", "stop", "test", world.OPENING, user_id=1)])
    erase_user(store, "ada", SystemClock(), "operator test")
    [line] = seen(settings(), "erasure key")
    assert line.health is Health.FINE
    (here / "o.db.links.key").write_text("00" * 32)
    [line] = seen(settings(), "erasure key")
    assert (line.health, "is not the key" in line.found, bool(line.hint)) == (Health.BROKEN, True, True)
    (here / "o.db.links.key").unlink()
    [line] = seen(settings(), "erasure key")
    assert "is not there" in line.found
