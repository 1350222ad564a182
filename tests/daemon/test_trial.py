"""Test sends and seeds: real words through the real channel, outside the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from orchestrator.audience import people
from orchestrator.campaign.version import Bundle
from orchestrator.channel.base import ANY_KIND, Ambiguity, Envelope, Inquiry, Outcome, OutcomeClass, Payload
from orchestrator.clock import ManualClock
from orchestrator.daemon.contact import channel_for
from orchestrator.daemon.seeds import Sower
from orchestrator.daemon.trial import Wanted, try_campaign
from orchestrator.daemon.wiring import links_of
from orchestrator.errors import ConfigError, InputError, NotFoundError
from orchestrator.settings import AccountSettings, Settings
from orchestrator.store import Store
from orchestrator.store.tables import attempt, inbox_item, message, run, transition
from tests import world

ARMS: dict[str, Any] = {"experiment": {"arms": [{"name": "a"}, {"name": "b", "window": {"local": "11:00-11:45"}}]}}
TOKEN, PHONE = "token-of-a-tester", "+4915112345678"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def settings(tmp_path: Path, **more: Any) -> Settings:
    def log(channel: str) -> dict[str, Any]:
        return {"channel": channel, "provider": "log", "options": {"file": str(tmp_path / f"{channel}.jsonl")}}

    accounts = {name: AccountSettings(**log(channel)) for name, channel in world.ACCOUNTS.items()}
    return Settings(database=str(tmp_path / "t.db"), accounts=accounts, **more)


def out(tmp_path: Path, channel: str) -> list[dict[str, Any]]:
    path = tmp_path / f"{channel}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_arm_and_locale_goes_to_one_address(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    done = try_campaign(store, clock, settings(tmp_path), world.bundle(**ARMS), Wanted(TOKEN), "operator test")
    assert (done["channel"], done["account"]) == ("push", "fcm")
    assert {(t["arm"], t["step"], t["locale"], t["accepted"]) for t in done["tests"]} == {
        (arm, 1, locale, True) for arm in "ab" for locale in ("en", "zh")
    }
    sent = out(tmp_path, "push")
    assert {row["title"] for row in sent} == {"Hello Ada", "Ada，你好"}
    assert len({row["collapse_key"] for row in sent}) == 4
    assert all(0 < int(row["message_id"]) < 1 << 40 for row in sent)
    with store.read() as connection:
        lines = connection.execute(select(transition).where(transition.c.new == "test_sent")).all()
        assert connection.execute(select(func.count()).select_from(message)).scalar() == 0
        assert connection.execute(select(func.count()).select_from(attempt)).scalar() == 0
    assert len(lines) == 4
    assert not any(TOKEN in str(line.reason) for line in lines)
    assert lines[0].reason == "test: push, arm a, step 1, en: accepted written"


def test_a_users_own_words_one_arm_one_step(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    world.person(store, "mei", locale="zh")
    wanted = Wanted(PHONE, user="mei", arm="b", step=2)
    done = try_campaign(store, clock, settings(tmp_path), world.bundle(**ARMS), wanted, "operator test")
    assert [(t["arm"], t["step"], t["locale"]) for t in done["tests"]] == [("b", 2, "zh")]
    [sent] = out(tmp_path, "sms")
    assert sent["body"].startswith("【午餐】Mei")


@pytest.mark.parametrize(
    ("address", "channel"), [(PHONE, "sms"), ("ada@example.com", "email"), ("fGx:APA91b", "push"), ("12345", "push")]
)
def test_the_channel_is_what_the_address_looks_like(address: str, channel: str) -> None:
    assert channel_for(address) == channel


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        (Wanted("ada@example.com"), InputError, "no step on email"),
        (Wanted(PHONE, step=1), InputError, "no step 1 on sms"),
        (Wanted("0151", channel="sms"), InputError, "no address for sms"),
        (Wanted(""), InputError, "no address for push"),
        (Wanted(TOKEN, channel="pusj"), InputError, "unknown channel"),
        (Wanted(TOKEN, arm="c"), NotFoundError, "no arm 'c'"),
        (Wanted(TOKEN, user="nobody"), NotFoundError, "no user"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    store: Store, clock: ManualClock, tmp_path: Path, wanted: Wanted, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        try_campaign(store, clock, settings(tmp_path), world.bundle(**ARMS), wanted, "operator test")
    assert out(tmp_path, "push") == out(tmp_path, "sms") == []


def test_a_suppressed_address_and_one_that_is_not_listed_get_nothing(
    store: Store, clock: ManualClock, tmp_path: Path
) -> None:
    user = world.person(store, "ada", push=TOKEN, phone=PHONE)
    at = clock.now()
    with store.write() as connection:
        people.suppress(connection, channel="push", reason="stop", source="t", at=at, user_id=user)
        people.suppress(connection, channel="sms", reason="stop", source="t", at=at, address=PHONE)
    for to in (TOKEN, PHONE):
        with pytest.raises(InputError, match="suppressed"):
            try_campaign(store, clock, settings(tmp_path), world.bundle(), Wanted(to), "operator test")
    listed = settings(tmp_path, only_to=["bob", "other"])
    with pytest.raises(InputError, match="only_to"):
        try_campaign(store, clock, listed, world.bundle(), Wanted(TOKEN), "operator test")
    try_campaign(store, clock, listed, world.bundle(), Wanted("other"), "operator test")
    assert len(out(tmp_path, "push")) == 2


@pytest.mark.parametrize(
    ("channel", "kept", "typed"),
    [
        ("email", "ada@example.com", "Ada@Example.COM"),
        ("email", "ada@localhost", "Ada@localhost"),
        ("sms", PHONE, "+49015112345678"),
    ],
)
def test_a_suppression_holds_however_the_address_is_written(
    store: Store, clock: ManualClock, tmp_path: Path, channel: str, kept: str, typed: str
) -> None:
    with store.write() as connection:
        people.suppress(connection, channel=channel, reason="stop", source="t", at=clock.now(), address=kept)
    steps = {"steps": [{"channel": channel, "template": "hello"}]}
    there = settings(tmp_path)
    account = AccountSettings(channel="email", provider="log", options={"file": str(tmp_path / "email.jsonl")})
    there = there.model_copy(update={"accounts": {**there.accounts, "mail": account}})
    with pytest.raises(InputError, match="suppressed"):
        try_campaign(store, clock, there, world.bundle(steps), Wanted(typed, channel), "operator test")
    assert out(tmp_path, channel) == []


def test_a_stopped_account_tests_nothing(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    from orchestrator.ledger.stops import stop_account

    with store.write() as connection:
        stop_account(connection, "fcm", "UNAUTHENTICATED", clock.machine(), clock.machine(), "daemon")
    with pytest.raises(InputError, match="account fcm is stopped"):
        try_campaign(store, clock, settings(tmp_path), world.bundle(), Wanted(TOKEN), "operator test")


def test_seeds_get_every_arm_of_a_run_once_and_are_not_counted(
    store: Store, clock: ManualClock, tmp_path: Path
) -> None:
    world.person(store, "ada", push=TOKEN, phone=PHONE, consents=(), locale="zh")
    world.person(store, "bob")
    what = world.bundle(audience={"segment": "regulars"}, seeds=["ada", "unknown-id"], **ARMS)
    world.plan(store, what, clock)
    sower = Sower(store, clock, settings(tmp_path, seeds=["bob", "ada"]))
    sower.sow()
    sower.sow()
    assert sorted(row["title"] for row in out(tmp_path, "push")) == ["Ada，你好"] * 2 + ["Hello Bob"] * 2
    assert len(out(tmp_path, "sms")) == 2
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(message)).scalar() == 0
        [audience] = connection.execute(select(run.c.audience)).scalars()
        lines = connection.execute(select(transition.c.reason).where(transition.c.new == "test_sent")).scalars().all()
    assert audience == 0
    assert len(lines) == 6
    assert sum("seed ada" in str(line) for line in lines) == 4


def test_an_account_of_another_channel_than_its_provider_is_refused(tmp_path: Path) -> None:
    from orchestrator.daemon.wiring import open_channels

    options = {"file": str(tmp_path / "x"), "channel": "push"}
    wrong = Settings(accounts={"s": AccountSettings(channel="sms", provider="log", options=options)})
    with pytest.raises(ConfigError, match=r"accounts.s.channel: is sms, and provider log sends push"):
        open_channels(wrong)


# --- any channel, any kind of address ---------------------------------------------------------------------------------

KEY = "B" + "A" * 86
"""65 bytes in base64url, the first of which is 4: a point of P-256, as far as its length goes."""
SUBSCRIPTION = {
    "endpoint": "https://push.example/s/1",
    "expirationTime": None,
    "keys": {"p256dh": KEY, "auth": "A" * 22},
}


class Ear:
    """An account that answers everything, and remembers it."""

    def __init__(self, channel: str) -> None:
        self.channel, self.sent = channel, list[Envelope]()
        self.provider, self.kinds, self.ambiguity = "ear", ANY_KIND, Ambiguity.RESEND
        self.timeout = timedelta(seconds=1)

    async def send(self, envelope: Envelope) -> Outcome:
        self.sent.append(envelope)
        return Outcome(OutcomeClass.DROP_ADDRESS, "Gone", provider_id="p-1", detail="it is gone")

    def problems(self, payload: Payload) -> list[str]:
        del payload
        return []

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        del inquiry
        return None

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("wanted", "channel", "kind", "value", "details"),
    [
        (Wanted("abc", kind="apns"), "push", "apns", "abc", {}),
        (Wanted("abc", kind="huawei"), "push", "huawei", "abc", {}),
        (
            Wanted('{"value": "abc", "kind": "apns", "details": {"environment": "sandbox"}}'),
            "push", "apns", "abc", {"environment": "sandbox"},
        ),
        (
            Wanted(json.dumps(SUBSCRIPTION)),
            "push", "webpush", "https://push.example/s/1", {"p256dh": KEY, "auth": "A" * 22},
        ),
        (Wanted("abc"), "push", "token", "abc", {}),
        (Wanted("u 17", channel="webhook"), "webhook", "user", "u 17", {}),
    ],
)  # fmt: skip
def test_an_address_of_any_kind_reaches_the_channel_as_it_is(
    store: Store, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    wanted: Wanted, channel: str, kind: str, value: str, details: dict[str, str],
) -> None:  # fmt: skip
    ear = Ear(channel)
    monkeypatch.setattr("orchestrator.daemon.trial.open_account_channel", lambda *_: ear)
    plain = world.bundle(steps=[{"channel": channel, "template": "lunch"}])
    bundle = replace(plain, templates={**plain.templates, "lunch/webhook.en.j2": "title: t\n\nb"})
    there = settings(tmp_path)
    account = AccountSettings(channel=channel, provider="log", options={"file": str(tmp_path / "x.jsonl")})
    there = there.model_copy(update={"accounts": {"mine": account, **there.accounts}})
    done = try_campaign(store, clock, there, bundle, replace(wanted, locale="en", account="mine"), "operator test")
    [sent] = ear.sent
    assert (sent.address_kind, sent.address, dict(sent.details)) == (kind, value, details)
    assert (done["account"], done["kind"], done["channel"]) == ("mine", kind, channel)
    assert links_of(there).acknowledged(sent.ack, clock.machine()) == int(sent.message_id)
    [told] = done["tests"]
    assert (told["outcome"], told["code"], told["provider_id"], told["accepted"]) == (
        "drop_address",
        "Gone",
        "p-1",
        False,
    )
    assert value not in json.dumps(done)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("{"), "no address in JSON"),
        (Wanted('{"endpoint": "https://x.example/"}'), "no address in JSON"),
        (Wanted('{"value": "a", "secret": "s"}'), "no address in JSON"),
        (Wanted("[" * 9000), "longer than 8192"),
        (Wanted("abc", kind="apsn"), "unknown kind"),
        (Wanted("u-17", kind="user"), "several channels"),
        (Wanted("u-17", channel="push", kind="user"), "kind: user is none of channel push"),
        (Wanted("https://x.example/1", kind="webpush"), "a webpush address needs it"),
        (Wanted("a\nb", channel="inbox"), "no address for inbox"),
        (Wanted(TOKEN, account="nobody"), "no account 'nobody' for push"),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(
    store: Store, clock: ManualClock, tmp_path: Path, wanted: Wanted, words: str
) -> None:
    with pytest.raises((InputError, ConfigError), match=words) as caught:
        try_campaign(store, clock, settings(tmp_path), world.bundle(), wanted, "operator test")
    assert TOKEN not in str(caught.value)
    assert out(tmp_path, "push") == []


def inbox(tmp_path: Path, **more: Any) -> tuple[Settings, Bundle]:
    there = settings(tmp_path, **more)
    account = AccountSettings(channel="inbox", provider="inbox")
    plain = world.bundle(steps=[{"channel": "inbox", "template": "lunch"}])
    bundle = replace(plain, templates={**plain.templates, "lunch/inbox.en.j2": "title: Hi {{ user.name }}\n\nb"})
    return there.model_copy(update={"accounts": {**there.accounts, "app": account}}), bundle


def test_a_test_shows_in_the_inbox_of_its_user_and_is_no_message(
    store: Store, clock: ManualClock, tmp_path: Path
) -> None:
    user = world.person(store, "ada")
    there, bundle = inbox(tmp_path)
    done = try_campaign(store, clock, there, bundle, Wanted("ada", "inbox", locale="en"), "operator test")
    [told] = done["tests"]
    assert told["accepted"]
    with store.read() as connection:
        [item] = connection.execute(select(inbox_item)).all()
        assert connection.execute(select(func.count()).select_from(message)).scalar() == 0
    assert (item.user_id, item.title, str(item.message_id)) == (user, "Hi Ada", told["provider_id"])
    assert 0 < item.message_id < 1 << 40


def test_an_inbox_of_nobody_of_a_refuser_or_not_listed_gets_nothing(
    store: Store, clock: ManualClock, tmp_path: Path
) -> None:
    there, bundle = inbox(tmp_path)
    with pytest.raises(InputError, match="no such user"):
        try_campaign(store, clock, there, bundle, Wanted("nobody", "inbox"), "operator test")
    user = world.person(store, "ada")
    listed, _ = inbox(tmp_path, only_to=["bob"])
    with pytest.raises(InputError, match="only_to"):
        try_campaign(store, clock, listed, bundle, Wanted("ada", "inbox"), "operator test")
    with store.write() as connection:
        people.suppress(connection, channel="inbox", reason="stop", source="t", at=clock.now(), user_id=user)
    with pytest.raises(InputError, match="suppressed"):
        try_campaign(store, clock, there, bundle, Wanted("ada", "inbox"), "operator test")
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(inbox_item)).scalar() == 0
